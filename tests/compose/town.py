"""deploy/compose.yaml, run: its containers, its operator's commands, and administrations that come from outside."""

import asyncio
import secrets
import shutil
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from json import dumps, loads
from pathlib import Path
from typing import Any, Final

import yaml

from connectors import key_files
from connectors.client import Client
from connectors.contract import Agency
from connectors.ends import Ends
from schemas import catalogue
from schemas.declaration import Source, declare
from schemas.hpke import SealingKey
from schemas.names import DeclarationId, EventType, Instant, PartyId, uuid7
from schemas.record_types import AddressChanged
from schemas.samples import sample
from schemas.signing import PrivateKey
from tests.compose.engine import Room

ROOT: Final = Path(__file__).parents[2]
FILE: Final[Mapping[str, Any]] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
ONCE: Final = ("init", "topics")
"""Services that do something, and end."""
OURS: Final = [name for name, one in FILE["services"].items() if "build" in one]
SERVING: Final = [name for name in OURS if name not in ONCE]
API, GATE = "http://127.0.0.1:8470", "http://127.0.0.1:8471"
PORTAL, RENNES = PartyId("urn:unefois:portal"), PartyId("urn:fr:siret:21350238800019")
MOVED: Final = EventType("fr.unefois.address.changed.v1")
ABOUT: Final = "--address '1 rue X' --contact c@example.fr --retention 'two years'"
YEAR_MS: Final = 365 * 86_400_000
SECONDS: Final = 300
"""For anything that is waited for: far more than it takes, on a machine with other things to do."""


def new_secrets(folder: Path) -> None:
    """What the head of the file says to make, as it says it."""
    folder.mkdir(mode=0o700)
    password = secrets.token_hex(24)
    told = {
        "postgres-password": f"{password}\n",
        "database-url": f"postgresql+asyncpg://unefois:{password}@postgres/unefois",
        "keys-passphrase": f"{secrets.token_hex(24)}\n",
    }
    for name, text in told.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o444)


@dataclass
class Town:
    """The file, copied beside secrets of its own, with a portal that declares and a town that receives."""

    room: Room
    signs: PrivateKey = field(default_factory=lambda: _key("ed25519", PrivateKey))
    opens: SealingKey = field(default_factory=lambda: _key("x25519", SealingKey))
    tokens: dict[PartyId, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the file lies."""
        return self.room.folder / "deploy"

    def write(self) -> None:
        """The file and its secrets."""
        self.folder.mkdir()
        shutil.copyfile(ROOT / "deploy/compose.yaml", self.folder / "compose.yaml")
        new_secrets(self.folder / "secrets")

    def compose(self, *words: str, typed: str | None = None) -> str:
        """What podman-compose prints for these words. Raises Failed."""
        played = self.room.folder / "podman"
        if not played.exists():
            played.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/compose/podman.py "$@"\n')
            played.chmod(0o755)
        command = [sys.executable, "-m", "podman_compose", "--podman-path", played, "-f", self.folder / "compose.yaml"]
        names = {"UNEFOIS_LEDGER_ORIGIN": "log.example.fr/unefois", "UNEFOIS_PARTY": "urn:fr:siret:13002526500013"}
        return self.room.run(*command, *words, typed=typed, environment=names)

    def up(self) -> None:
        """Everything, from whatever is there; returns once all of it is healthy."""
        self.compose("up", "-d", "--no-build")
        for name in ONCE:
            assert 0 == self.ended(name), self.words(f"unefois_{name}_1")
        for name in self.serving():
            self.healthy(name)

    def ended(self, name: str) -> int:
        """The exit code of a service that does something and ends; once it is not tried again."""
        container, most = f"unefois_{name}_1", FILE["services"][name]["restart"].rpartition(":")[2]

        def over() -> bool:
            (told,) = loads(self.room.podman("inspect", container))
            state = told["State"]
            return state["Status"] == "exited" and (state["ExitCode"] == 0 or told["RestartCount"] >= int(most))

        self._until(over, f"{container} has not ended")
        return int(self.state(container)["ExitCode"])

    def down(self) -> None:
        """Containers and networks are gone; volumes stay."""
        self.compose("down")

    def serving(self) -> list[str]:
        """The containers that go on."""
        names = self.room.podman("ps", "--all", "--format", "{{.Names}}", "--filter", "name=^unefois_").split()
        return sorted(name for name in names if name.split("_")[1] not in ONCE)

    def state(self, container: str) -> dict[str, Any]:
        """What podman says of a container's process."""
        (told,) = loads(self.room.podman("inspect", container))
        state: dict[str, Any] = told["State"]
        return state

    def words(self, container: str) -> str:
        """The end of what it wrote."""
        done = self.room.attempt("podman", "logs", "--tail", "20", container)
        return done.stdout + done.stderr

    def healthy(self, container: str) -> None:
        """Return once its health check succeeds. Raises AssertionError when it does not in time."""
        check = ("podman", "healthcheck", "run", container)
        self._until(lambda: self.room.attempt(*check).returncode == 0, f"{container} is not healthy")

    def kill(self, container: str) -> None:
        """kill -9 of its process, from below: nobody was asked. Returns once another one runs in its place."""
        before = self.state(container)["Pid"]
        self.room.run("kill", "-9", before)

        def back() -> bool:
            now = self.state(container)
            return now["Status"] == "running" and now["Pid"] not in {0, before}

        self._until(back, f"{container} does not come back")

    def _until(self, met: Callable[[], bool], otherwise: str) -> None:
        until = time.monotonic() + SECONDS
        while not met():
            if time.monotonic() > until:
                words = [f"{name}: {self.words(name)}" for name in self.serving()]
                raise AssertionError("\n".join((otherwise, *words)))
            time.sleep(0.2)

    def operator(self, *lines: str) -> list[str]:
        """What each of these lines of a shell prints, beside the broker, with the whole key store."""
        mark = f"-- {secrets.token_hex(8)}"
        script = "set -e\numask 077\n" + "".join(f"{line}\necho '{mark}'\n" for line in lines)
        told = self.compose("run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "init", "-s", typed=script)
        return [each.strip() for each in told.split(f"{mark}\n")[:-1]]

    def track(self, declaration: str) -> dict[str, Any]:
        """What `unefois track` tells of it."""
        (told,) = self.operator(f"unefois track {declaration} --json")
        found: dict[str, Any] = loads(told)
        return found

    def enrol(self) -> None:
        """The portal and the town, each with a key that is its own alone, a subscription, and tokens."""
        asked = "--type address.changed --purpose local-services --field subject --field new_address"
        person = dumps(sample(MOVED)["subject"])
        *_, portal, rennes = self.operator(
            f"unefois party add {PORTAL} --name P --kind portal --sector portal --suite none"
            f" --publishes address.changed {ABOUT}",
            f"unefois party add-key {PORTAL} '{key_files.public(self.signs)}'",
            f"unefois party add {RENNES} --name R --sector commune --suite none {ABOUT}",
            f"unefois party add-key {RENNES} '{key_files.public(self.opens)}'",
            f"unefois subscribe --recipient {RENNES} {asked} --legal-reference 'CGCT, art. L2121-29'",
            f"echo '{person}' > /tmp/person.json",
            f"unefois grant --person /tmp/person.json --recipient {RENNES} {asked}",
            f"unefois token issue {PORTAL} --scope publish --scope read --days 1 --json",
            f"unefois token issue {RENNES} --scope receive --scope read --days 1 --json",
        )
        self.tokens = {PORTAL: loads(portal)["token"], RENNES: loads(rennes)["token"]}

    def declared(self) -> str:
        """The portal declares a move, at the door of the API. Returns the declaration's id."""

        async def call(client: Client) -> str:
            at = Instant(time.time_ns() // 1_000_000)
            of = DeclarationId(uuid7(at, secrets.token_bytes(10)))
            event, record = catalogue.builtin().by_type(MOVED), sample(MOVED)
            directory = await client.directory()
            envelope = declare(
                Source(PORTAL, (self.signs,), 1), event, record, subject_token=await client.resolve(record["subject"]),
                gate=directory.current_sealing_key(directory.broker, at), at=at, lifetime_ms=YEAR_MS,
                declaration_id=of, entropy=secrets.token_bytes,
            )  # fmt: skip
            receipt = await client.declare(envelope.encode())
            assert PORTAL == receipt.verify(directory).source
            return _text(of)

        return self._from_outside(API, PORTAL, call)

    def received(self) -> list[str]:
        """What the town pulls at the door of the gate, opens, verifies and acknowledges: the declarations' ids."""

        async def call(client: Client) -> list[str]:
            async with Client.open(API, self.tokens[RENNES]) as asks:
                directory = await asks.directory()
            agency = Agency(RENNES, {self.opens.kid: self.opens}, directory, catalogue.builtin())
            found, ends = [], Ends.open(None)
            while not found:
                async for delivery in client.deliveries(agency, ends, once=True):
                    assert isinstance(delivery.record, AddressChanged)
                    await delivery.applied()
                    found.append(_text(delivery.facts.declaration_id))
                await asyncio.sleep(0.2)
            return found

        return self._from_outside(GATE, RENNES, call)

    def _from_outside(self, door: str, party: PartyId, call: Callable[[Client], Awaitable[Any]]) -> Any:
        async def asked() -> Any:
            async with Client.open(door, self.tokens[party]) as client:
                return await asyncio.wait_for(call(client), SECONDS)

        return self.room.within(lambda: asyncio.run(asked()))


def _key(kind: str, wanted: type) -> Any:
    made = key_files.new(kind)
    assert isinstance(made, wanted)
    return made


def _text(declaration: DeclarationId) -> str:
    return str(uuid.UUID(bytes=bytes(declaration)))
