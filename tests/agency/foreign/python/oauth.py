"""Access tokens by Authlib, and a request with one. {broker, party, jwk, kid}"""

import json
import sys
import time

from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import import_key

told = json.load(sys.stdin)
broker, party, jwk, kid = told["broker"], told["party"], told["jwk"], told["kid"]

key, alg = import_key(jwk), {"Ed25519": "Ed25519", "P-256": "ES256"}[jwk["crv"]]
session = OAuth2Session(party, key, token_endpoint_auth_method="private_key_jwt", grant_type="client_credentials")


def fetch(**asked: str) -> dict[str, object]:
    """A token; its assertion is made anew, and ends within five minutes."""
    claims = {"aud": "urn:unefois:broker", "exp": int(time.time()) + 60}
    session.register_client_auth_method(PrivateKeyJWT(claims=claims, headers={"kid": kid}, alg=alg))
    return session.fetch_token(f"{broker}/oauth2/token", **asked)


first, token = fetch(scope="read"), fetch()
status = session.get(f"{broker}/v1/status").json()
try:
    refused = fetch(scope="publish")
except OAuthError as error:
    refused = error.error

scopes = [first["scope"], token["scope"]]
print(json.dumps({"scopes": scopes, "seconds": token["expires_in"], "status": status, "refused": refused}))
