/** An agency's topic, read with kafkajs, and its records with the JavaScript SDK of CloudEvents. {kafka, topic, group} */
import { Kafka as Events } from 'cloudevents';
import { Kafka, logLevel } from 'kafkajs';
import { seen, told } from './told.mjs';

const kafka = new Kafka({ clientId: 'agency', brokers: [told.kafka], logLevel: logLevel.ERROR });
const consumer = kafka.consumer({ groupId: told.group });
await consumer.connect();
await consumer.subscribe({ topic: told.topic, fromBeginning: true });

const read = await new Promise((resolve) => {
  consumer.run({ eachMessage: async ({ message }) => resolve(message) });
});
const headers = Object.fromEntries(Object.entries(read.headers).map(([name, raw]) => [name, raw.toString()]));
const event = Events.toEvent({ ...read, headers });

const { id, source, type, time, dataschema, datacontenttype } = event;
const data = Buffer.from(event.data_base64 ?? event.data, event.data_base64 ? 'base64' : undefined).toString('base64');
seen({ attributes: { id, source, type, time, dataschema, datacontenttype }, data, key: read.key.length });
await consumer.disconnect();
