"""What Authlib gets for the settings that it is given, one assertion after the other. {broker, party, jwk, tries}"""

import json
import sys
import time

from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import OKPKey

told = json.load(sys.stdin)
seen = {}
for name, settings in told["tries"].items():
    key, seconds = OKPKey.import_key(told["jwk"]), settings.pop("seconds", None)
    settings["claims"] |= {"exp": int(time.time()) + seconds} if seconds else {}
    session = OAuth2Session(
        told["party"], key, token_endpoint_auth_method="private_key_jwt", grant_type="client_credentials"
    )
    session.register_client_auth_method(PrivateKeyJWT(**settings))
    seen[name] = []
    for _ in range(2):
        try:
            seen[name].append(session.fetch_token(f"{told['broker']}/oauth2/token")["token_type"])
        except OAuthError as error:
            seen[name].append(error.error)
print(json.dumps(seen))
