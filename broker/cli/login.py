"""Commands login and logout: whoever has an account signs in with OpenID Connect, in the browser of this machine.

Refuses: an answer that comes from elsewhere than this machine, or to another question.
Keeps: the session's file is its owner's alone, and ends by itself.
"""

import asyncio
import webbrowser
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import parse_qsl, urlsplit

import typer

from broker.cli.frame import command, say
from broker.cli.session import at_home, settings
from broker.cli.show import answer, line, pairs
from schemas.errors import Refused

if TYPE_CHECKING:
    from broker.services.signing_in import Attempt, Client
    from broker.settings.choices import Settings
    from broker.setup.wiring import Home

SECONDS: Final = 300
"""How long somebody may take in the browser."""
_HEAD_BYTES: Final = 16_384
_HERE: Final = "127.0.0.1"


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    command(app, "login")(login)
    command(app, "logout")(logout)


def login(
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page, or only print it.")] = True,
) -> None:
    """Sign in with OpenID Connect: commands are yours then, for `session_minutes`.

    Settings: `oidc_issuer`, `oidc_client_id`. The account has this issuer and your `sub` there: `unefois operator add`.

    Example: unefois login
    """

    async def work(home: "Home") -> dict[str, Any]:
        from broker.services import accounts, sessions, signing_in
        from broker.shapes import time_of
        from schemas.names import Instant

        here = home.settings
        client = _client(here)
        provider = await signing_in.discover(home.outbound, client)
        arrived: asyncio.Queue[Mapping[str, str]] = asyncio.Queue()
        server = await asyncio.start_server(
            _Callback(arrived).answer, _HERE, here.oidc_redirect_port, limit=_HEAD_BYTES
        )
        async with server:
            port = server.sockets[0].getsockname()[1]
            attempt = signing_in.begin(client, provider, f"http://{_HERE}:{port}/callback", home.entropy)
            _show_page(attempt, browser)
            try:
                async with asyncio.timeout(SECONDS):
                    while (came := await arrived.get()).get("state") != attempt.state:
                        continue  # another page of this browser's
            except TimeoutError:
                raise Refused("login.late", seconds=SECONDS) from None
        who = await signing_in.finish(home.outbound, attempt, came, home.clock())
        account = next((one for one in await accounts.listed(home) if one.login == who and one.ended_at is None), None)
        if account is None:
            raise Refused("login.no-account", issuer=who.issuer, subject=who.subject)
        until = Instant(home.clock() + here.session_minutes * 60_000)
        _keep(here, sessions.made(who, attempt.key, until, sessions.secret_of(home.keys)))
        return {"name": account.name, "until": time_of(until)}

    told = at_home(work)
    answer(
        told, lambda: pairs([(say("connecté", "signed in"), told["name"]), (say("jusqu'à", "until"), told["until"])])
    )


def logout() -> None:
    """End the session on this machine.

    Example: unefois logout
    """
    file = settings().session_file
    there = file.exists()
    file.unlink(missing_ok=True)
    text = say("Session terminée.", "Session ended.") if there else say("Pas de session.", "No session.")
    answer({"ended": there}, lambda: line(text))


class _Callback:
    """What the browser comes back to: one path, one answer."""

    def __init__(self, arrived: "asyncio.Queue[Mapping[str, str]]") -> None:
        self._arrived = arrived

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of HTTP/1.1."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n")[0].decode("ascii").split(" ")
            asked = urlsplit(target)
            found = method == "GET" and asked.path == "/callback"
            text = say("Revenez au terminal.", "Go back to the terminal.") if found else "404"
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


def _client(here: "Settings") -> "Client":
    from broker.services.signing_in import Client

    if here.oidc_issuer is None or here.oidc_client_id is None:
        raise Refused("login.not-configured", "/oidc_issuer")
    return Client(here.oidc_issuer, here.oidc_client_id, here.secret_oidc())


def _show_page(attempt: "Attempt", browser: bool) -> None:
    """On the standard error: what is answered stays one document."""
    typer.echo(say("Ouvrez dans votre navigateur :", "Open in your browser:") + f"\n{attempt.url}", err=True)
    if browser:
        webbrowser.open(attempt.url)


def _keep(here: "Settings", content: bytes) -> None:
    from broker.keys.folder import PrivateFolder

    here.session_file.parent.parent.mkdir(parents=True, exist_ok=True)
    PrivateFolder(here.session_file.parent).replace(here.session_file.name, content)
