"""Transparency: the ledger's checkpoint and tiles over HTTP, for anyone, exactly as C2SP tlog-tiles has them.

Refuses: a path in any spelling but the one (percent signs included), a file that the newest checkpoint does not reach.
Keeps: the bytes are those of `unefois audit export`; what a path holds never changes, so full tiles are cached for
ever; a request reads one tile, or the entries of one bundle, whatever the size of the log.
Source: c2sp.org/tlog-tiles.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from broker.ledger.sequencer import files_of, newest_checkpoint
from broker.store.engine import Store
from broker.transparency.cosigning import Cosigning
from broker.web.common.caching import exact
from broker.web.common.problems import problem
from broker.web.public.forms import bytes_of
from schemas import following
from schemas.errors import Refused
from schemas.note import VerifierKey
from schemas.tiles import Tile

PREFIX: Final = "/log"
WITNESSED: Final = "/witnessed"
"""Below it is the same log for a reader that believes only what a quorum of witnesses has seen. Two places and not one:
a checkpoint there may be smaller than the newest, and no place ever goes back.
"""
FOR_EVER: Final = "public, max-age=31536000, immutable"
A_WHILE: Final = "public, max-age=300"
"""A partial tile never changes either, but is asked for no more once the log has grown past it."""
A_MOMENT: Final = "public, max-age=5"
"""The checkpoint: a reader sees the ledger grow within seconds, and a thousand readers are one request to us."""
BYTES: Final = "application/octet-stream"
TEXT: Final = "text/plain; charset=utf-8"


def router(
    store: Store, key: VerifierKey, cosigning: Cosigning, number: int = 1, first: VerifierKey | None = None
) -> APIRouter:
    """`GET` and `HEAD` of checkpoint, verifier key and tiles below `/log`, without authentication.

    `number`: the how many-th ledger of this home it is. The tiles of a successor are below `/log/<number>` alone, with
    all the rest beside them: caches hold what was at `/log/tile` for ever. `first`: its key under the first name, which
    `/log/vkey` goes on to give, for the directory is signed under that.
    """
    made = APIRouter(prefix=PREFIX, tags=["transparency"])

    async def get_checkpoint(request: Request) -> Response:
        """The newest signed checkpoint, a C2SP signed note, with the cosignatures that there are."""
        try:
            async with store.read() as tx:
                signed = await cosigning.cosigned(tx, *await newest_checkpoint(tx))
        except Refused as fault:
            return problem(fault, 404, request)
        return exact(request, signed.encode(), TEXT, A_MOMENT)

    async def get_witnessed(request: Request) -> Response:
        """The newest checkpoint that a quorum of witnesses cosigned."""
        try:
            async with store.read() as tx:
                _, signed = await cosigning.witnessed(tx)
        except Refused as fault:
            return problem(fault, 404, request)
        return exact(request, signed.encode(), TEXT, A_MOMENT)

    async def get_tile(request: Request, path: str) -> Response:
        """A tile of hashes (`<L>/<N>[.p/<W>]`) or a bundle of entries (`entries/<N>[.p/<W>]`)."""
        try:
            tile = Tile.parse(_as_sent(request, f"tile/{path}"))
            content = await _content(store, tile)
        except Refused as fault:
            return problem(fault, 404, request)
        return exact(request, content, BYTES, FOR_EVER if tile == tile.full else A_WHILE)

    async def get_end(request: Request, index: str) -> Response:
        """The last checkpoint of the ledger that entry `index` says this one follows: a signed note."""
        return await _end(store, index, request)

    newest = (
        ("/checkpoint", get_checkpoint),
        ("/vkey", _gives(key)),
        (f"/{following.FOLDER}/{{index}}", get_end),
        (f"{WITNESSED}/checkpoint", get_witnessed),
        (f"{WITNESSED}/{following.FOLDER}/{{index}}", get_end),
    )
    for_ever = (("/tile/{path:path}", get_tile), (f"{WITNESSED}/tile/{{path:path}}", get_tile))
    place = "" if number == 1 else f"/{number}"
    answered: dict[str, Callable[..., Any]] = dict(newest)
    answered |= {"/vkey": _gives(first or key)}
    answered |= {f"{place}{path}": endpoint for path, endpoint in newest + for_ever}
    for path, endpoint in answered.items():
        media = BYTES if endpoint is get_tile else "text/plain"
        made.add_api_route(path, endpoint, methods=["GET"], response_class=Response, responses=bytes_of(media))
        made.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
    return made


def _gives(key: VerifierKey) -> Callable[[Request], Awaitable[Response]]:
    async def get_key(request: Request) -> Response:
        """The ledger's verifier key. Pin it once: a key fetched beside the log that it should prove proves little."""
        return exact(request, f"{key.text}\n".encode(), TEXT, A_WHILE)

    return get_key


def _as_sent(request: Request, path: str) -> str:
    """The file's path; nothing that is a path, where a character was escaped: caches would hold one file twice."""
    raw: bytes = request.scope.get("raw_path") or b""
    return "" if b"%" in raw else path


async def _content(store: Store, tile: Tile) -> bytes:
    try:
        return await _file(store, tile.path)
    except LookupError:
        raise Refused("tiles.absent", level=tile.level, index=tile.index) from None


async def _end(store: Store, index: str, request: Request) -> Response:
    path = f"{following.FOLDER}/{index}"
    try:
        return exact(request, await _file(store, _as_sent(request, path)), TEXT, A_WHILE)
    except (LookupError, Refused):
        return problem(Refused("following.absent", file=path), 404, request)


async def _file(store: Store, path: str) -> bytes:
    async with store.read() as tx:
        return await tx.conn.run_sync(lambda conn: files_of(conn)(path))
