"""Witnessing over HTTP: `POST /add-checkpoint`, as C2SP tlog-witness has it.

Refuses: whatever `broker.transparency.witness` refuses, with the status that the source names; a body over 64 KiB.
Keeps: an answer of 200 leaves after the tree was written down, and only then.
Source: c2sp.org/tlog-witness, as of July 2026: two trees of one size are 422; until then they were 409.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from broker.transparency.witness import Witness
from broker.web.common import faults
from broker.web.common.problems import problem
from schemas.errors import Fault, Refused, Unavailable
from schemas.witnessing import BODY_BYTES

SIZE: Final = "text/x.tlog.size"
STATUSES: Final[Mapping[str, int]] = {
    "witness.unknown-log": 404,
    "checkpoint.not-signed": 403,
    "note.bad-signature": 403,
    "witnessing.other-size": 409,
    "witnessing.fork": 422,
    "witnessing.not-consistent": 422,
    "witnessing.too-long": 413,
}
"""Whatever else is refused is malformed: 400."""


def build(witness: Witness) -> FastAPI:
    """The application of a witness, without authentication: the log's signature is what counts."""
    app = FastAPI(title="Unefois witness", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)

    async def add_checkpoint(request: Request) -> Response:
        """Cosign a checkpoint that continues the last one."""
        try:
            return _text((await asyncio.to_thread(witness.add, await _body(request))).decode())
        except (Refused, Unavailable) as fault:
            return _refused(fault, request)

    async def vkey() -> Response:
        """The witness's verifier key."""
        return _text(f"{witness.verifier_key.text}\n")

    faults.register(app)
    app.add_api_route("/add-checkpoint", add_checkpoint, methods=["POST"], response_class=PlainTextResponse)
    app.add_api_route("/vkey", vkey, methods=["GET"], response_class=PlainTextResponse)
    return app


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            raise Refused("witnessing.too-long", got=len(body), limit=BODY_BYTES)
    return bytes(body)


def _text(text: str) -> Response:
    return Response(text, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})


def _refused(fault: Fault, request: Request) -> Response:
    status = 503 if fault.retriable else STATUSES.get(fault.code, 400)
    if status == 409:
        return Response(f"{fault.details['size']}\n", status, {"Content-Type": SIZE})
    return problem(fault, status, request)
