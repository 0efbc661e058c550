"""The runner: every delivery to its own end, and none in the way of another."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from connectors import runner
from connectors.contract import (
    Answered,
    Applied,
    Late,
    Otherwise,
    Outcome,
    Partly,
    Pulled,
    Reject,
    Rejected,
    Retry,
    Settings,
    Unknown,
)
from connectors.description import Description
from connectors.guarding import Guard, Guarded, Limits
from connectors.mapping import load
from connectors.rehearsal import BROKER, Rehearsal
from connectors.retry import Backoff
from connectors.runner import ASKED_AGAIN, Route, RunReport, run_routes
from schemas.delivery import VerifiedDelivery
from schemas.directory import Directory
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.hpke import SealingKey, Suite
from schemas.names import DeclarationId, DeliveryId, EventType, GrantId, ManifestDigest, PartyId, Reason

MAPPING = load(
    b"name: t\nversion: 1\nevent_type: fr.unefois.address.changed.v1\ndirection: out\n"
    b"fields: {NAME: record.subject.family_name, PHONE: record.phone}"
)
MOVED = EventType("fr.unefois.address.changed.v1")
FIELDS = ("subject", "phone")


class System:
    """An agency's system in memory, which fails as it is told: once for each fault listed for a name."""

    def __init__(self) -> None:
        self.rows: dict[DeliveryId, Mapping[str, object]] = {}
        self.pending: dict[DeliveryId, Mapping[str, object]] = {}
        self.manifests: dict[tuple[PartyId, DeclarationId], ManifestDigest] = {}
        self.faults: dict[str, list[Exception]] = {}
        self.flush_fault: Exception | None = None
        self.calls: list[str] = []

    async def find(self, delivery_id: DeliveryId) -> Applied | None:
        return Applied("found") if delivery_id in self.rows else None

    async def seen(self, source: PartyId, declaration_id: DeclarationId) -> ManifestDigest | None:
        return self.manifests.get((source, declaration_id))

    async def write(self, delivery: VerifiedDelivery, row: Mapping[str, object]) -> str | None:
        name = str(row["NAME"])
        self.calls.append(name)
        faults = self.faults.get(name, [])
        if faults:
            raise faults.pop(0)
        self.pending[delivery.delivery_id] = row
        self.manifests[delivery.source, delivery.declaration_id] = delivery.manifest_digest
        return f"row {name}"

    async def flush(self) -> None:
        if self.flush_fault is not None:
            self.pending.clear()
            raise self.flush_fault
        self.rows |= self.pending

    async def close(self) -> None:
        """Nothing to close."""


class World:
    """An inbox, a system, and a way to declare by family name."""

    def __init__(self, rehearsal: Rehearsal, moved: Callable[..., dict[str, Any]], clock: Any) -> None:
        self.inbox, self.moved, self.clock, self.system = rehearsal, moved, clock, System()
        self.agency = rehearsal.agency

    def declare(self, name: str, fields: tuple[str, ...] = FIELDS, **over: Any) -> DeliveryId:
        record = self.moved()
        record["subject"] = record["subject"] | {"family_name": name}
        return self.inbox.declare(MOVED, record, fields, **over)

    async def run(self, inbox: Any = None, limit: int = 10) -> RunReport:
        return await run_routes(
            inbox or self.inbox,
            self.agency,
            (Route(MAPPING, self.system),),
            clock=self.clock,
            limit=limit,
            backoff=Backoff(lambda size: b"\xff" * size, base_ms=1_000),
        )

    @property
    def names(self) -> list[object]:
        return [row["NAME"] for row in self.system.rows.values()]


@pytest.fixture
def world(rehearsal: Rehearsal, moved: Callable[..., dict[str, Any]], clock: Any) -> World:
    return World(rehearsal, moved, clock)


@pytest.mark.asyncio
async def test_a_delivery_is_opened_verified_mapped_written_and_acknowledged_with_its_reference(world: World) -> None:
    one = world.declare("Aubin")
    assert RunReport(pulled=1, applied=(one,)) == await world.run()
    assert {one: {"NAME": "Aubin", "PHONE": "+33600000000"}} == world.system.rows
    assert {one: Applied("row Aubin")} == world.inbox.outcomes


@pytest.mark.asyncio
async def test_an_empty_pull_is_an_empty_report(world: World) -> None:
    assert RunReport() == await world.run()


@pytest.mark.asyncio
async def test_no_more_is_pulled_than_the_limit(world: World) -> None:
    for name in "ABC":
        world.declare(name)
    assert [2, 1, 0] == [(await world.run(limit=2)).pulled for _ in range(3)]


@pytest.mark.asyncio
async def test_each_end_is_kept_apart_and_none_stops_another(world: World) -> None:
    late, refused, withheld, unknown, fine = (
        world.declare("Late"),
        world.declare("Refused"),
        world.declare("Withheld", ("subject",)),
        world.declare("Unknown"),
        world.declare("Fine"),
    )
    world.system.faults = {
        "Late": [Retry("table.away", after_ms=5_000)],
        "Refused": [Reject("table.constraint")],
        "Unknown": [Unknown("table.commit")] * 9,
    }
    report = await world.run()
    assert (fine,) == report.applied
    assert (
        (refused, Rejected("table.constraint", Reason.SYSTEM_REFUSED)),
        (withheld, Rejected("mapping.withheld", Reason.MAPPING)),
    ) == report.rejected
    assert ((late, "table.away"), (unknown, "table.commit")) == report.retried
    assert [(late, "table.away", 5_999), (unknown, "table.commit", 999)] == world.inbox.later
    assert ["Fine"] == world.names


@pytest.mark.asyncio
async def test_an_unknown_end_is_asked_again_at_once(world: World) -> None:
    world.declare("Aubin")
    world.system.faults = {"Aubin": [Unknown("table.commit")] * ASKED_AGAIN}
    assert 1 == len((await world.run()).applied)
    assert ["Aubin"] * (ASKED_AGAIN + 1) == world.system.calls


@pytest.mark.asyncio
async def test_the_wait_grows_with_each_attempt(world: World) -> None:
    world.declare("Aubin")
    world.system.faults = {"Aubin": [Retry("table.away") for _ in range(3)]}
    for _ in range(3):
        await world.run()
        world.clock.at += 10_000
    assert [999, 1_999, 3_999] == [wait for _, _, wait in world.inbox.later]
    assert 1 == len((await world.run()).applied)


@pytest.mark.asyncio
async def test_nothing_is_acknowledged_that_could_not_be_flushed(world: World) -> None:
    one, bad = world.declare("Aubin"), world.declare("Withheld", ("subject",))
    world.system.flush_fault = Retry("file.write", errno=28)
    report = await world.run()
    assert ((), ((one, "file.write"),), [bad]) == (report.applied, report.retried, list(world.inbox.outcomes))
    world.system.flush_fault = None
    world.clock.at += 10_000
    assert (one,) == (await world.run()).applied


@pytest.mark.asyncio
async def test_a_connector_that_breaks_is_not_believed_and_stops_nobody_else(world: World) -> None:
    one, two = world.declare("Broken"), world.declare("Fine")
    world.system.faults = {"Broken": [KeyError("Aubin")]}
    report = await world.run()
    assert (((one, "runner.connector-failed"),), (two,)) == (report.retried, report.applied)


@pytest.mark.asyncio
async def test_a_flush_that_breaks_is_not_believed(world: World) -> None:
    one = world.declare("Fine")
    world.system.flush_fault = ZeroDivisionError()
    assert ((one, "runner.connector-failed"),) == (await world.run()).retried


@pytest.mark.asyncio
@pytest.mark.parametrize("place", ["write", "flush"])
async def test_a_system_that_contradicts_itself_stops_the_run(place: str, world: World) -> None:
    world.declare("Aubin")
    fault = Corrupt("file.temporary-changed", number=1)
    if place == "flush":
        world.system.flush_fault = fault
    else:
        world.system.faults = {"Aubin": [fault]}
    with pytest.raises(Corrupt):
        await world.run()
    assert {} == world.inbox.outcomes


class Deaf:
    """An inbox that hears no outcome the first time."""

    def __init__(self, inner: Rehearsal, fault: Exception) -> None:
        self.inner, self.fault, self.deaf = inner, fault, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def acknowledge_all(self, ended: Mapping[DeliveryId, Outcome]) -> Mapping[DeliveryId, Refused]:
        if self.deaf and isinstance(self.fault, Refused):
            return dict.fromkeys(ended, self.fault)
        if self.deaf:
            raise self.fault
        return await self.inner.acknowledge_all(ended)

    async def retry_later(self, delivery_id: DeliveryId, code: str, after_ms: int | None = None) -> None:
        if self.deaf:
            raise self.fault
        await self.inner.retry_later(delivery_id, code, after_ms)


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", [Unavailable("store.away"), Refused("mailbox.not-handed")])
async def test_an_end_that_the_mailbox_did_not_hear_comes_again_and_is_found_and_not_written_twice(
    fault: Exception, world: World
) -> None:
    one, late = world.declare("Aubin"), world.declare("Late")
    world.system.faults = {"Late": [Retry("table.away")]}
    deaf = Deaf(world.inbox, fault)
    report = await world.run(deaf)
    assert ((one,), (one,), ((late, "table.away"),)) == (report.applied, report.unacknowledged, report.retried)
    deaf.deaf = False
    await world.run(deaf)
    assert ["Aubin", "Late", "Late"] == world.system.calls
    assert {one: Applied("found"), late: Applied("row Late")} == world.inbox.outcomes


@pytest.mark.asyncio
async def test_a_delivery_found_as_written_is_applied_even_if_the_mapping_would_now_reject_it(world: World) -> None:
    one = world.declare("Aubin")
    deaf = Deaf(world.inbox, Unavailable("store.away"))
    await world.run(deaf)
    stricter = load(
        b"name: t\nversion: 2\nevent_type: fr.unefois.address.changed.v1\ndirection: out\nfields: {A: record.email}"
    )
    backoff = Backoff(bytes)
    routes = (Route(stricter, world.system),)
    report = await run_routes(world.inbox, world.agency, routes, clock=world.clock, limit=9, backoff=backoff)
    assert ((one,), ()) == (report.applied, report.rejected)


@pytest.mark.asyncio
async def test_one_declaration_may_come_in_several_deliveries_and_each_is_written(world: World) -> None:
    one = world.declare("Aubin")
    two = world.inbox.deliver_again(one, FIELDS, purpose="housing")
    assert (one, two) == (await world.run()).applied
    assert ["Aubin", "Aubin"] == world.names


@pytest.mark.asyncio
async def test_one_declaration_id_with_two_stories_is_written_once_and_the_second_is_rejected(world: World) -> None:
    declaration = DeclarationId(bytes(16))
    one = world.declare("Aubin", declaration_id=declaration)
    two = world.declare("Orsenne", declaration_id=declaration)
    report = await world.run()
    assert (one,) == report.applied
    assert ((two, Rejected("delivery.another-manifest-before", Reason.INVALID_DELIVERY)),) == report.rejected


@pytest.mark.asyncio
async def test_a_written_delivery_that_comes_again_with_another_story_is_not_called_applied(world: World) -> None:
    declaration, grant = DeclarationId(bytes(16)), GrantId(bytes(16))
    deaf = Deaf(world.inbox, Unavailable("store.away"))
    world.declare("Aubin", declaration_id=declaration, grant_id=grant)
    await world.run(deaf)
    again = world.declare("Orsenne", declaration_id=declaration, grant_id=grant)
    report = await world.run()
    assert ((), again, "delivery.another-manifest-before") == (
        report.applied,
        report.rejected[0][0],
        report.rejected[0][1].code,
    )


class Bent:
    """An inbox whose deliveries are bent on the way."""

    def __init__(self, inner: Rehearsal, bend: Callable[[Pulled], Pulled]) -> None:
        self.inner, self.bend = inner, bend

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def pull(self, limit: int) -> Pulled:
        return self.bend(await self.inner.pull(limit))

    async def release(self, ids: Any) -> Pulled:
        return self.bend(await self.inner.release(ids))


def flipped(raw: bytes) -> bytes:
    """The bytes with their last bit turned."""
    return raw[:-1] + bytes([raw[-1] ^ 1])


@pytest.mark.asyncio
async def test_a_manifest_that_is_none_is_rejected(world: World) -> None:
    one = world.declare("A")
    report = await world.run(Bent(world.inbox, lambda p: replace(p, locked=(replace(p.locked[0], payload=b"\x00"),))))
    ((rejected, outcome),) = report.rejected
    assert (one, Reason.INVALID_DELIVERY, True) == (rejected, outcome.reason, outcome.code.startswith("avro."))


def one_flipped(delivery_id: DeliveryId, member: str) -> Callable[[Pulled], Pulled]:
    def bend(pulled: Pulled) -> Pulled:
        locked = tuple(
            replace(each, **{member: flipped(getattr(each, member))}) if each.delivery_id == delivery_id else each
            for each in pulled.locked
        )
        return replace(pulled, locked=locked)

    return bend


@pytest.mark.asyncio
async def test_a_forged_delivery_is_rejected_with_its_code_and_the_others_are_applied(world: World) -> None:
    forged, fine = world.declare("Forged"), world.declare("Fine")
    report = await world.run(Bent(world.inbox, one_flipped(forged, "payload")))
    ((rejected, outcome),) = report.rejected
    assert (forged, Reason.INVALID_DELIVERY, (fine,)) == (rejected, outcome.reason, report.applied)
    assert outcome.code.startswith(("manifest.", "avro.", "directory."))
    assert ["Fine"] == world.system.calls


@pytest.mark.asyncio
async def test_a_release_that_does_not_open_is_asked_for_singly(world: World) -> None:
    one, two = world.declare("A"), world.declare("B")
    calls = []

    def bend(pulled: Pulled) -> Pulled:
        calls.append(len(pulled.locked))
        return replace(pulled, key_release=flipped(pulled.key_release)) if len(pulled.locked) == 2 else pulled

    assert (one, two) == (await world.run(Bent(world.inbox, bend))).applied
    assert [2, 1, 1] == calls


@pytest.mark.asyncio
async def test_a_release_that_does_not_open_alone_either_is_rejected_and_the_other_is_applied(world: World) -> None:
    bad, fine = world.declare("A"), world.declare("B")

    def bend(pulled: Pulled) -> Pulled:
        touched = any(each.delivery_id == bad for each in pulled.locked)
        return replace(pulled, key_release=flipped(pulled.key_release)) if touched else pulled

    report = await world.run(Bent(world.inbox, bend))
    assert (((bad, Rejected("release.cannot-open", Reason.INVALID_DELIVERY)),), (fine,)) == (
        report.rejected,
        report.applied,
    )


@pytest.mark.asyncio
async def test_a_consent_that_dies_between_pull_and_single_release_is_reported_as_withheld(world: World) -> None:
    gone, fine = world.declare("A"), world.declare("B")

    def bend(pulled: Pulled) -> Pulled:
        if len(pulled.locked) == 2:
            world.inbox.revoke(gone)
            return replace(pulled, key_release=b"\x00")
        return pulled

    report = await world.run(Bent(world.inbox, bend))
    assert (((gone, Reason.REVOKED),), (fine,), ()) == (report.withheld, report.applied, report.rejected)


@pytest.mark.asyncio
async def test_a_withheld_delivery_is_reported_and_neither_written_nor_acknowledged(world: World) -> None:
    one = world.declare("A")
    world.inbox.revoke(one, Reason.PAUSED)
    assert RunReport(withheld=((one, Reason.PAUSED),)) == await world.run()
    assert ({}, []) == (world.inbox.outcomes, world.system.calls)


@pytest.mark.asyncio
async def test_a_single_release_that_the_mailbox_cannot_give_is_tried_later(world: World) -> None:
    one = world.declare("A")

    class Away(Bent):
        async def release(self, ids: Any) -> Pulled:
            raise Unavailable("store.away")

    report = await world.run(Away(world.inbox, lambda pulled: replace(pulled, key_release=b"")))
    assert ((one, "store.away"),) == report.retried


@pytest.mark.asyncio
async def test_a_single_release_that_the_mailbox_refuses_is_no_fault_of_the_delivery(world: World) -> None:
    one = world.declare("A")

    class Ended(Bent):
        async def release(self, ids: Any) -> Pulled:
            raise Refused("gate.ended", "/deliveries/0", state="withheld")

    report = await world.run(Ended(world.inbox, lambda pulled: replace(pulled, key_release=b"")))
    assert (((one, "gate.ended"),), ()) == (report.retried, report.rejected)
    assert {} == world.inbox.outcomes


@pytest.mark.asyncio
@pytest.mark.parametrize("asked", ["find", "seen"])
async def test_a_connector_that_breaks_when_it_is_asked_what_it_knows_stops_nobody_else(
    asked: str, world: World
) -> None:
    one, two = world.declare("Broken"), world.declare("Fine")
    await world.run(Deaf(world.inbox, Unavailable("store.away")))
    known, times = getattr(world.system, asked), []

    async def breaks(*told: Any) -> Any:
        times.append(told)
        if len(times) == 1:
            raise Refused("table.constraint")
        return await known(*told)

    setattr(world.system, asked, breaks)
    report = await world.run()
    assert (((one, "runner.connector-failed"),), (two,)) == (report.retried, report.applied)


@pytest.mark.asyncio
async def test_deliveries_sealed_to_a_key_that_is_not_here_wait_for_the_key(world: World) -> None:
    one, two = world.declare("A"), world.declare("B")
    other = SealingKey.from_raw(Suite.X25519, bytes([7]) * 32)
    world.agency = replace(world.agency, sealing_keys={other.kid: other})
    report = await world.run()
    assert ((one, "runner.no-such-key"), (two, "runner.no-such-key")) == report.retried
    assert {} == world.inbox.outcomes


@pytest.mark.asyncio
async def test_an_event_type_without_a_mapping_waits_for_one(world: World) -> None:
    one = world.declare("A")
    backoff = Backoff(bytes)
    report = await run_routes(world.inbox, world.agency, (), clock=world.clock, limit=9, backoff=backoff)
    assert ((one, "runner.no-route"),) == report.retried


@pytest.mark.asyncio
async def test_each_event_type_takes_its_own_route_and_each_connector_is_flushed_once(world: World) -> None:
    first, second = System(), System()
    other = replace(MAPPING, event_type=EventType("fr.unefois.contact.changed.v1"))
    one = world.declare("A")
    second.flush_fault = Retry("file.write")
    routes = (Route(MAPPING, first), Route(other, second))
    backoff = Backoff(bytes)
    report = await run_routes(world.inbox, world.agency, routes, clock=world.clock, limit=9, backoff=backoff)
    assert ((one,), ["A"], []) == (report.applied, first.calls, second.calls)


@pytest.mark.asyncio
async def test_a_mailbox_that_is_away_is_the_callers_matter(world: World) -> None:
    class Away:
        async def pull(self, limit: int) -> Pulled:
            raise Unavailable("store.away")

    with pytest.raises(Unavailable):
        await world.run(Away())


UNKNOWN, PARTLY = Answered(Reason.UNKNOWN_PERSON), Partly(("subject",))


@pytest.mark.asyncio
async def test_what_a_system_answers_is_told_and_holds_nobody_up(world: World) -> None:
    first, second, third = (world.declare(name) for name in ("Aubin", "Brieuc", "Corentin"))
    world.system.faults = {"Aubin": [Otherwise(UNKNOWN)], "Brieuc": [Otherwise(PARTLY)]}

    report = await world.run()

    assert ((second, third), ((first, UNKNOWN),)) == (report.applied, report.answered)
    assert {first: UNKNOWN, second: PARTLY, third: Applied("row Corentin")} == world.inbox.outcomes


@pytest.mark.asyncio
async def test_what_was_written_in_part_is_durable_before_it_is_told(world: World) -> None:
    world.declare("Brieuc")
    world.system.faults = {"Brieuc": [Otherwise(PARTLY)]}
    world.system.flush_fault = Unavailable("table.away")

    report = await world.run()

    assert ((), 1) == (report.applied, len(report.retried))
    assert {} == world.inbox.outcomes


class Slow(System):
    """Takes a while for each write, and knows how many it had at once."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.most = 0, 0

    async def write(self, delivery: VerifiedDelivery, row: Mapping[str, object]) -> str | None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        for _ in range(20):
            await asyncio.sleep(0)
        self.inside -= 1
        return await super().write(delivery, row)


async def taken(world: World, at_once: int | None) -> RunReport:
    backoff, routes = Backoff(lambda size: b"\xff" * size, base_ms=1_000), (Route(MAPPING, world.system, at_once),)
    return await run_routes(world.inbox, world.agency, routes, clock=world.clock, limit=10, backoff=backoff)


@pytest.mark.asyncio
async def test_several_citizens_are_worked_at_once_and_told_in_the_order_of_the_pull(world: World) -> None:
    ids = tuple(world.declare(name) for name in "ABCD")
    world.system = system = Slow()
    assert ids == (await taken(world, 4)).applied
    assert (ids, 4) == (world.inbox.applied(), system.most)


@pytest.mark.asyncio
async def test_no_more_than_the_route_allows(world: World) -> None:
    for name in "ABCDE":
        world.declare(name)
    world.system = system = Slow()
    assert 5 == len((await taken(world, 2)).applied)
    assert 2 == system.most


@pytest.mark.asyncio
async def test_a_connector_that_says_nothing_is_asked_once_at_a_time(world: World) -> None:
    for name in "ABC":
        world.declare(name)
    world.system = system = Slow()
    assert 3 == len((await taken(world, None)).applied)
    assert (1, ["A", "B", "C"]) == (system.most, system.calls)


@pytest.mark.asyncio
async def test_a_connector_that_says_how_many_it_takes_is_asked_so_often(world: World) -> None:
    class Wide(Slow):
        about = Description(settings=Settings, guarantee={}, other_side={}, at_once=3)

    for name in "ABC":
        world.declare(name)
    world.system = system = Wide()
    assert 3 == len((await taken(world, None)).applied)
    assert 3 == system.most


@pytest.mark.asyncio
async def test_one_citizens_deliveries_are_written_in_their_order(world: World) -> None:
    lise = bytes(20)
    for name in ("A1", "A2", "A3"):
        world.declare(name, pseudonym=lise)
    world.declare("B1", pseudonym=bytes([1]) * 20)
    assert 4 == len((await taken(world, 4)).applied)
    assert ["A1", "A2", "A3"] == [each for each in world.system.calls if each != "B1"]


@pytest.mark.asyncio
async def test_what_follows_a_delivery_that_was_put_off_waits_behind_it_and_nobody_else_does(world: World) -> None:
    lise = bytes(20)
    first, second = world.declare("A1", pseudonym=lise), world.declare("A2", pseudonym=lise)
    other = world.declare("B1", pseudonym=bytes([1]) * 20)
    world.system.faults = {"A1": [Retry("table.away")]}
    report = await taken(world, 4)
    assert ((first, "table.away"), (second, "runner.behind-another")) == report.retried
    assert ((other,), ["A1", "B1"]) == (report.applied, sorted(world.system.calls))
    world.clock.at += 10_000
    assert (first, second) == (await taken(world, 4)).applied


@pytest.mark.asyncio
async def test_what_follows_a_delivery_that_could_not_be_looked_for_waits_behind_it_too(world: World) -> None:
    lise = bytes(20)
    first, second = world.declare("A1", pseudonym=lise), world.declare("A2", pseudonym=lise)
    known, times = world.system.seen, []

    async def away(*told: Any) -> Any:
        times.append(told)
        if len(times) == 1:
            raise Retry("table.away")
        return await known(*told)

    world.system.seen = away  # type: ignore[method-assign]
    assert ((first, "table.away"), (second, "runner.behind-another")) == (await taken(world, 4)).retried
    assert [] == world.system.calls


@pytest.mark.asyncio
async def test_a_system_that_contradicts_itself_breaks_off_no_neighbours_write(world: World) -> None:
    class Contradicts(Slow):
        async def write(self, delivery: VerifiedDelivery, row: Mapping[str, object]) -> str | None:
            if row["NAME"] == "A":
                raise Corrupt("file.temporary-changed")
            return await super().write(delivery, row)

    for name in "AB":
        world.declare(name)
    world.system = system = Contradicts()
    with pytest.raises(Corrupt):
        await taken(world, 2)
    assert ["B"] == [row["NAME"] for row in system.pending.values()]


@pytest.mark.asyncio
async def test_of_two_manifests_under_one_id_in_one_pull_the_second_is_refused(world: World) -> None:
    same = DeclarationId(bytes.fromhex("019a4f0000007000800000000000000a"))
    first, second = (world.declare(name, declaration_id=same, pseudonym=bytes(20)) for name in ("A", "B"))
    report = await taken(world, 4)
    assert ((first,), (second,), ["A"]) == (
        report.applied,
        tuple(one for one, _ in report.rejected),
        world.system.calls,
    )


@pytest.mark.asyncio
async def test_after_an_unknown_end_it_is_looked_for_before_it_is_written_again(world: World) -> None:
    one = world.declare("Aubin")
    world.system.faults = {"Aubin": [Unknown("table.commit")]}
    kept = world.system.write

    async def written_but_unknown(delivery: VerifiedDelivery, row: Mapping[str, object]) -> str | None:
        world.system.rows[delivery.delivery_id] = row
        return await kept(delivery, row)

    world.system.write = written_but_unknown  # type: ignore[method-assign]
    await world.run()
    assert (["Aubin"], {one: Applied("found")}) == (world.system.calls, world.inbox.outcomes)


@pytest.mark.asyncio
async def test_what_is_late_is_not_asked_again_at_once(world: World) -> None:
    one = world.declare("Aubin")
    world.system.faults = {"Aubin": [Late("connector.deadline")]}
    assert ((one, "connector.deadline"),) == (await world.run()).retried
    assert ["Aubin"] == world.system.calls


@pytest.mark.asyncio
async def test_nothing_is_pulled_while_every_connector_rests(world: World) -> None:
    one, pulls = world.declare("Aubin"), []
    world.system.faults = {"Aubin": [Retry("table.away")]}

    async def opening() -> Any:
        return world.system

    guarded = await Guarded.open(opening, Guard(Limits(rest_after=1, rest_s=60)), world.clock)

    class Counted(Bent):
        async def pull(self, limit: int) -> Pulled:
            pulls.append(limit)
            return await super().pull(limit)

    async def run() -> RunReport:
        inbox, backoff = Counted(world.inbox, lambda pulled: pulled), Backoff(bytes)
        routes = (Route(MAPPING, guarded),)
        return await run_routes(inbox, world.agency, routes, clock=world.clock, limit=9, backoff=backoff)

    assert ((one, "table.away"),) == (await run()).retried
    world.clock.at += 30_000
    with pytest.raises(Unavailable, match=r"runner.resting") as caught:
        await run()
    assert ({"after_ms": 30_000}, [9]) == (caught.value.details, pulls)
    world.clock.at += 30_000
    assert (one,) == (await run()).applied


@pytest.mark.asyncio
async def test_one_that_failed_unexpectedly_is_opened_anew_at_the_next_pull(world: World) -> None:
    one, opened, system = world.declare("Aubin"), [], world.system
    system.faults = {"Aubin": [ZeroDivisionError()]}

    async def opening() -> Any:
        opened.append(1)
        return system

    world.system = await Guarded.open(opening, Guard(Limits()), world.clock)  # type: ignore[assignment]
    await world.run()
    assert [1] == opened
    world.clock.at += 10_000
    assert ((one,), [1, 1]) == ((await world.run()).applied, opened)


def test_a_report_holds_no_value() -> None:
    assert "Aubin" not in repr(RunReport(applied=(DeliveryId(bytes(16)),)))
    assert {"pulled", "applied", "rejected", "answered", "retried", "withheld", "unacknowledged"} == set(
        runner.RunReport.__dataclass_fields__
    )


@pytest.mark.asyncio
async def test_a_key_that_the_directory_does_not_list_yet_is_no_fault_of_the_delivery(world: World) -> None:
    one, whole = world.declare("Aubin"), world.agency
    less = Directory.of((), whole.directory.sealing, whole.directory.rights, whole.directory.policies, BROKER)
    world.agency = replace(whole, directory=less)
    assert ((one, "runner.unknown-key"),) == (await world.run()).retried
    assert {} == world.inbox.outcomes
    world.agency = whole
    world.clock.at += 10_000
    assert (one,) == (await world.run()).applied


ROWS = load(
    b"name: t\nversion: 1\nevent_type: fr.unefois.address.changed.v1\ndirection: out\n"
    b"rows: record.household\nfields: {NAME: row.identity.family_name}"
)


class Shelf(System):
    """A system that takes several rows at once."""

    async def write_rows(self, delivery: VerifiedDelivery, rows: Sequence[Mapping[str, object]]) -> str | None:
        return await self.write(delivery, {"NAME": "/".join(str(row["NAME"]) for row in rows)})


async def run_rows(world: World, system: System, *, guarded: bool = False) -> RunReport:
    async def opening() -> System:
        return system

    writer = await Guarded.open(opening, Guard(Limits()), world.clock) if guarded else system
    route = Route(ROWS, writer)
    more = {"clock": world.clock, "limit": 10, "backoff": Backoff(lambda size: b"\xff" * size, base_ms=1_000)}
    return await run_routes(world.inbox, world.agency, (route,), **more)  # type: ignore[arg-type]


def declare_family(world: World, *names: str) -> DeliveryId:
    record = world.moved()
    person = record["subject"]
    members = [{"relation": "child", "identity": person | {"family_name": name}} for name in names]
    return world.inbox.declare(MOVED, record | {"household": members}, ("household",))


@pytest.mark.asyncio
@pytest.mark.parametrize("guarded", [False, True])
async def test_a_mapping_of_rows_writes_them_in_one_call_and_nothing_where_there_are_none(
    world: World, guarded: bool
) -> None:
    system = Shelf()
    two, none = declare_family(world, "Roux", "Brun"), declare_family(world)
    report = await run_rows(world, system, guarded=guarded)
    assert ((two, none), ["Roux/Brun"]) == (report.applied, system.calls)


@pytest.mark.asyncio
@pytest.mark.parametrize("guarded", [False, True])
async def test_a_connector_of_one_row_is_given_no_rows(world: World, guarded: bool) -> None:
    one = declare_family(world, "Roux", "Brun")
    report = await run_rows(world, world.system, guarded=guarded)
    assert [(one, Rejected("connector.one-row", Reason.SYSTEM_REFUSED))] == list(report.rejected)
    assert [] == world.system.calls
