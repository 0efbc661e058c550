"""Guard: who sent a form: this page, in this browser, and nobody else.

    1 Sec-Fetch-Site, which a browser sets and no page can forge, says `same-origin`; where an old browser does not send
      it, Origin names our own host (a form on a foreign page)
    2 the form holds the token of this browser: an HMAC under the secret of its cookie (a foreign page that a browser
      or a plug-in lets through; a form that another session was given)

Refuses: a form that says neither where it comes from; one with the token of another cookie or another address.
Keeps: no secret of the broker: whoever has the cookie has its tokens, and nobody else.
Source: OWASP, Cross-Site Request Forgery Prevention; W3C Fetch Metadata.
"""

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request

from schemas.errors import Refused

FIELD: Final = "jeton"
"""The name of the field in every form."""
_LABEL: Final = b"unefois/form/v1\x00"
PLAIN: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Hosts of this very machine, where http is enough for a cookie."""


def token(secret: str, path: str) -> str:
    """The token for a form that is sent to this path. `secret`: the value of the browser's cookie."""
    made = hmac.digest(secret.encode(), _LABEL + path.encode(), sha256)
    return urlsafe_b64encode(made).decode().rstrip("=")


def check_source(request: Request) -> None:
    """Step 1. Raises Refused `pages.other-site`."""
    site = request.headers.getlist("sec-fetch-site")
    if site:
        if site != ["same-origin"]:
            raise Refused("pages.other-site")
        return
    origin = request.headers.getlist("origin")
    if len(origin) != 1 or urlsplit(origin[0]).netloc.lower() != request.headers.get("host", "").lower():
        raise Refused("pages.other-site")


def check_token(secret: str | None, path: str, given: str) -> None:
    """Step 2. Raises Refused `pages.form-token`."""
    if secret is None or not hmac.compare_digest(token(secret, path).encode(), given.encode()):
        raise Refused("pages.form-token")


def is_plain(request: Request) -> bool:
    """Whether the page is shown by this very machine over http, for a trial."""
    host = request.headers.get("host", "")
    return request.url.scheme == "http" and host.rsplit(":", 1)[0].lower() in PLAIN


def cookie_name(request: Request, name: str) -> str:
    """With the prefix by which a browser refuses it from another host (RFC 6265bis), but for a trial over http."""
    return name if is_plain(request) else f"__Host-{name}"
