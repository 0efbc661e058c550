/**
 * The registry with kafkajs' client: it finds a schema, reads a framed record with it, and frames it again as a
 * serializer does that registers first. {address, subject, message}
 */
import { COMPATIBILITY, SchemaRegistry, SchemaType } from '@kafkajs/confluent-schema-registry';
import { seen, told } from './told.mjs';

const { address, subject } = told;

const registry = new SchemaRegistry({ host: address });
const id = await registry.getLatestSchemaId(subject);
const record = await registry.decode(Buffer.from(told.message, 'base64'));

const schema = await (await fetch(`${address}/schemas/ids/${id}/schema`)).text();
const before = await registry.register({ type: SchemaType.AVRO, schema }, { subject }).catch((error) => error.message);
const registered = await registry.register(
  { type: SchemaType.AVRO, schema },
  { subject, compatibility: COMPATIBILITY.FULL_TRANSITIVE },
);
const message = await registry.encode(registered.id, record);
const unknown = await registry.getSchema(7).catch((error) => error.status);
const other = { type: 'record', name: 'other', namespace: 'fr.unefois', fields: [] };
const refused = await registry.register(other, { compatibility: COMPATIBILITY.FULL_TRANSITIVE }).catch((error) => error.status);

seen({ ids: [id, registered.id], city: record.new_address.city, before, message: message.toString('base64'), unknown, refused });
