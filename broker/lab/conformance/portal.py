"""Portal: a town's own portal under trial: what it forwards, what it shows, what it leaves behind.

    command, then the path of a JSON    {"recipient": "...", "record": {...}, "others": [...]}
    it prints   Sign in: <where the citizen's browser goes>
    it reads    one line: where FranceConnect has sent the browser back to
    it ends     with 0 when the citizen has read and allowed, has declared, has taken it back, and is signed out

What it shows to the citizen it prints. In its environment: BROKER, PORTAL_TOKEN; ISSUER, CLIENT_ID, CLIENT_SECRET,
REDIRECT, as whom a strict FranceConnect of the kit's own knows it.

Refuses: nothing; what goes wrong is written down.
Keeps: the kit is the citizen's browser, and looks into the broker for what came of it.
"""

import asyncio
import json
import os
import re
import signal
import socket
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from sqlalchemy import func, select
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from broker.access.identity_tokens import Door
from broker.lab.conformance.finding import Finding
from broker.lab.conformance.trial import MOVED, Stop, Words
from broker.lab.franceconnect.app import PATHS, app
from broker.lab.franceconnect.provider import Provider, Registered, Wrong
from broker.lab.sandbox import people
from broker.lab.sandbox.playground import Playground
from broker.lab.sandbox.process import Live
from broker.setup.wiring import Home
from broker.store.citizen_tables import citizen_sessions
from broker.web import server
from schemas.names import PartyId
from schemas.samples import as_json

CLIENT: Final = "conformance-portal"
SECRET: Final = "conformance-secret"  # noqa: S105 of a client that nobody else has
REDIRECT: Final = "https://portal.example/back"
CITIZEN: Final = "elise"
SESSIONS: Final = "/v1/citizens/sessions"
_SIGN_IN: Final = re.compile(r"Sign in: (\S+)")
_OWN: Final = ("subject", "declarant", "capacity")


@dataclass(slots=True)
class FranceConnect:
    """The kit's own, at an address of this machine. `open` makes it answer."""

    issuer: str
    provider: Provider | None = None

    def settings(self, party: PartyId) -> dict[str, Any]:
        """What a broker has to know of it, and of the portal."""
        return {
            "franceconnect_issuer": self.issuer,
            "portal_clients": {party: (CLIENT,)},
            "outbound_allowed": (urlsplit(self.issuer).netloc,),
        }

    def open(self, home: Home) -> None:
        """By the clock of this home."""
        ours = Registered(CLIENT, frozenset({REDIRECT}), secret=SECRET)
        self.provider = Provider(Door.FRANCECONNECT, self.issuer, [ours], clock=home.clock, entropy=home.entropy)


@asynccontextmanager
async def franceconnect() -> AsyncIterator[FranceConnect]:
    """It answers as long as the block runs."""
    taken = socket.create_server(("127.0.0.1", 0))
    there, ended = FranceConnect(server.address_of(taken) + PATHS[Door.FRANCECONNECT]), asyncio.Event()

    async def answer(scope: AsgiScope, receive: Receive, send: Send) -> None:
        await app({} if there.provider is None else {Door.FRANCECONNECT: there.provider})(scope, receive, send)

    answering = asyncio.create_task(server.serve_http(answer, taken, ended))
    try:
        yield there
    finally:
        ended.set()
        await answering


@dataclass(frozen=True, slots=True)
class Went:
    """One run of a portal: its exit status, what it printed, the nonce that it sent to FranceConnect."""

    status: int
    shown: str = field(repr=False)
    nonce: str | None


@dataclass(slots=True)
class PortalTrial:
    """The portal, its sandbox and FranceConnect. `begin` starts a case."""

    live: Live
    doors: FranceConnect
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    seconds: float
    words: Words = field(default_factory=lambda: Words(used=20_000))
    findings: list[Finding] = field(default_factory=list)

    @property
    def play(self) -> Playground:
        """The sandbox."""
        return self.live.play

    def begin(self) -> list[Finding]:
        """A new case: nothing found yet, nothing asked yet."""
        self.findings = []
        self.play.door.seen.clear()
        return self.findings

    def found(self, key: str, **details: object) -> None:
        """Write down what is wrong."""
        self.findings.append(Finding(key, details))

    def asked(self, path: str) -> list[int]:
        """The statuses that an address was answered with in this case."""
        return [one.status for one in self.play.door.seen if one.path == path]

    def refusal(self) -> str:
        """The last code that the portal was refused with."""
        return next((one.code for one in reversed(self.play.door.seen) if one.code is not None), "-")

    async def sessions(self) -> int:
        """How many sessions stand that the portal has opened."""
        party = self.play.wanted.party
        async with self.play.home.store.read() as tx:
            asked = select(func.count()).select_from(citizen_sessions).where(citizen_sessions.c.portal == party)
            return int((await tx.execute(asked)).scalar_one())

    async def call(self, *, person: str | None = CITIZEN, state: str | None = None) -> Went:
        """Let a citizen move. `person` None: they cancel at FranceConnect; `state`: what comes back in place of the
        portal's own. Raises Stop, with a finding, if it does not ask to sign in, or does not end.
        """
        process = await self._start()
        try:
            shown = await asyncio.wait_for(self._until_sign_in(process), self.seconds)
            url = _SIGN_IN.search(shown)
            if url is None:
                self.found("no-sign-in")
                raise Stop
            back = self._clicked(url[1], person, state)
            told, _ = await asyncio.wait_for(process.communicate(f"{back}\n".encode()), self.seconds)
        except TimeoutError:
            self.found("not-ending", seconds=f"{self.seconds:g}")
            raise Stop from None
        finally:  # also when the kit itself is asked to end
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            status = await process.wait()
        nonce = dict(parse_qsl(urlsplit(url[1]).query)).get("nonce")
        return Went(status, shown + told.decode(errors="replace"), nonce)

    async def whole(self) -> Went:
        """As `call`; the way has to be gone to its end. Raises Stop, with a finding, if it was not."""
        went = await self.call()
        if 201 not in self.asked(SESSIONS):
            self.found("no-session", code=self.refusal())
            raise Stop
        if went.status:
            self.found("portal-failed", status=went.status, code=self.refusal())
        return went

    def _clicked(self, url: str, person: str | None, state: str | None) -> str:
        """Where FranceConnect sends the browser. Raises Stop, with a finding, where it refuses the portal."""
        provider, told = self.doors.provider, dict(parse_qsl(urlsplit(url).query))
        try:
            back = "" if provider is None else provider.choose(provider.authorize(told), person)
        except Wrong as wrong:
            self.found("franceconnect-refuses", wrong=str(wrong))
            raise Stop from None
        own = told.get("state", "")
        return back if state is None else back.replace(f"state={own}", f"state={state}")

    async def _until_sign_in(self, process: Process) -> str:
        shown = ""
        while process.stdout is not None and not _SIGN_IN.search(shown):
            line = await process.stdout.readline()
            if not line:
                break
            shown += line.decode(errors="replace")
        return shown

    async def _start(self) -> Process:
        path = self.live.folder / f"{self.words.new()}.json"
        path.write_text(json.dumps(self._form(), ensure_ascii=False), "utf-8")
        return await asyncio.create_subprocess_exec(
            *self.command,
            str(path),
            cwd=self.folder,
            env={**os.environ, **self._environment()},
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
        )

    def _form(self) -> dict[str, Any]:
        record = as_json(people.record(MOVED, self.words.new(), {}), nulls=True)
        filled = {name: value for name, value in record.items() if name not in _OWN}
        return {"recipient": self.play.wanted.party, "record": filled, "others": []}

    def _environment(self) -> dict[str, str]:
        told = {
            "BROKER": self.live.url,
            "PORTAL_TOKEN": self.live.token,
            "ISSUER": self.doors.issuer,
            "CLIENT_ID": CLIENT,
            "CLIENT_SECRET": SECRET,
            "REDIRECT": REDIRECT,
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": "utf-8",
        }
        return {**told, **self.environment}
