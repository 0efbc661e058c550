/** A declaration as a CloudEvent, handed in with the JavaScript SDK. {address, token, mode, attributes, data} */
import { CloudEvent, HTTP } from 'cloudevents';
import { seen, told } from './told.mjs';

const event = new CloudEvent({ ...told.attributes, data: Uint8Array.from(Buffer.from(told.data, 'base64')) });
const { headers, body } = told.mode === 'binary' ? HTTP.binary(event) : HTTP.structured(event);
const answer = await fetch(told.address, {
  method: 'POST',
  headers: { ...headers, authorization: `Bearer ${told.token}` },
  body,
});

seen({ status: answer.status, body: await answer.json() });
