"""The source's desk: what was accepted reaches the broker, once, whatever fails on the way."""

import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from connectors.client import Client
from connectors.ends import Ends
from connectors.journal import Journal
from connectors.outbox import STEPS, Item, Outbox
from connectors.pinning import Pin
from connectors.pins import Pins
from connectors.retry import Backoff
from connectors.source_desk import PATIENCE_MS, Signer, SourceDesk
from connectors.testing import BROKER, TestBroker
from schemas import samples
from schemas.assurance import Provenance
from schemas.catalogue import builtin
from schemas.errors import Fault, Refused, Unavailable
from schemas.names import DeclarationId, EventType, PartyId
from schemas.record_types import AddressChanged, UnionDissolved

pytestmark = pytest.mark.asyncio
PORTAL, TOWN = PartyId("urn:unefois:portal"), PartyId("urn:fr:siret:21350238800019")
MOVED = AddressChanged.event_type


def asked(event_type: EventType = MOVED, **changes: Any) -> dict[str, Any]:
    """What a system of the source's sends: without the fields that may be null."""
    told = samples.sample(event_type) | changes
    return {"event_type": event_type, "record": {name: value for name, value in told.items() if value is not None}}


@dataclass
class Portal:
    """A source with its outbox, and a broker in memory."""

    path: Path
    broker: TestBroker = field(default_factory=TestBroker)

    def __post_init__(self) -> None:
        self.source = self.broker.source(PORTAL, MOVED, UnionDissolved.event_type)
        self.token = self.broker.token(PORTAL)
        self.pin = Pin(None, self.broker.chain.ledger)
        self.broker.grant(TOWN, MOVED, ["subject", "new_address"])
        self.broker.agency(TOWN)

    def answer_declarations(self, status: int, told: object, retry_after: int | None = None) -> None:
        """From now on the broker answers so to every declaration."""
        ordinary = self.broker.answers.answer
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}

        def answer(request: httpx2.Request) -> httpx2.Response:
            said = httpx2.Response(status, json=told, headers=headers)
            return said if request.url.path == "/v1/declarations" else ordinary(request)

        self.broker.answers.answer = answer  # type: ignore[method-assign]

    @asynccontextmanager
    async def desk(self) -> AsyncIterator[SourceDesk]:
        """As after a start."""
        broker = self.broker
        outbox = Outbox.open(self.path)
        signer = Signer(self.source, 30 * 86_400_000, builtin(), self.pin)
        backoff = Backoff(lambda size: b"\xff" * size)
        clock = lambda: broker.now  # noqa: E731
        try:
            async with Client.open(broker.url, self.token, transport=broker.transport, clock=clock, tries=1) as client:
                yield SourceDesk(client, outbox, signer, clock=clock, entropy=broker.entropy, backoff=backoff)
        finally:
            outbox.close()


@pytest.fixture
def portal(tmp_path: Path) -> Portal:
    return Portal(tmp_path / "outbox.db")


async def test_plain_facts_become_a_declaration_with_its_receipt(portal: Portal) -> None:
    async with portal.desk() as desk:
        item = await desk.publish(desk.accept(asked(), "1").declaration_id)

    assert "received" == item.state
    assert [item.declaration_id] == list(portal.broker.kept)
    assert 1 == len(portal.broker.deliveries(TOWN))
    kept = portal.broker.kept[item.declaration_id].verified
    assert PORTAL == kept.manifest.source
    assert set(kept.signed.slip.territories) == {"35238", "44109"} & set(kept.signed.slip.territories) != set()


async def test_what_is_stated_of_how_sure_it_is_stands_in_the_signed_manifest(portal: Portal) -> None:
    words = {"assurance": "counter", "quality": "certified", "channel": "counter"}
    async with portal.desk() as desk:
        item = await desk.publish(desk.accept(asked() | {"provenance": words}, "1").declaration_id)

    assert Provenance.read(**words) == portal.broker.kept[item.declaration_id].verified.manifest.provenance


@pytest.mark.parametrize(
    ("told", "code", "pointer"),
    [
        ("high", "source.members", "/provenance"),
        ({"assurance": "high"}, "source.members", "/provenance"),
        ({"assurance": "high", "quality": "declared", "channel": 1}, "source.members", "/provenance"),
        ({"assurance": "sure", "quality": "declared", "channel": "post"}, "assurance.unknown", "/provenance/assurance"),
    ],
)
async def test_a_statement_that_nobody_knows_is_refused_and_nothing_is_kept(
    portal: Portal, told: object, code: str, pointer: str
) -> None:
    async with portal.desk() as desk:
        with pytest.raises(Refused) as refused:
            desk.accept(asked() | {"provenance": told}, "1")
        assert 0 == desk.waiting()

    assert (code, pointer) == (refused.value.code, refused.value.pointer)


async def test_the_record_is_gone_from_the_disk_once_the_broker_has_it(portal: Portal) -> None:
    name = "Zéphyrine-Introuvable"
    subject = samples.sample(MOVED)["subject"] | {"family_name": name}
    portal.broker.answers.fail(503)
    async with portal.desk() as desk:
        of = desk.accept(asked(subject=subject), "1").declaration_id
        await desk.publish(of)
        # Base64 of Avro: looked for as it is written there.
        assert b"record" in portal.path.read_bytes()
        portal.broker.advance(10_000)
        assert "received" == (await desk.publish(of)).state
        item = desk.of(of)

    assert item is not None
    assert (None, None) == (item.draft, item.envelope)
    assert b'"record"' not in portal.path.read_bytes()
    assert 0o600 == portal.path.stat().st_mode & 0o777


async def test_a_decimal_stays_exact(portal: Portal) -> None:
    told = asked(UnionDissolved.event_type)
    told["record"]["child_support"]["monthly_amount"] = Decimal("123.45")
    async with portal.desk() as desk:
        assert "received" == (await desk.publish(desk.accept(told, "1").declaration_id)).state


@pytest.mark.parametrize("fault", ["fail", "lose"])
@pytest.mark.parametrize("before", [0, 1, 2])
async def test_a_broker_that_fails_at_any_call_gets_it_later_and_once(portal: Portal, fault: str, before: int) -> None:
    calls, answer = 0, portal.broker.answers.answer

    def failing(request: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == before + 1:
            portal.broker.answers.fail(503) if fault == "fail" else portal.broker.answers.lose()
        return answer(request)

    portal.broker.answers.answer = failing  # type: ignore[method-assign]
    async with portal.desk() as desk:
        first = await desk.publish(desk.accept(asked(), "1").declaration_id)
    assert ("waiting", "client.away") == (first.state, first.code)

    async with portal.desk() as desk:  # a restart
        assert 0 == await desk.work()  # not yet
        portal.broker.advance(10_000)
        assert 1 == await desk.work()
        assert "received" == desk.of(first.declaration_id).state  # type: ignore[union-attr]
    assert [first.declaration_id] == list(portal.broker.kept)
    assert 1 == len(portal.broker.deliveries(TOWN))


@pytest.mark.parametrize("write", ["sign", "received", "later"])
async def test_a_crash_at_any_write_loses_nothing_and_repeats_nothing(
    portal: Portal, write: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> Item:
        raise KeyboardInterrupt

    if write == "later":
        portal.broker.answers.fail(503)
    async with portal.desk() as desk:
        of = desk.accept(asked(), "1").declaration_id
        with monkeypatch.context() as patched:
            patched.setattr(Outbox, write, dies)
            with pytest.raises(KeyboardInterrupt):
                await desk.publish(of)

    async with portal.desk() as desk:
        portal.broker.advance(10_000)
        await desk.work()
        assert "received" == desk.of(of).state  # type: ignore[union-attr]
    assert [of] == list(portal.broker.kept)


async def test_the_same_key_is_the_same_declaration(portal: Portal) -> None:
    async with portal.desk() as desk:
        first = await desk.publish(desk.accept(asked(), "1").declaration_id)
        again = desk.accept(asked(), "1")
        other = desk.accept(asked(), "2")
        with pytest.raises(Refused) as refused:
            desk.accept(asked(occupants=3), "1")

    assert (first.declaration_id, "received") == (again.declaration_id, again.state)
    assert first.declaration_id != other.declaration_id
    assert "outbox.key-reused" == refused.value.code


@pytest.mark.parametrize(
    ("told", "code", "pointer"),
    [
        ([], "source.members", ""),
        ({"event_type": MOVED}, "source.members", ""),
        (asked() | {"more": 1}, "source.members", ""),
        (asked() | {"event_type": 3}, "source.members", ""),
        (asked() | {"corrects": 3}, "source.members", ""),
        (asked() | {"event_type": "x"}, "name.event-type", "/event_type"),
        (asked() | {"event_type": "fr.unefois.nothing.ever.v1"}, "catalogue.unknown-type", "/event_type"),
        (asked() | {"record": []}, "draft.not-a-record", "/record"),
        (asked() | {"corrects": "zz"}, "name.declaration-id", "/corrects"),
        (asked(effective_date="soon"), "values.date", "/record/effective_date"),
        (asked(occupants=0), "values.out-of-range", "/record/occupants"),
        (asked(occupants="1"), "avro.wrong-type", "/record/occupants"),
    ],
)
async def test_what_is_wrong_is_refused_with_its_place_and_nothing_is_kept(
    portal: Portal, told: object, code: str, pointer: str
) -> None:
    async with portal.desk() as desk:
        with pytest.raises(Refused) as refused:
            desk.accept(told, "1")
        assert (code, pointer) == (refused.value.code, refused.value.pointer)
        assert 0 == desk.waiting()


async def test_what_the_broker_refuses_for_good_says_why_and_where(portal: Portal) -> None:
    async with portal.desk() as desk:
        unknown = asked() | {"corrects": DeclarationId(bytes(16)).hex()}
        kept = portal.broker.accept

        def accept(envelope: bytes, sender: PartyId) -> Any:
            raise Refused("intake.unknown-original", "/payload/corrects")

        portal.broker.accept = accept  # type: ignore[method-assign]
        item = await desk.publish(desk.accept(unknown, "1").declaration_id)
        portal.broker.accept = kept  # type: ignore[method-assign]

        assert ("refused", "intake.unknown-original", "/payload/corrects") == (item.state, item.code, item.pointer)
        assert (None, None) == (item.draft, item.envelope)
        portal.broker.advance(86_400_000)
        assert 0 == await desk.work()
        mended = await desk.publish(desk.accept(asked(), "1").declaration_id)
        assert ("received", item) == (mended.state, replace(desk.of(item.declaration_id), key="1"))  # type: ignore[type-var]


async def test_a_token_or_gate_key_that_ended_while_it_waited_is_replaced_and_it_is_signed_anew(portal: Portal) -> None:
    portal.broker.answers.fail(503)
    async with portal.desk() as desk:
        of = desk.accept(asked(), "1").declaration_id
        portal.broker.answers._before.clear()
        item = await desk._sign(desk.of(of))  # type: ignore[arg-type]
        portal.broker._subjects.clear()  # the broker has replaced the key of its tokens
        done = await desk.publish(of)

    assert item.envelope is not None
    assert "received" == done.state
    assert portal.broker.kept[of].envelope != item.envelope


async def test_a_new_gate_key_is_asked_for_when_the_old_one_was_revoked(portal: Portal) -> None:
    async with portal.desk() as desk:
        await desk.publish(desk.accept(asked(), "1").declaration_id)
        (old,) = [each for each in portal.broker.keys if each.party == BROKER and hasattr(each.key, "suite")]
        portal.broker.agency(BROKER)
        portal.broker.keys.remove(old)
        portal.broker.mail._gate = portal.broker.keys[-1].key  # type: ignore[assignment]
        portal.broker.advance(1)
        done = await desk.publish(desk.accept(asked(occupants=2), "2").declaration_id)

    assert "received" == done.state


@pytest.mark.parametrize("trouble", ["token", "pins"])
async def test_an_operators_matter_refuses_no_declaration(portal: Portal, trouble: str) -> None:
    if trouble == "token":
        portal.token = "unefois_0000000000000000_x"
    else:
        portal.pin = Pin(None, portal.broker.chain.ledger, Pins(PartyId("urn:unefois:other"), frozenset()))
    async with portal.desk() as desk:
        item = await desk.publish(desk.accept(asked(), "1").declaration_id)

    assert "waiting" == item.state
    assert {"token": "client.not-let-in", "pins": "pins.other-broker"}[trouble] == item.code


async def test_a_receipt_that_the_pinned_broker_did_not_sign_is_none(portal: Portal) -> None:
    portal.broker._broker = portal.broker._signer
    async with portal.desk() as desk:
        item = await desk.publish(desk.accept(asked(), "1").declaration_id)

    assert ("waiting", "directory.key-of-another-party") == (item.state, item.code)


async def test_a_key_with_which_the_broker_signs_receipts_since_is_learned(portal: Portal) -> None:
    async with portal.desk() as desk:
        await desk.publish(desk.accept(asked(), "1").declaration_id)
        portal.broker._broker = portal.broker._signing(portal.broker.directory().broker, portal.broker.now)
        item = await desk.publish(desk.accept(asked(occupants=2), "2").declaration_id)
        assert "received" == item.state

        portal.broker.chain.links.clear()  # and of another history nothing is
        portal.broker._broker = portal.broker._signing(portal.broker.directory().broker, portal.broker.now)
        item = await desk.publish(desk.accept(asked(occupants=3), "3").declaration_id)
        assert ("waiting", "directory.rolled-back") == (item.state, item.code)
        assert 2 == portal.pin.version


async def test_a_full_outbox_keeps_nothing_more(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.outbox.WAITING_MOST", 1)
    async with portal.desk() as desk:
        desk.accept(asked(), "1")
        with pytest.raises(Unavailable) as away:
            desk.accept(asked(), "2")

    assert "outbox.full" == away.value.code


async def test_an_unknown_one_is_unknown(portal: Portal) -> None:
    async with portal.desk() as desk:
        assert None is desk.of(DeclarationId(bytes(16)))
        with pytest.raises(Refused):
            await desk.publish(DeclarationId(bytes(16)))


def _other_version(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b"no database" * 99), _other_version, Path.mkdir])
async def test_what_is_no_outbox_is_refused(make: Any, tmp_path: Path) -> None:
    make(tmp_path / "outbox.db")

    with pytest.raises(Fault) as fault:
        Outbox.open(tmp_path / "outbox.db")

    assert "outbox.unreadable" == fault.value.code


async def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    first = Outbox.open(tmp_path / "outbox.db")
    with pytest.raises(Unavailable) as away:
        Outbox.open(tmp_path / "outbox.db")
    first.close()

    assert "outbox.in-use" == away.value.code


async def test_what_the_broker_forbids_is_parked_until_somebody_mends_it(portal: Portal) -> None:
    contact = EventType("fr.unefois.contact.changed.v1")
    async with portal.desk() as desk:
        item = await desk.publish(desk.accept(asked(contact), "1").declaration_id)
        assert ("parked", "directory.not-entitled") == (item.state, item.code)
        assert (0, (1, [item])) == (desk.waiting(), desk.parked())
        portal.broker.advance(PATIENCE_MS)
        calls = len(portal.broker.answers.asked)
        assert 0 == await desk.work()
        assert calls == len(portal.broker.answers.asked)

        portal.broker.source(PORTAL, MOVED, UnionDissolved.event_type, contact)
        assert 1 == desk.retry()
        assert 1 == await desk.work()
        done = desk.of(item.declaration_id)
        assert done is not None
        assert ("received", None) == (done.state, done.draft)
        assert (0, []) == desk.parked()


async def test_who_is_not_let_in_at_all_is_tried_for_three_days_and_then_parked(portal: Portal) -> None:
    portal.token = "unefois_0000000000000000_x"
    async with portal.desk() as desk:
        of = desk.accept(asked(), "1").declaration_id
        portal.broker.advance(PATIENCE_MS - 1)
        assert "waiting" == (await desk.publish(of)).state
        portal.broker.advance(1)
        parked = await desk.publish(of)
        assert ("parked", "client.not-let-in") == (parked.state, parked.code)
        assert 1 == desk.retry()
        assert "waiting" == (await desk.publish(of)).state  # its time begins again


async def test_a_broker_that_is_away_is_waited_for_however_long(portal: Portal) -> None:
    async with portal.desk() as desk:
        of = desk.accept(asked(), "1").declaration_id
        portal.broker.advance(10 * PATIENCE_MS)
        portal.broker.answers.fail(503)
        assert "waiting" == (await desk.publish(of)).state


async def test_what_has_ended_is_forgotten_after_its_retention_and_what_waits_is_not(portal: Portal) -> None:
    async with portal.desk() as desk:
        done = await desk.publish(desk.accept(asked(), "1").declaration_id)
        portal.broker.answers.fail(503)
        waits = await desk.publish(desk.accept(asked(occupants=2), "2").declaration_id)
        portal.broker.advance(1000)
        assert 0 == desk.prune(1000)
        portal.broker.advance(1)
        assert 1 == desk.prune(1000)
        assert None is desk.of(done.declaration_id)
        assert waits == desk.of(waits.declaration_id)


@pytest.fixture
def full_disk() -> Iterator[Callable[[], None]]:
    """From its call on this process can make no file longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_loses_nothing_and_is_said(portal: Portal, full_disk: Callable[[], None]) -> None:
    async with portal.desk() as desk:
        waits = desk.accept(asked(), "1")
    async with portal.desk() as desk:
        full_disk()
        with pytest.raises(Unavailable) as away:
            desk.accept(asked(), "2")
        assert "outbox.disk" == away.value.code
        with pytest.raises(Unavailable) as away:
            await desk.publish(waits.declaration_id)
        assert "outbox.disk" == away.value.code
        assert waits == desk.accept(asked(), "1")
        assert 1 == desk.waiting()


@pytest.mark.parametrize(
    ("open_it", "code"), [(Outbox.open, "outbox.disk"), (Ends.open, "ends.disk"), (Journal.open, "journal.disk")]
)
async def test_a_file_that_a_full_disk_does_not_take_is_not_made(
    open_it: Callable[[Path], Any], code: str, tmp_path: Path, full_disk: Callable[[], None]
) -> None:
    full_disk()
    with pytest.raises(Unavailable) as away:
        open_it(tmp_path / "new.db")
    assert code == away.value.code


async def test_an_outbox_of_the_first_version_is_taken_over_with_what_waits(portal: Portal) -> None:
    connection = sqlite3.connect(portal.path, isolation_level=None)
    connection.executescript(STEPS[0] + "; PRAGMA user_version = 1")
    connection.close()
    async with portal.desk() as desk:
        desk.accept(asked(), "1")
    async with portal.desk() as desk:
        assert 1 == await desk.work()
