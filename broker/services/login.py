"""Login: somebody signs in with the browser of this machine, and has a session of this home.

    discover ──► a loopback address waits ──► the page, in a browser ──► the answer ──► an account ──► the session file

Refuses: an answer that comes from elsewhere than this machine, or to another question; somebody without an account.
Keeps: the session's file is its owner's alone, and ends by itself.
Source: RFC 8252, section 7.3 (loopback), RFC 9700.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from broker.access.operators import Account
from broker.keys.folder import PrivateFolder
from broker.services import sessions, signing_in
from broker.services.signing_in import Client
from broker.settings.choices import Settings
from broker.setup.wiring import Home
from schemas.errors import Refused
from schemas.names import Instant

SECONDS: Final = 300
"""How long somebody may take in the browser."""
_HEAD_BYTES: Final = 16_384
_HERE: Final = "127.0.0.1"
_PATH: Final = "/callback"


async def login(home: Home, show: Callable[[str], None], words: str) -> tuple[Account, Instant]:
    """Who signed in, and until when. `show`: is given the address to open; `words`: what the browser shows at the end.

    Raises Refused: `login.*`, `outbound.*`; Unavailable `outbound.*`.
    """
    here = home.settings
    client = _client(here)
    provider = await signing_in.discover(home.outbound, client)
    arrived: asyncio.Queue[Mapping[str, str]] = asyncio.Queue()
    callback = _Callback(arrived, words)
    server = await asyncio.start_server(callback.answer, _HERE, here.oidc_redirect_port, limit=_HEAD_BYTES)
    async with server:
        port = server.sockets[0].getsockname()[1]
        attempt = signing_in.begin(client, provider, f"http://{_HERE}:{port}{_PATH}", home.entropy)
        show(attempt.url)
        try:
            async with asyncio.timeout(SECONDS):
                while (came := await arrived.get()).get("state") != attempt.state:
                    continue  # another page of this browser's
        except TimeoutError:
            raise Refused("login.late", seconds=SECONDS) from None
    who = await signing_in.finish(home.outbound, attempt, came, home.clock())
    async with home.store.read() as tx:
        account = next((one for one in await home.operators.living(tx) if one.login == who), None)
    if account is None:
        raise Refused("login.no-account", issuer=who.issuer, subject=who.subject)
    until = Instant(home.clock() + here.session_minutes * 60_000)
    here.session_file.parent.parent.mkdir(parents=True, exist_ok=True)
    made = sessions.made(who, attempt.key, until, sessions.secret_of(home.keys))
    PrivateFolder(here.session_file.parent).replace(here.session_file.name, made)
    return account, until


def logout(here: Settings) -> bool:
    """End the session on this machine. Whether there was one."""
    there = here.session_file.exists()
    here.session_file.unlink(missing_ok=True)
    return there


class _Callback:
    """What the browser comes back to: one path, one answer."""

    def __init__(self, arrived: "asyncio.Queue[Mapping[str, str]]", words: str) -> None:
        self._arrived = arrived
        self._words = words

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of HTTP/1.1."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n")[0].decode("ascii").split(" ")
            asked = urlsplit(target)
            found = method == "GET" and asked.path == _PATH
            text = self._words if found else "404"
            body = f"<!doctype html><meta charset=utf-8><title>Unefois</title><p>{text}</p>".encode()
            status = "200 OK" if found else "404 Not Found"
            headers = f"content-type: text/html; charset=utf-8\r\ncontent-length: {len(body)}\r\nconnection: close"
            writer.write(f"HTTP/1.1 {status}\r\n{headers}\r\ncache-control: no-store\r\n\r\n".encode() + body)
            await writer.drain()
            if found:
                self._arrived.put_nowait(dict(parse_qsl(asked.query)))
        except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # no request of a browser's; the next one may be
        finally:
            writer.close()


def _client(here: Settings) -> Client:
    if here.oidc_issuer is None or here.oidc_client_id is None:
        raise Refused("login.not-configured", "/oidc_issuer")
    return Client(here.oidc_issuer, here.oidc_client_id, here.secret_oidc())
