"""A small OpenID Connect provider on this machine, strict as one has to be, which a test can make say anything else.

It signs with `cryptography` alone: whoever verifies has another library.
"""

import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import ProxyHandler, build_opener

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from broker.ports import Clock

CLIENT = "unefois-rennes"
SECRET = "a-secret-of-the-client"


@dataclass
class Provider:
    """What it knows, and what a test has it say."""

    clock: Clock
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    subject: str = "anne-1234"
    secret: str | None = None
    spoiled: dict[str, Any] = field(default_factory=dict)
    """Claims that it tells instead of the right ones; None: it leaves one out."""
    signs_with: rsa.RSAPrivateKey | None = None
    refuses: str | None = None
    says_issuer: str | None = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    issuer: str = ""

    def authorize(self, asked: dict[str, str]) -> str:
        """Where the browser is sent next."""
        assert {"response_type": "code", "client_id": CLIENT, "scope": "openid"}.items() <= asked.items()
        assert asked["redirect_uri"].startswith("http://127.0.0.1:")
        assert "S256" == asked["code_challenge_method"]
        assert len(asked["nonce"]) >= 22
        if self.refuses is not None:
            return f"{asked['redirect_uri']}?{urlencode({'error': self.refuses, 'state': asked['state']})}"
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        told = {"code": code, "state": asked["state"], "iss": self.says_issuer or self.issuer}
        return f"{asked['redirect_uri']}?{urlencode(told)}"

    def token(self, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """An answer of the token endpoint. A code is good once, for who has its verifier."""
        begun = self.codes.pop(asked["code"], None)
        challenge = urlsafe_b64encode(sha256(asked["code_verifier"].encode()).digest()).decode().rstrip("=")
        proven = begun is not None and challenge == begun["code_challenge"]
        same = begun is not None and all(begun[name] == asked[name] for name in ("redirect_uri", "client_id"))
        if begun is None or not (proven and same) or asked.get("client_secret") != self.secret:
            return 400, {"error": "invalid_grant"}
        at = self.clock() // 1000
        claims = {"iss": self.issuer, "aud": CLIENT, "sub": self.subject, "iat": at, "exp": at + 60}
        told = {**claims, "nonce": begun["nonce"], **self.spoiled}
        token = self.sign({name: value for name, value in told.items() if value is not None})
        return 200, {"access_token": "-", "token_type": "Bearer", "id_token": token}

    def sign(self, claims: dict[str, Any]) -> str:
        """A JWS of RS256."""
        head = {"alg": "RS256", "kid": "1"}
        signed = ".".join(_text(json.dumps(part).encode()) for part in (head, claims))
        key = self.signs_with or self.key
        return f"{signed}.{_text(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def jwks(self) -> dict[str, Any]:
        """Its public key."""
        numbers = self.key.public_key().public_numbers()
        parts = {"n": numbers.n, "e": numbers.e}
        raw = {name: value.to_bytes((value.bit_length() + 7) // 8) for name, value in parts.items()}
        spelled = {name: _text(value) for name, value in raw.items()}
        return {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", **spelled}]}


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if asked.path == "/authorize":
            self.send_response(302)
            self.send_header("location", self.provider.authorize(_flat(asked.query)))
            self.send_header("content-length", "0")
            self.end_headers()
            return
        issuer = self.provider.issuer
        places = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/jwks"}
        found = {"issuer": issuer, **{name: issuer + path for name, path in places.items()}}
        self._answer(200, self.provider.jwks() if asked.path == "/jwks" else found)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        self._answer(*self.provider.token(_flat(raw.decode())))

    def _answer(self, status: int, told: dict[str, Any]) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(provider: Provider) -> Iterator[Provider]:
    """At an address of this machine, which is its issuer."""
    handler = type("Handler", (_Handler,), {"provider": provider})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        provider.issuer = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()


def browse(url: str) -> bool:
    """What a browser does with an address, to the end, beside whoever asked for it."""

    def visit() -> None:
        with build_opener(ProxyHandler({})).open(url, timeout=30) as page:
            page.read()

    threading.Thread(target=visit).start()
    return True


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
