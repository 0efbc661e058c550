"""The loop keeps up with the directory by itself: a renewed key is believed because a signed chain leads to it, and a
broker that shows another history, or an unsigned one, ends the loop instead of being believed a little.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest

from connectors.blocking import BlockingClient
from connectors.client import Client
from connectors.ends import Ends
from connectors.pinning import Pin
from connectors.pins import Pins
from connectors.receiving import REFRESH_MS, SOONEST_MS
from connectors.testing import TestBroker
from schemas import avro, note, samples
from schemas.catalogue import Catalogue, builtin, event_schema
from schemas.directory_note import digest_of, text_of
from schemas.errors import Refused, Unavailable
from schemas.names import PartyId
from schemas.note import VerifierKey
from schemas.record_types import AddressChanged
from schemas.signing import Algorithm, PrivateKey
from tests.unit.connectors.conftest import TOWN

MOVED = AddressChanged.event_type
SIGNED, NOTES = "GET /v1/directory:signed", "GET /v1/directory/notes"
Answer = Callable[[httpx2.Request], httpx2.Response]


@dataclass
class Here:
    """A broker, a town with its pin, and what its loop was told."""

    file: Path
    broker: TestBroker = field(default_factory=TestBroker)
    ends: Ends = field(default_factory=lambda: Ends.open(None))
    told: list[str] = field(default_factory=list)
    keys: Pins | None = None

    def __post_init__(self) -> None:
        self.agency = self.broker.agency(TOWN)
        self.token = self.broker.token(TOWN)
        self.broker.grant(TOWN, MOVED, ["subject", "new_address"])
        self.pin = self.restarted()

    def restarted(self) -> Pin:
        """What another process reads from the disk."""
        return Pin(self.file, self.broker.chain.ledger, self.keys)

    def declare(self, name: str, **more: Any) -> None:
        subject = samples.sample(MOVED)["subject"] | {"family_name": name}
        self.broker.declare(samples.sample(MOVED) | {"subject": subject}, MOVED, **more)

    def loop(self, *, once: bool = True) -> "Loop":
        return Loop(self, once)

    def asked(self, route: str) -> int:
        return self.broker.answers.asked.count(route)

    def answering(self, path: str, answer: Answer) -> None:
        """What the broker says at this path from now on."""
        ordinary = self.broker.answers.answer
        self.broker.answers.answer = (  # type: ignore[method-assign]
            lambda request: answer(request) if request.url.path.endswith(path) else ordinary(request)
        )


class Loop:
    """A loop that is stopped by its broker's having nothing more: `sleep` then makes what happens meanwhile happen."""

    def __init__(self, here: Here, once: bool) -> None:
        self.here = here
        self.once = once
        self.meanwhile: list[Callable[[], None]] = []

    def names(self, most: int = 99) -> list[str]:
        """The names of what came, applied."""
        broker, found = self.here.broker, []

        def sleep(_: float) -> None:
            if not self.meanwhile:
                raise KeyboardInterrupt
            self.meanwhile.pop(0)()

        with BlockingClient.open(
            broker.url, self.here.token, transport=broker.transport, clock=lambda: broker.now, sleep=sleep, tries=1
        ) as client:
            try:
                for delivery in client.deliveries(
                    self.here.agency,
                    self.here.ends,
                    pin=self.here.pin,
                    once=self.once,
                    watch=lambda _, code: self.here.told.append(code),
                ):
                    assert isinstance(delivery.record, AddressChanged)
                    found.append(delivery.record.subject.family_name)  # type: ignore[union-attr]
                    delivery.applied()
                    if len(found) == most:
                        break
            except KeyboardInterrupt:
                pass
        return found


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path / "directory.pin")


def test_a_key_that_is_renewed_while_the_loop_runs_is_believed_without_a_person(here: Here) -> None:
    loop = here.loop(once=False)

    def renewed() -> None:
        here.broker.rotate_source()
        here.declare("Le Goff")

    here.declare("Martin")
    loop.meanwhile = [renewed]

    assert ["Martin", "Le Goff"] == loop.names()
    assert [] == here.told
    assert 2 == here.asked(SIGNED)


def test_a_new_key_of_the_gate_is_believed_too(here: Here) -> None:
    loop = here.loop(once=False)

    def renewed() -> None:
        here.broker.mail._signer = here.broker._signing(here.agency.directory.broker, here.broker.now)
        here.declare("Le Goff")

    loop.meanwhile = [renewed]

    assert ["Le Goff"] == loop.names()


def test_a_right_that_was_granted_since_is_no_reason_to_refuse_for_good(here: Here) -> None:
    portal = here.broker.source(PartyId("urn:unefois:portal"))
    loop = here.loop(once=False)

    def entitled() -> None:
        here.broker.rights.append((portal.party, MOVED))
        here.declare("Martin", source=portal)

    loop.meanwhile = [entitled]

    assert ["Martin"] == loop.names()


def test_what_a_directory_of_before_refuses_is_put_off_where_it_may_not_look_now(here: Here) -> None:
    portal, listed = here.broker.source(PartyId("urn:unefois:portal")), here.broker.directory
    loop = here.loop(once=False)

    def forged() -> None:
        frozen = listed()
        here.broker.rotate_source()
        here.declare("Nobody")
        here.broker.directory = lambda: frozen  # type: ignore[method-assign]

    def entitled() -> None:
        here.broker.directory = listed  # type: ignore[method-assign]
        here.broker.rights.append((portal.party, MOVED))
        here.declare("Martin", source=portal)

    loop.meanwhile = [forged, entitled, lambda: here.broker.advance(SOONEST_MS)]

    assert ["Nobody", "Martin"] == loop.names()
    assert ["directory.unknown-key", "directory.not-entitled"] == here.told
    assert ["applied", "applied"] == list(here.broker.deliveries(TOWN).values())


def test_a_new_key_and_a_new_schema_at_once_are_both_learned(here: Here) -> None:
    told = json.loads(builtin().by_type(MOVED).schema.raw)
    floor = {"name": "floor", "type": ["null", "int"], "default": None, "doc": "Floor.", "sensitivity": "low"}
    told["fields"].append(floor | {"label": {"fr": "Étage", "en": "Floor"}})
    newer = Catalogue((*builtin().schemas, event_schema(avro.parse(json.dumps(told).encode()))))
    loop = here.loop(once=False)

    def renewed() -> None:
        here.broker.rotate_source()
        here.broker.catalogue = newer
        here.broker.declare(samples.sample(MOVED) | {"floor": 3}, MOVED)

    loop.meanwhile = [renewed]

    assert [samples.sample(MOVED)["subject"]["family_name"]] == loop.names()
    assert [] == here.told


def test_a_clock_that_is_set_back_keeps_nothing_from_being_asked(here: Here) -> None:
    loop = here.loop(once=False)

    def renewed() -> None:
        here.broker.rotate_source()
        here.declare("Martin")

    def back() -> None:
        here.broker.advance(-1_000)
        renewed()

    here.broker.advance(2_000)
    loop.meanwhile = [renewed, back]

    assert ["Martin"] * 2 == loop.names()


def test_what_the_newest_directory_refuses_is_refused(here: Here) -> None:
    portal = here.broker.source(PartyId("urn:unefois:portal"), MOVED)
    here.declare("Martin", source=portal)
    here.broker.rights.clear()

    assert [] == here.loop().names()
    assert ["rejected"] == list(here.broker.deliveries(TOWN).values())


def test_a_forger_does_not_make_it_ask_more_than_once_a_minute(here: Here) -> None:
    frozen, listed, number = here.broker.directory(), here.broker.directory, count()
    here.broker.rotate_source()  # which the directory never tells
    here.broker.directory = lambda: frozen  # type: ignore[method-assign]
    loop = here.loop(once=False)

    def forged() -> None:
        here.broker.directory = listed  # type: ignore[method-assign]
        here.declare(f"Martin{next(number)}")
        here.broker.directory = lambda: frozen  # type: ignore[method-assign]

    def later() -> None:
        here.broker.advance(SOONEST_MS)

    loop.meanwhile = [*[forged] * 10, later, *[forged] * 10]

    assert [] == loop.names()
    assert {"directory.unknown-key"} == set(here.told)
    assert 20 <= len(here.told)
    assert (1, 2) == (here.asked(SIGNED), here.asked(NOTES))  # the whole at the start, then whether it changed


def test_now_and_then_it_looks_without_a_reason_and_hears_of_a_revocation(here: Here) -> None:
    key = here.broker.rotate_source()
    loop = here.loop(once=False)

    def revoked() -> None:
        here.broker.revoke_key(key)
        here.broker.advance(REFRESH_MS - 1)

    seen: list[int] = []
    loop.meanwhile = [
        revoked,
        lambda: seen.append(here.asked(NOTES)),
        lambda: here.broker.advance(1),
        lambda: seen.append(here.asked(NOTES)),
    ]
    loop.names()

    assert [0, 2] == seen  # not yet; then the link, and whether there is another
    assert here.broker.now > here.pin.directory.signing_key(key.kid).revoked_at  # type: ignore[operator]


def test_where_nothing_changed_the_directory_is_not_sent_again(here: Here) -> None:
    for _ in range(3):
        here.loop().names()

    assert 1 == here.asked(SIGNED)
    assert 3 >= here.asked(NOTES) >= 2


def test_a_restart_goes_on_from_the_pin_and_never_from_less(here: Here) -> None:
    here.loop().names()
    here.broker.rotate_source()
    here.broker.chain.newest(here.broker.directory())
    here.broker.rotate_source()
    here.declare("Martin")
    here.pin = here.restarted()

    assert ["Martin"] == here.loop().names()
    assert 3 == here.restarted().version
    assert here.broker.chain.ledger == here.file.read_text().splitlines()[0]


def test_a_renewal_while_it_asks_is_no_other_history(here: Here) -> None:
    here.loop().names()
    ordinary, renewals = here.broker.answers.answer, iter(range(2))

    def answer(request: httpx2.Request) -> httpx2.Response:
        reply = ordinary(request)
        if request.url.path.endswith("/notes") and len(json.loads(reply.content)["notes"]) == 1:  # nothing newer
            for _ in range(2 if next(renewals, None) is not None else 0):  # before the directory itself is asked for
                here.broker.rotate_source()
                here.broker.chain.newest(here.broker.directory())
        return reply

    here.broker.answers.answer = answer  # type: ignore[method-assign]
    here.broker.rotate_source()
    assert [] == here.loop().names()
    assert here.restarted().version == len(here.broker.chain.links)


def another_history(here: Here, versions: int) -> None:
    """Nobody else is shown this one: a key of the broker's own making in a source's name."""
    del here.broker.chain.links[:]
    for number in range(versions - 1):
        here.broker.chain.add(f'"{number}"')
    here.broker.rotate_source()


@pytest.mark.parametrize(
    ("versions", "hidden", "code"),
    [(1, 0, "directory.forked"), (3, 0, "directory.forked"), (2, 1, "directory.chain"), (3, 1, "directory.chain")],
)
@pytest.mark.parametrize("restart", [True, False])
def test_a_forked_chain_ends_the_loop_and_nothing_of_it_is_believed(
    here: Here, versions: int, hidden: int, code: str, restart: bool
) -> None:
    here.loop().names()
    loop, since = here.loop(once=False), here.broker.chain.since

    def forked() -> None:
        another_history(here, versions)
        if hidden:  # the document that would give it away is not shown
            here.broker.chain.since = lambda directory, version: since(directory, max(version, hidden))  # type: ignore[method-assign]
        here.broker.advance(REFRESH_MS)
        here.declare("Martin")

    if restart:
        forked()
        here.pin = here.restarted()
    else:
        loop.meanwhile = [forked]
    with pytest.raises(Refused) as refused:
        loop.names()

    assert code == refused.value.code
    assert 1 == here.restarted().version
    assert "applied" not in here.broker.deliveries(TOWN).values()


@pytest.mark.parametrize("restart", [True, False])
def test_a_chain_that_was_rolled_back_ends_the_loop(here: Here, restart: bool) -> None:
    old = here.broker.directory()
    here.broker.chain.newest(old)
    key = here.broker.rotate_source()
    here.loop().names()
    assert 2 == here.pin.version
    loop = here.loop(once=False)

    def rolled_back() -> None:  # as from a backup of before
        here.broker.keys[:] = [one for one in here.broker.keys if one.key is not key]
        here.broker.directory = lambda: old  # type: ignore[method-assign]
        del here.broker.chain.links[1:]
        here.broker.advance(REFRESH_MS)

    if restart:
        rolled_back()
        here.pin = here.restarted()
    else:
        loop.meanwhile = [rolled_back]
    with pytest.raises(Refused) as refused:
        loop.names()

    assert "directory.rolled-back" == refused.value.code
    assert 2 == here.restarted().version


STRANGER = PrivateKey.from_raw(Algorithm.ED25519, bytes(31) + b"\x05")


def says(here: Here, what: str) -> dict[str, str]:
    """A directory in which the newest keys are, as somebody who cannot sign it would show it."""
    content, newest = here.broker.directory().to_json(), here.broker.chain.links[-1][1]
    origin = VerifierKey.parse(here.broker.chain.ledger).name
    text = text_of(origin, 2, content, digest_of(here.broker.chain.links[0][0]))
    forged = note.sign(text, origin, STRANGER).encode().decode()
    other = text.replace(origin, "log.other.example/unefois")
    return {
        "without its note": {"directory": content},
        "with the note of another document": {"directory": content, "note": newest},
        "signed by a stranger": {"directory": content, "note": forged},
        "of another log": {
            "directory": content,
            "note": note.sign(other, "log.other.example/unefois", STRANGER).encode().decode(),
        },
    }[what]


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("without its note", "client.answer"),
        ("with the note of another document", "directory.note-differs"),
        ("signed by a stranger", "directory.note-unsigned"),
        ("of another log", "directory.note"),
    ],
)
def test_a_directory_that_the_ledger_did_not_sign_ends_the_loop_and_is_not_believed(
    here: Here, what: str, code: str
) -> None:
    here.loop().names()
    here.broker.rotate_source()
    here.declare("Martin")
    told = says(here, what)
    here.answering("/notes", lambda _: httpx2.Response(200, json={"notes": []}))
    here.answering("/directory:signed", lambda _: httpx2.Response(200, json=told))

    with pytest.raises(Refused) as refused:
        here.loop().names()

    assert code == refused.value.code
    assert 1 == here.restarted().version
    assert ["waiting"] == list(here.broker.deliveries(TOWN).values())


def test_the_unsigned_directory_is_never_asked_for(here: Here) -> None:
    here.broker.rotate_source()
    here.declare("Martin")

    assert ["Martin"] == here.loop().names()
    assert 0 == here.asked("GET /v1/directory")


def test_links_that_lead_nowhere_are_not_followed_for_ever(here: Here) -> None:
    here.loop().names()
    (link,) = here.broker.chain.since(here.broker.directory(), 0)
    here.answering("/notes", lambda _: httpx2.Response(200, json={"notes": [{"note": link[1]}] * 3}))

    assert [] == here.loop().names()


def test_a_broker_that_cannot_show_its_directory_now_stops_nothing_that_is_known(here: Here) -> None:
    loop = here.loop(once=False)

    def away() -> None:
        here.answering("/notes", lambda _: httpx2.Response(503))
        here.broker.advance(REFRESH_MS)
        here.declare("Martin")
        here.broker.rotate_source()
        here.declare("Le Goff")

    loop.meanwhile = [away]

    assert ["Martin"] == loop.names()
    assert ["client.away", "client.away", "directory.unknown-key"] == here.told


def test_before_the_first_directory_a_broker_that_is_away_is_waited_for(here: Here) -> None:
    here.declare("Martin")
    here.broker.answers.fail(503, times=2)
    loop = here.loop(once=False)
    loop.meanwhile = [lambda: None, lambda: None]

    assert ["Martin"] == loop.names(1)
    here.pin = here.restarted()
    here.broker.answers.fail(503)
    with pytest.raises(Unavailable):
        here.loop().names()


def test_a_first_use_without_a_key_asks_for_it_once_and_keeps_it(tmp_path: Path) -> None:
    here = Here(tmp_path / "directory.pin")
    here.pin = Pin(here.file)
    here.loop().names()
    here.pin = Pin(here.file)
    here.loop().names()

    assert 1 == here.asked("GET /log/vkey")
    assert VerifierKey.parse(here.broker.chain.ledger) == Pin(here.file).ledger


def test_another_ledger_than_the_kept_or_the_given_one_is_refused(here: Here) -> None:
    here.loop().names()
    other = VerifierKey.of("log.test.example/unefois", STRANGER).text

    for ask in (
        lambda: Pin(here.file, other).version,
        lambda: here.pin.trust(other),
        lambda: Pin(None, here.broker.chain.ledger).trust(other),
    ):
        with pytest.raises(Refused) as refused:
            ask()
        assert "directory.other-ledger" == refused.value.code
    with pytest.raises(Refused) as malformed:
        Pin(here.file, "no key")
    assert "note.key-malformed" == malformed.value.code
    with pytest.raises(Refused) as unknown:
        Pin(None).take(*here.broker.chain.newest(here.broker.directory()))
    assert "pins.no-ledger" == unknown.value.code


@pytest.mark.parametrize("vkey", [b"", b"\xff", b"<html>"])
def test_a_first_use_with_no_key_believes_nothing(here: Here, vkey: bytes) -> None:
    here.answering("/log/vkey", lambda _: httpx2.Response(200, content=vkey))
    here.pin = Pin(here.file)

    with pytest.raises(Refused) as refused:
        here.loop().names()

    assert ("client.answer", "/vkey") == (refused.value.code, refused.value.pointer)
    assert not here.file.exists()


@pytest.mark.parametrize("text", ["", "4 00\n", "no key\n1 " + "0" * 64 + "\n"])
def test_a_pin_that_cannot_be_read_is_no_first_use(here: Here, text: str) -> None:
    here.file.write_text(text)

    with pytest.raises(Refused) as refused:
        here.loop().names()

    assert "directory.pin" == refused.value.code


def test_a_person_may_look_at_each_new_key_first(here: Here) -> None:
    here.keys = Pins.of(here.broker.directory())
    here.pin = here.restarted()
    new = here.broker.rotate_source()
    here.declare("Martin")

    assert [] == here.loop().names()
    assert ["directory.unknown-key"] == here.told
    assert 0 == here.asked(NOTES)  # it has looked a moment ago
    assert ["handed"] == list(here.broker.deliveries(TOWN).values())

    (held,) = here.keys.unknown(here.broker.directory())
    here.keys = here.keys.accept([held.kid])
    here.pin = here.restarted()
    here.broker.advance(61_000)
    assert (new.kid, ["Martin"]) == (held.kid, here.loop().names())


def test_a_pin_that_another_process_moved_on_is_asked_for_again(here: Here) -> None:
    here.loop().names()
    here.broker.rotate_source()
    other = here.restarted()
    with BlockingClient.open(here.broker.url, here.token, transport=here.broker.transport) as client:
        newest = client.pinned_directory(other)
        with pytest.raises(Unavailable, match=r"directory\.cannot-pin"):
            here.pin.directory  # noqa: B018
        assert newest == client.pinned_directory(here.pin)


@pytest.mark.asyncio
async def test_the_same_without_blocking(here: Here) -> None:
    here.declare("Martin")
    clock = lambda: here.broker.now  # noqa: E731
    async with Client.open(here.broker.url, here.token, transport=here.broker.transport, clock=clock) as client:
        first = await client.pinned_directory(here.pin)
        here.broker.rotate_source()
        here.declare("Le Goff")
        names = []
        async for delivery in client.deliveries(here.agency, here.ends, pin=here.pin, once=True):
            names.append(json.loads(json.dumps(str(delivery.facts.record["subject"]["family_name"]))))
            await delivery.applied()
    assert ["Martin", "Le Goff"] == names
    assert len(first.signing) + 1 == len(here.pin.directory.signing)
