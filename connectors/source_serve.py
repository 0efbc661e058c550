"""`source serve`: the sidecar as one file describes it.

    # source.yaml, beside the files that it names
    broker: https://broker.example.fr
    party: urn:unefois:portal
    signing_keys: [signing.key]            # made by `key new`; the first one is the signer
    policy: 1                              # which signatures the broker demands of this source
    token_file: api.token                  # or  api_key: api.key  and  audience: urn:unefois:broker
    pin: directory.pin                     # which directory was believed last; made at the first start
    ledger: log.example.fr/unefois+8fe...  # the ledger's key, as the operator gives it; without: trust on first use
    outbox: outbox.db
    local_token: local.token               # what local systems show; made at the first start
    listen: 127.0.0.1:8471                 # this machine only
    lifetime_days: 365
    retention_days: 366                    # how long the outbox knows what it handed in, and its Idempotency-Key

Refuses: a mistake in the file, with its pointer; to listen to anybody but this machine; a secret that others may read.
Keeps: what waits is tried again with jitter, for as long as it takes; a stop leaves it in the outbox.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from secrets import token_bytes
from typing import Annotated, Final

from pydantic import Field

from connectors import key_files, strict_yaml
from connectors.access import Access, ApiToken, KeyAccess
from connectors.client import Client
from connectors.contract import Settings, checked
from connectors.driving import now
from connectors.outbox import Outbox
from connectors.pinning import Pin
from connectors.retry import Backoff
from connectors.sidecar import Receive, Scope, Send, Sidecar
from connectors.source_desk import Signer, SourceDesk
from schemas.catalogue import builtin
from schemas.declaration import Source
from schemas.errors import Fault, Refused, Unavailable
from schemas.names import PartyId

DAY_MS: Final = 86_400_000
App = Callable[[Scope, Receive, Send], Awaitable[None]]
WORK_SECONDS: Final = 1.0
"""Between two looks into the outbox for what is due."""


class SourceSettings(Settings):
    """What the file says. Paths are from the file's own folder."""

    broker: str
    party: str
    signing_keys: Annotated[list[str], Field(min_length=1, max_length=4)]
    policy: int = 1
    token_file: str | None = None
    api_key: str | None = None
    audience: str | None = None
    pin: str = "directory.pin"
    ledger: str = ""
    outbox: str = "outbox.db"
    local_token: str = "local.token"  # noqa: S105
    listen: str = "127.0.0.1:8471"
    lifetime_days: Annotated[int, Field(ge=1, le=3_650)] = 365
    retention_days: Annotated[int, Field(ge=1, le=3_650)] = 366
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A sidecar that may be served, and where."""

    app: Sidecar
    desk: SourceDesk
    host: str
    port: int
    retention_ms: int


def read(path: Path) -> SourceSettings:
    """The settings in a file. Raises Refused `source.no-file`, `yaml.*`, `connector.settings`, `source.listen`."""
    try:
        raw = path.read_bytes()
    except OSError:
        raise Refused("source.no-file", file=path.name) from None
    told = strict_yaml.read(raw)
    settings = checked(SourceSettings, told if isinstance(told, dict) else {})
    address(settings.listen)
    return settings


def address(listen: str) -> tuple[str, int]:
    """Host and port of this machine. A name is refused: it may lead elsewhere. Raises Refused `source.listen`."""
    host, _, port = listen.rpartition(":")
    try:
        if not ip_address(host.strip("[]")).is_loopback or not 0 < int(port) < 65_536:
            raise ValueError
    except ValueError:
        raise Refused("source.listen", "/listen") from None
    return host.strip("[]"), int(port)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Opened]:
    """Everything that the file names, open until the block ends.

    Raises Refused: what `read` and `key_files` raise, `source.access`, `source.open-to-others`, `directory.*`,
    `note.*`, `outbox.*`, and those of a broker that refuses; Unavailable `client.away` when nothing is pinned yet and
    nobody is there to ask.
    """
    settings, folder = read(path), path.parent
    host, port = address(settings.listen)
    keys = tuple(key_files.signing_key(folder / name) for name in settings.signing_keys)
    source = Source(PartyId(settings.party), keys, settings.policy)
    token = _local_token(folder / settings.local_token)
    outbox = Outbox.open(folder / settings.outbox)
    try:
        ca_file = None if settings.ca_file is None else str(folder / settings.ca_file)
        async with Client.open(settings.broker, _access(settings, folder), ca_file=ca_file, tries=1) as client:
            pin = Pin(folder / settings.pin, settings.ledger)
            if pin.version is None:  # first use: from then on nothing but what follows is believed
                await client.pinned_directory(pin)
            signer = Signer(source, settings.lifetime_days * DAY_MS, builtin(), pin)
            desk = SourceDesk(client, outbox, signer, clock=now, entropy=token_bytes, backoff=Backoff(token_bytes))
            with suppress(Unavailable):  # a full disk: said to whoever asks
                desk.retry()  # somebody may have mended what it waited for
            yield Opened(Sidecar(desk, token, port), desk, host, port, settings.retention_days * DAY_MS)
    finally:
        outbox.close()


async def serve(path: Path, started: Callable[[str], None]) -> None:
    """Serve until a signal ends it. `started` is told the address. Raises as `opened`."""
    async with opened(path) as made:
        await run(made, made.app, (made.host, made.port), started)


async def run(made: Opened, app: App, at: tuple[str, int], started: Callable[[str], None]) -> None:
    """Serve an app that hands in by this desk until a signal ends it, and bring what waits to the broker."""
    import uvicorn  # here: who only receives need not install it

    host, port = at
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    worker = asyncio.create_task(_work(made))
    started(f"http://{host}:{port}")
    try:
        await server.serve()
    finally:
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker


async def _work(made: Opened) -> None:
    while True:
        with suppress(Fault):  # the outbox has written down what is wrong, and when to try again
            await made.desk.work()
            await asyncio.to_thread(made.desk.prune, made.retention_ms)
        await asyncio.sleep(WORK_SECONDS)


def _access(settings: SourceSettings, folder: Path) -> Access:
    if settings.api_key is not None and settings.audience is not None and settings.token_file is None:
        key, audience = key_files.signing_key(folder / settings.api_key), PartyId(settings.audience)
        return KeyAccess(PartyId(settings.party), key, audience, token_bytes, ("publish", "read"))
    if settings.token_file is None or settings.api_key is not None:
        raise Refused("source.access", "/token_file")
    return ApiToken(secret(folder / settings.token_file))


def _local_token(path: Path) -> str:
    """The local token, made when it is not there."""
    if not path.exists():
        with suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{secrets.token_urlsafe(32)}\n")
    return secret(path)


def secret(path: Path) -> str:
    """One line that only its owner may read. Raises Refused `source.no-file`, `.open-to-others`, `.secret`."""
    try:
        mode, text = path.stat().st_mode, path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise Refused("source.no-file", file=path.name) from None
    if mode & 0o077:
        raise Refused("source.open-to-others", file=path.name)
    if not text or not text.isprintable():
        raise Refused("source.secret", file=path.name)
    return text
