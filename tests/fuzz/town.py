"""A home with everything in it, and the processes that answer for it: a broker and a witness of its log.

What is in it: four administrations with subscriptions (one paused), declarations that wait, that are handed out, that
were applied and that died, a webhook, a pinned OAuth2 key, a token of every scope alone, of all, and one that expired.
Its quotas are so high that no request of a fuzz is refused for its number; they count all the same.
"""

import os
import re
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from broker.access.credentials import Scope
from broker.ledger.sequencer import newest_checkpoint
from broker.settings.choices import Settings, load
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from broker.shapes import uuid_of
from broker.transparency import witness
from broker.web.common.bodies import b64u
from connectors.contract import Applied, Rejected
from schemas.names import Instant, PartyId, Reason
from schemas.note import Note, VerifierKey
from schemas.signing import Algorithm, PrivateKey
from schemas.witnessing import Submission
from tests.clients import Client
from tests.services.processes import bound_to_parent
from tests.world import CAF, CPAM, DAY, ELISE, FAMILY, HEALTH, MOVED, PORTAL, RENNES, YANN, World, populate

ROOT: Final = Path(__file__).parents[2]
_ADDRESS: Final = re.compile(r"http://127\.0\.0\.1:\d+")
MANY = 5_000_000
"""Requests a minute: nobody is refused for their number, and everybody is told what is left."""
DIED, TAKEN, HANDED, WAITING, SPARE = 4, 2, 2, 8, 24
"""Declarations by what became of them; of SPARE only the envelopes are there."""


@dataclass
class Town:
    """The home, and what a client of it knows. `tokens` by name; `known`: real ids by the word that names them."""

    settings: Settings
    environment: Mapping[str, str]
    log: VerifierKey
    tokens: dict[str, str] = field(default_factory=dict)
    known: dict[str, list[str]] = field(default_factory=dict)
    envelopes: list[bytes] = field(default_factory=list)
    assertions: list[str] = field(default_factory=list)
    submission: bytes = b""

    def learn(self, word: str, told: str) -> None:
        """One more id that is real, or was; the oldest give way."""
        ids = self.known.setdefault(word, [])
        if told not in ids:
            ids.append(told)
            del ids[:-200]


async def founded(folder: Path) -> Town:
    """The home, on SQLite."""
    told = {
        "home": folder / "home",
        "log_partitions": 2,
        "hpke_suite": "x25519",
        "address": "1 rue d'Essai, Rennes",
        "contact": "contact@unefois.example",
        "ledger_origin": "log.example/fuzz",
        "ledger_window_seconds": 1,
        "requests_per_minute": MANY,
        "address_requests_per_minute": MANY,
        "declarations_per_minute": MANY,
    }
    settings = load(**told)
    await create_home(settings)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UNEFOIS_")}
    environment = kept | {f"UNEFOIS_{name.upper()}": str(value) for name, value in told.items()}
    async with open_home(settings) as home:
        town = Town(settings, environment, home.ledger.verifier_key)
        here = World(home, home.clock, settings.home)
        await populate(here)
        await _live(here, town)
        await _let_in(here, town)
        await here.step()
        async with home.store.read() as tx:
            signed = await newest_checkpoint(tx)
        town.submission = Submission(0, (), Note.parse(signed[1].encode())).encode()
    return town


async def _live(here: World, town: Town) -> None:
    """The days before."""
    people = [ELISE | {"given_names": [f"A{chr(97 + number)}"]} for number in range(DIED + TAKEN + HANDED + WAITING)]
    for person in people:
        await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"], person=person)
    for party, purpose in ((CPAM, HEALTH), (CAF, FAMILY)):
        await here.give(party, MOVED, purpose, ["subject"], person=YANN)
    for person in people:
        accepted = await here.declare(MOVED, here.moved(person), route=False)
        town.learn("declaration", uuid_of(accepted.declaration_id))
    await here.home.router.route()
    inbox = here.inbox(CAF)
    for number, locked in enumerate((await inbox.pull(DIED + TAKEN + HANDED)).locked):
        town.learn("delivery", uuid_of(locked.delivery_id))
        if number < DIED:
            await inbox.acknowledge(locked.delivery_id, Rejected("crm.closed", Reason.SYSTEM_REFUSED))
        elif number < DIED + TAKEN:
            await inbox.acknowledge(locked.delivery_id, Applied(None))
    await here.home.router.route()
    town.envelopes = [await here.home.desk.envelope(PORTAL, MOVED, here.moved(YANN)) for _ in range(SPARE)]
    for envelope in town.envelopes:
        town.learn("declarations", b64u(envelope))
        town.learn("data_base64", b64encode(envelope).decode())
    paused = here.subscriptions[CPAM, MOVED]
    async with here.home.store.begin() as tx:
        await here.home.subscribing.pause(tx, paused.id, here.clock())
        hook = await here.home.webhooks.add(tx, CAF, "https://hooks.example.invalid/unefois", here.clock())
    for one in here.subscriptions.values():
        town.learn("subscription", uuid_of(one.id))
    town.learn("webhook", uuid_of(hook.id))
    for each in here.home.catalogue:
        town.learn("schema", each.schema.id.hex())
        town.learn("subject", each.schema.name)


async def _let_in(here: World, town: Town) -> None:
    """Whoever may come."""
    wanted: dict[str, tuple[PartyId, tuple[Scope, ...], int]] = {
        "caf": (CAF, tuple(Scope), 30 * DAY),
        "portal": (PORTAL, tuple(Scope), 30 * DAY),
        "rennes": (RENNES, tuple(Scope), 30 * DAY),
        "expired": (CAF, tuple(Scope), 1),
        **{scope.value: (CAF, (scope,), 30 * DAY) for scope in Scope},
    }
    at = here.clock()
    for name, (party, scopes, lasting) in wanted.items():
        async with here.home.store.begin() as tx:
            issued = await here.home.credentials.issue(tx, party, scopes, expires_at=Instant(at + lasting), at=at)
        town.tokens[name] = issued.token
    client = Client(here, CAF)
    await client.pin()
    town.assertions = [client.assertion() for _ in range(3)]
    town.assertions += [client.assertion(jti="\ud800"), client.assertion(exp=1e300), client.assertion(aud=[CAF] * 50)]
    for assertion in town.assertions:
        town.learn("client_assertion", assertion)
    town.tokens["access"] = await client.redeem(client.assertion(), "receive")


@dataclass(frozen=True)
class Served:
    """A process that answers. `log`: the file of everything that it said."""

    url: str
    pid: int
    log: Path

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def wrong(self) -> list[str]:
        """The lines of its log that tell of a fault of its own."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        words = (
            '"level": "error"',
            '"level":"error"',
            '"level": "critical"',
            '"level":"critical"',
            "Traceback",
            "ERROR:",
        )
        return [line for line in lines if any(word in line for word in words)]


@contextmanager
def served(town: Town) -> Iterator[Served]:
    """`unefois serve` with every role, on a port that the machine gives. Ends with exit code 0, or raises."""
    with _running(town, "broker", "serve", "--listen", "127.0.0.1:0") as made:
        yield made


@contextmanager
def witnessing(town: Town) -> Iterator[Served]:
    """`unefois witness serve`, which knows this home's log."""
    folder = town.settings.home.parent / "witness"
    witness.create(folder, "witness.example/fuzz", PrivateKey.generate(Algorithm.ED25519))
    words = ("witness", "serve", str(folder), "--log", town.log.text, "--listen", "127.0.0.1:0")
    with _running(town, "witness", *words) as made:
        yield made


@contextmanager
def _running(town: Town, name: str, *words: str) -> Iterator[Served]:
    log = town.settings.home.parent / f"{name}.log"
    command = bound_to_parent([sys.executable, "-m", "broker", *words])
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=ROOT, env=town.environment, stdout=subprocess.PIPE, stderr=said, text=True
        )
        try:
            assert process.stdout is not None
            greeted = next(filter(None, map(_ADDRESS.search, process.stdout)), None)
            if greeted is None:
                raise RuntimeError(f"{name} did not start: {log.read_text()[-2000:]}")
            yield Served(greeted[0], process.pid, log)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
            if process.returncode not in {0, -signal.SIGTERM}:
                raise RuntimeError(f"{name} ended with {process.returncode}")
        finally:
            process.kill()
            process.communicate()


async def contradictions(town: Town) -> list[str]:
    """What fsck finds once all is done."""
    async with open_home(town.settings) as home:
        await home.ledger.sequence_unfinished()
        return [str(found) for found in await home.fsck.check()]
