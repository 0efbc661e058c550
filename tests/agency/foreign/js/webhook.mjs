/** A message, verified with the JavaScript library of Standard Webhooks. {secret, headers, body} */
import { Webhook } from 'standardwebhooks';
import { seen, told } from './told.mjs';

const message = new Webhook(told.secret).verify(told.body, told.headers);

seen(message);
