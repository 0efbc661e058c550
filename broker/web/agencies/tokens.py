"""Tokens: the OAuth2 token endpoint, for administrations that hold a key of their own.

Refuses: every grant but client_credentials, every proof but a signed assertion, also what is in `Authorization`; a
parameter twice, or one too many; a `client_id` that is not who the assertion is about.
Keeps: what is wrong is told in the words of RFC 6749, section 5.2, and not which of the checks it was.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from broker.access.assertions import ASSERTION_BYTES
from broker.access.keysets import KeySet
from broker.access.oauth import TOKEN_SECONDS, named_thumbprint
from broker.setup.wiring import Home
from broker.web.agencies import forms
from broker.web.common.answered import answers
from broker.web.common.strict import StrictRoute
from schemas.errors import Refused

FORM: Final = "application/x-www-form-urlencoded"
ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_FIELDS: Final = {
    "type": "object",
    "required": ["grant_type", "client_assertion_type", "client_assertion"],
    "additionalProperties": False,
    "properties": {
        "grant_type": {"const": "client_credentials"},
        "client_assertion_type": {"const": ASSERTION},
        "client_assertion": {"type": "string", "maxLength": ASSERTION_BYTES},
        "client_id": {"type": "string"},
        "scope": {"type": "string"},
    },
}
_FORM: Final[dict[str, Any]] = {"requestBody": {"required": True, "content": {FORM: {"schema": _FIELDS}}}}
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,31}")
_KNOWN: Final = frozenset({"grant_type", "client_id", "client_assertion_type", "client_assertion", "scope"})
_ERRORS: Final[Mapping[str, tuple[int, str]]] = {
    "oauth.assertion": (401, "invalid_client"),
    "oauth.audiences": (401, "invalid_client"),
    "oauth.client-id": (401, "invalid_client"),
    "oauth.method": (401, "invalid_client"),
    "oauth.replayed": (401, "invalid_client"),
    "oauth.scope": (400, "invalid_scope"),
    "oauth.request": (400, "invalid_request"),
    "oauth.grant": (400, "unsupported_grant_type"),
}

routes = APIRouter(route_class=StrictRoute, tags=["oauth2"])


@routes.post("/token", response_class=JSONResponse, openapi_extra=_FORM, responses=answers(forms.Token))
async def token(request: Request) -> Response:
    """client_credentials with private_key_jwt (RFC 7523): an access token of ten minutes for a signed assertion.

    `iss` and `sub` of the assertion are your own identifier, `aud` is the broker's, `jti` is new each time, and it ends
    within five minutes. Its header names the key in `kid`: a pinned one by its RFC 7638 thumbprint,
    one that you publish by its name there. Where your client shows a
    certificate to a proxy that the broker trusts, the token is good with that certificate alone (RFC 8705).
    """
    home: Home = request.app.state.home
    try:
        _check_method(request)
        form = _form(await request.body())
        scopes, assertion = form.get("scope", "").split(), form["client_assertion"]
        async with home.store.read() as tx:
            named = await home.oauth.named(tx, assertion)
        # Nothing is open while a published key is asked for: a server that is slow keeps nobody waiting but its own.
        source = named.source
        key = await home.key_sets.key(source, named.kid) if isinstance(source, KeySet) else source
        at = home.clock()
        proven = home.oauth.prove(named, key, assertion, scopes, at)
        if form.get("client_id", proven.party) != proven.party:  # RFC 7521, 4.2
            raise Refused("oauth.client-id")
        async with home.store.read() as tx:
            made, scope = await home.oauth.redeem(tx, proven, at, request.scope["unefois.certificate"])
        request.scope["unefois.passage"].proven()
        if not isinstance(source, KeySet):
            await home.uses.note(named_thumbprint(named.kid), request.scope["unefois.address"])
    except Refused as fault:
        status, error = _ERRORS.get(fault.code, (400, "invalid_request"))
        return JSONResponse({"error": error, "code": fault.code}, status, _challenge(request, fault))
    return JSONResponse(
        {"access_token": made, "token_type": "Bearer", "expires_in": TOKEN_SECONDS, "scope": scope},
        headers={"Pragma": "no-cache"},
    )


def _check_method(request: Request) -> None:
    """Raises Refused `oauth.method` for whoever shows who they are in a header: it is no way here, and two are none."""
    if "authorization" in request.headers:
        raise Refused("oauth.method")


def _challenge(request: Request, fault: Refused) -> Mapping[str, str] | None:
    """What a 401 owes to whoever came with a scheme: that scheme (RFC 6749, 5.2)."""
    if fault.code != "oauth.method":
        return None
    scheme = _SCHEME.match(request.headers["authorization"])
    return {"WWW-Authenticate": f'{scheme[0] if scheme else "Basic"} realm="oauth2"'}


def _form(body: bytes) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=10)
    except ValueError:
        raise Refused("oauth.request") from None
    form = dict(pairs)
    if len(form) < len(pairs) or not _KNOWN.issuperset(form) or "client_assertion" not in form:
        raise Refused("oauth.request")
    if form.get("grant_type") != "client_credentials":
        raise Refused("oauth.grant")
    if form.get("client_assertion_type") != ASSERTION:
        raise Refused("oauth.request")
    return form
