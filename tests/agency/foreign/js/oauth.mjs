/** Access tokens by openid-client, and a request with one. {broker, party, jwk, kid} */
import * as client from 'openid-client';
import { seen, told } from './told.mjs';

const { broker, party, jwk, kid } = told;

const server = { issuer: 'urn:unefois:broker', token_endpoint: `${broker}/oauth2/token` };
const kinds = { 'Ed25519': { name: 'Ed25519' }, 'P-256': { name: 'ECDSA', namedCurve: 'P-256' } };
const key = await crypto.subtle.importKey('jwk', jwk, kinds[jwk.crv], false, ['sign']);
const config = new client.Configuration(server, party, {}, client.PrivateKeyJwt({ key, kid }));

if (broker.startsWith('http:')) client.allowInsecureRequests(config);
const first = await client.clientCredentialsGrant(config, { scope: 'read' });
const tokens = await client.clientCredentialsGrant(config);
const answer = await client.fetchProtectedResource(config, tokens.access_token, new URL(`${broker}/v1/status`), 'GET');
const refused = await client.clientCredentialsGrant(config, { scope: 'publish' }).catch((error) => error.error);

seen({ scopes: [first.scope, tokens.scope], seconds: tokens.expiresIn(), status: await answer.json(), refused });
