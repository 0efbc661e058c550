"""The inlet: a source's topic is the intake's door, with the same checks; what is refused blocks nobody and is kept."""

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import func, select, text

from broker.flow.arrived import ENVELOPE_BYTES
from broker.flow.offsets import LostOwnership
from broker.log.sql import SqlLog
from broker.ports import HEADERS, RECORD_BYTES, Record
from broker.store.tables import consumed, declarations
from broker.topics import served
from schemas import cloudevents
from schemas import topics as names
from schemas.envelope import SignedDeclaration
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.facts import FactKind
from schemas.manifest import Manifest
from schemas.names import Reason
from tests.world import CAF, ELISE, MOVED, PORTAL, YANN, World

pytestmark = pytest.mark.asyncio

TOPIC, DEAD, RECEIPTS = names.declarations(PORTAL), served.dead(PORTAL), names.receipts(PORTAL)


async def made(here: World, person: dict[str, Any] = ELISE) -> bytes:
    return await here.home.desk.envelope(PORTAL, MOVED, here.moved(person))


def event_of(envelope: bytes) -> cloudevents.CloudEvent:
    """As a source's SDK makes it."""
    manifest = Manifest.decode(SignedDeclaration.decode(envelope).payload)
    return cloudevents.declaration(
        manifest.source,
        manifest.event_type,
        manifest.schema,
        declaration_id=manifest.declaration_id,
        issued_at=manifest.issued_at,
        envelope=envelope,
    )


async def write(here: World, envelope: bytes, changes: Mapping[str, bytes] | None = None, key: bytes = b"k") -> None:
    """What a source puts on its topic."""
    headers, value = cloudevents.to_kafka(event_of(envelope))
    await here.home.log.append(TOPIC, key, value, {**dict(headers), **(changes or {})})


async def on(here: World, topic: str) -> list[Record]:
    return list(await here.home.log.read(topic, 0, 0, 1000))


async def count(here: World) -> int:
    async with here.home.store.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(declarations))).scalar_one())


async def test_a_declaration_by_topic_is_accepted_and_its_source_gets_the_receipt(here: World) -> None:
    envelope = await made(here)
    await write(here, envelope)

    assert 1 == await here.home.inlet.take(PORTAL)
    assert 0 == await here.home.inlet.take(PORTAL)
    await here.home.router.route()

    (receipt,) = await on(here, RECEIPTS)
    again = await here.home.intake.accept(envelope)
    assert (again.receipt, bytes(again.declaration_id)) == (receipt.value, receipt.key)
    assert (b"0", b"0") == (receipt.headers["unefois-partition"], receipt.headers["unefois-offset"])
    assert (1, []) == (await count(here), await on(here, DEAD))


async def test_what_another_source_signed_is_refused_on_this_topic(here: World) -> None:
    envelope = await made(here)
    headers, value = cloudevents.to_kafka(event_of(envelope))
    await here.home.log.append(names.declarations(CAF), b"k", value, dict(headers))

    assert 1 == await here.home.inlet.take(CAF)

    (dead,) = await on(here, served.dead(CAF))
    assert (b"intake.other-source", envelope) == (dead.headers["unefois-code"], dead.value)
    assert 0 == await here.home.log.end("declarations", 0)


async def test_a_refused_record_is_kept_as_it_came_with_the_reason_and_blocks_nobody(here: World) -> None:
    good, other = await made(here), await made(here, YANN)
    await here.home.log.append(TOPIC, b"key", b"noise", {"x-trace": b"1"})
    await write(here, other, {"ce_type": b"fr.unefois.person.died.v1"})
    await write(here, good)

    assert 3 == await here.home.inlet.take(PORTAL)

    dead = await on(here, DEAD)
    assert [b"cloudevents.missing", b"cloudevents.attribute-differs"] == [one.headers["unefois-code"] for one in dead]
    assert (b"key", b"noise", b"1", b"0") == (
        dead[0].key,
        dead[0].value,
        dead[0].headers["x-trace"],
        dead[0].headers["unefois-offset"],
    )
    assert (other, b"/type") == (dead[1].value, dead[1].headers["unefois-pointer"])
    (refused,) = await here.entries(FactKind.REFUSED)  # one entry for what one batch held, with who sent it
    assert (PORTAL, Reason.INVALID_ENVELOPE, 2) == (refused.actor, refused.reason, refused.count)
    assert 1 == len(await on(here, RECEIPTS))


@pytest.mark.parametrize(
    ("headers", "value", "code"),
    [
        ({}, b"", "cloudevents.missing"),
        ({"content-type": b"text/plain"}, b"", "inlet.media-type"),
        ({"ce_subject": b"somebody"}, b"", "cloudevents.attribute-not-allowed"),
        ({"ce_id": b"\xff"}, b"", "cloudevents.attribute"),
        ({"content-type": b"application/vnd.unefois.declaration.v1+avro"}, b"noise", "avro.*"),
        (
            {"content-type": b"application/vnd.unefois.declaration.v1+avro"},
            bytes(ENVELOPE_BYTES + 1),
            "intake.too-large",
        ),
    ],
)
async def test_each_kind_of_poison_is_told_by_its_code(
    here: World, headers: dict[str, bytes], value: bytes, code: str
) -> None:
    told = {"ce_specversion": b"1.0", "ce_id": b"1", "ce_source": PORTAL.encode(), "ce_type": MOVED.encode()}
    if headers:
        headers = {"content-type": b"application/vnd.unefois.declaration.v1+avro", **told, **headers}
    await here.home.log.append(TOPIC, b"k", value, headers)

    assert 1 == await here.home.inlet.take(PORTAL)

    (dead,) = await on(here, DEAD)
    found = dead.headers["unefois-code"].decode()
    assert found == code or (code.endswith("*") and found.startswith(code[:-1])), found
    assert value == dead.value


async def test_what_no_topic_takes_is_told_with_its_place_and_size(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.topics.inlet.RECORD_BYTES", 200)
    await here.home.log.append(TOPIC, b"k", bytes(300), {})

    assert 1 == await here.home.inlet.take(PORTAL)

    (dead,) = await on(here, DEAD)
    assert (b"", b"300", b"0") == (dead.value, dead.headers["unefois-size"], dead.headers["unefois-offset"])


async def test_a_foreign_writers_headers_and_key_never_stop_it(here: World) -> None:
    from broker.ports import Position, _check_record
    from broker.topics.inlet import _dead

    many = {f"h{number}": b"x" for number in range(HEADERS * 2)} | {"Not Ours!": b"x", "unefois-code": b"forged"}
    for key in (b"", bytes(5000)):
        record = Record(Position(TOPIC, 0, 7), key, b"v" * (RECORD_BYTES - 20_000), many, here.clock())
        dead = _dead(record, Refused("intake.too-large", "/x" * 500))
        _check_record(dead)
        assert (b"intake.too-large", record.value) == (dead.headers["unefois-code"], dead.value)


class Interrupted(Exception):
    """As by a power cut."""


@pytest.mark.parametrize("place", ["answer", "advance"])
async def test_interrupted_anywhere_nothing_counts_twice(
    here: World, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    await write(here, await made(here))
    await here.home.log.append(TOPIC, b"k", b"noise", {})
    with monkeypatch.context() as patch:

        async def broken(*_: object) -> None:
            raise Interrupted

        patch.setattr(
            *(
                ("broker.topics.inlet.advance", broken)
                if place == "advance"
                else (type(here.home.inlet), "_answer", broken)
            )
        )
        with pytest.raises(Interrupted):
            await here.home.inlet.take(PORTAL)
    assert [] == await here.entries(FactKind.REFUSED)

    assert 2 == await here.home.inlet.take(PORTAL)
    await here.home.router.route()

    assert (1, 1) == (await count(here), len(await here.entries(FactKind.REFUSED)))
    receipts, dead = await on(here, RECEIPTS), await on(here, DEAD)
    assert (1, 1) == (len({one.value for one in receipts}), len({one.headers["unefois-offset"] for one in dead}))


async def test_two_that_read_the_same_batch_count_it_once(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await here.home.log.append(TOPIC, b"k", b"noise", {})
    inlet = here.home.inlet
    ordinary = type(inlet)._answer

    async def faster(*arguments: Any) -> None:
        monkeypatch.setattr(type(inlet), "_answer", ordinary)
        assert 1 == await inlet.take(PORTAL)
        await ordinary(*arguments)

    monkeypatch.setattr(type(inlet), "_answer", faster)

    assert 0 == await inlet.take(PORTAL)
    assert 1 == len(await here.entries(FactKind.REFUSED))


async def test_without_a_topic_to_answer_on_nothing_is_taken(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await write(here, await made(here))
    ordinary = SqlLog._partitions

    async def partitions(self: SqlLog, topic: str) -> int:
        if topic == RECEIPTS:
            raise Unavailable("kafka.topic-missing", topic=topic)
        return await ordinary(self, topic)

    monkeypatch.setattr(SqlLog, "_partitions", partitions)
    with pytest.raises(Unavailable, match=r"kafka\.topic-missing"):
        await here.home.inlet.take(PORTAL)
    assert 0 == await here.home.log.end("declarations", 0)


async def test_a_topic_that_was_made_anew_or_cut_is_its_sources_trouble_until_it_is_read_again(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(here, await made(here))
    async with here.home.store.begin() as tx:
        await tx.execute(text(f"INSERT INTO consumed VALUES ('{TOPIC}', 0, 5)"))
    with pytest.raises(Unavailable, match=r"inlet\.shorter"):
        await here.home.inlet.take(PORTAL)

    await here.home.inlet.begin_again(PORTAL)
    assert 1 == await here.home.inlet.take(PORTAL)

    async def gone(*_: object) -> None:
        raise Corrupt("kafka.records-gone", topic=TOPIC, partition=0, offset=1, first=9)

    monkeypatch.setattr(SqlLog, "_read", gone)
    with pytest.raises(Unavailable, match=r"inlet\.records-gone"):
        await here.home.inlet.take(PORTAL)


async def test_a_topic_whose_head_is_gone_is_read_from_where_it_begins(here: World) -> None:
    await here.home.log.append(TOPIC, b"k", b"old", {})
    await write(here, await made(here))
    async with here.home.store.begin() as tx:
        await tx.execute(text(f"DELETE FROM log_record WHERE topic = '{TOPIC}' AND \"offset\" = 0"))

    assert 1 == await here.home.inlet.take(PORTAL)
    async with here.home.store.read() as tx:
        found = await tx.execute(select(consumed.c.next_offset).where(consumed.c.topic == TOPIC))
        assert 2 == found.scalar_one()


async def test_an_offset_that_another_moved_is_no_trouble(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await write(here, await made(here))

    async def lost(*_: object) -> None:
        raise LostOwnership("router.lost-ownership", partition=0)

    with monkeypatch.context() as patch:
        patch.setattr("broker.topics.inlet.advance", lost)
        assert 0 == await here.home.inlet.take(PORTAL)
    assert 1 == await here.home.inlet.take(PORTAL)


async def test_only_those_who_declare_by_topic_are_served_and_where_they_can_reach_the_log(here: World) -> None:
    async with here.home.store.begin() as tx:
        users = here.home.topic_users
        await users.allow(tx, PORTAL, "portal", receives=False, declares=True, at=here.clock())
        await users.allow(tx, CAF, "caf", receives=True, declares=False, at=here.clock())

    assert () == await here.home.inlet.served()
    here.home.log.for_others = True  # type: ignore[misc]
    assert [PORTAL] == [user.party for user in await here.home.inlet.served()]
