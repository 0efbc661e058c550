"""Command serve: the machine for good, one role or all, with its answers over HTTP.

Refuses: an address that is taken; a database that is not ours; a ledger's name for trying things out, where others rely
on it.
Keeps: asked to stop once, it finishes what it has begun and ends with 0; asked twice, it ends at once, and nothing is
lost by that either.
"""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from broker.cli.exits import Exit
from broker.cli.frame import chosen, command, say
from broker.cli.machine import RoleName, tell_turn
from broker.cli.session import collect_less, settings
from broker.cli.show import line
from schemas.errors import Refused

if TYPE_CHECKING:
    from broker.runtime.serving import Serving
    from broker.runtime.turns import Turn
    from broker.settings.choices import Settings
    from broker.setup.roles import ProcessRole
    from broker.setup.wiring import Home

T = TypeVar("T")
_ENDING: Final = (signal.SIGINT, signal.SIGTERM)
"""The signals that ask a process to end."""


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "serve")(serve)


def serve(
    role: Annotated[RoleName, typer.Option("--role", help="What this process is for.")] = "all",
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST:PORT", help="Where it answers over HTTP, or none.")
    ] = None,
) -> None:
    """Run for good, beside any number of others. A database or a log that is away is waited for.

    SIGTERM or SIGINT: finish what has begun, end with 0. A second one: end at once.

    Example: unefois serve --role router --listen 127.0.0.1:8471
    """
    from broker.settings.check import is_placeholder, others_rely
    from broker.setup.roles import ProcessRole

    here = settings(listen=listen)
    if not here.keys_folder.is_dir():
        raise Refused("cli.no-home", file=str(here.home))
    if is_placeholder(here.ledger_origin) and others_rely(here):
        raise Refused("home.placeholder-origin", "/ledger_origin", found=here.ledger_origin)
    asyncio.run(_serve(here, ProcessRole(role)))


async def _serve(here: "Settings", role: "ProcessRole") -> None:
    from broker.observability import observe, spans
    from broker.runtime.hosting import FOLDER, load
    from broker.runtime.serving import Serving
    from broker.setup.opening import open_unchecked
    from broker.web import server

    agencies = load(here.home / FOLDER)
    taken = server.bound(here)
    async with open_unchecked(here, role=role) as home:
        observe.configure(here.log_level, home.clock, sys.stderr)
        traced = None if here.otel_endpoint is None else spans.export_to(here.otel_endpoint)
        stop = asyncio.Event()
        heed(stop)
        serving = Serving(home, role, agencies, stop, _tell)
        _greet(role, None if taken is None else server.address_of(taken))
        try:
            await _beside(home, serving, taken, stop)
        finally:
            if traced is not None:
                traced.shutdown()  # what waits goes out, or is given up after a while


async def _beside(home: "Home", serving: "Serving", taken: socket.socket | None, stop: asyncio.Event) -> None:
    """The work, and the answers for as long as it lasts: who asks while it ends is told that it ends.

    A process that cannot answer any more stops: nobody could tell whether it works.
    """
    from broker.web.app import build
    from broker.web.server import serve_http

    ended = asyncio.Event()
    answering = None if taken is None else asyncio.create_task(serve_http(build(home, serving), taken, ended))
    collect_less()  # what the addresses are made of stays, too
    if answering is not None:
        answering.add_done_callback(lambda _: stop.set())
    try:
        await serving.run()
    finally:
        ended.set()
        if answering is not None:
            await answering


def heed(stop: asyncio.Event) -> None:
    """The first signal asks to stop; after it, signals do again what they always do."""
    loop = asyncio.get_running_loop()

    def asked() -> None:
        stop.set()
        for number in _ENDING:
            with suppress(ValueError):
                loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in _ENDING:
        loop.add_signal_handler(number, asked)


def run_in_order(work: Coroutine[Any, Any, T]) -> T:
    """What the work gives. A signal cancels it, so that it tidies up, and then ends this process as it always would.

    Raises what the work raises, and SystemExit with 128 and the signal's number.
    """
    told: list[int] = []

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

        def asked(number: int) -> None:
            told.append(number)
            for each in _ENDING:
                with suppress(ValueError):
                    loop.remove_signal_handler(each)
            task.cancel()

        for number in _ENDING:
            loop.add_signal_handler(number, asked, number)
        return await task

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        sys.exit(128 + told[0] if told else Exit.UNEXPECTED)


def _greet(role: "ProcessRole", address: str | None) -> None:
    if chosen().json:
        print(json.dumps({"serving": role.value, "listen": address}), flush=True)
    else:
        line(say(f"En marche : {role.value}. {address or ''}", f"Running: {role.value}. {address or ''}").rstrip())
        sys.stdout.flush()


def _tell(role: "ProcessRole", done: "Turn") -> None:
    """A turn is done whether or not somebody can read of it."""
    from broker.observability import observe

    with observe.unraised():
        tell_turn(done)
