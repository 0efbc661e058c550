"""A process without a key of a consent asks the one that has them: once done, however often it is asked."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from broker.access import acts
from broker.access.acts import Act
from broker.consents import local, wire
from broker.consents.asking import asked_as
from broker.consents.consents import GrantRequest, Recorded
from broker.consents.local import Peer
from broker.ports import KeyKind
from broker.services import consents, identities, repairing, retractions
from broker.services.consent_receipts import receipt_of
from broker.setup.roles import ProcessRole
from consent.basis import CONSENT, law
from consent.grant import Scope, Status
from consent.rules import Rule
from schemas.delivery import WITHHELD
from schemas.errors import Corrupt, Refused, Unavailable, together
from schemas.facts import FactKind
from schemas.names import GrantId
from tests.beside import Beside, answered, beside, process, short_folder
from tests.unit.broker.test_holds import held
from tests.unit.broker.test_linking import asked as link_asked
from tests.unit.broker.test_repairs import asked as repair_asked
from tests.unit.broker.test_repairs import unknown
from tests.unit.broker.test_rules import acting
from tests.world import CAF, ELISE, FAMILY, MOVED, PORTAL, VOICE, World, world

pytestmark = [pytest.mark.asyncio]


@pytest_asyncio.fixture
async def both(here: World) -> AsyncIterator[Beside]:
    async with beside(here) as made:
        yield made


def wish(here: World, **more: Any) -> GrantRequest:
    """Élise allows the CAF to hear of her moves."""
    told = {"scope": Scope.STANDING, "voice": VOICE, "basis": CONSENT, "fields": frozenset({"subject", "new_address"})}
    more = {"subject": here.subject(), "recipient": CAF, "event_type": MOVED, "purpose": FAMILY, **told, **more}
    return GrantRequest(**more)


async def code(asked: Awaitable[object]) -> tuple[str, str]:
    """With what it is refused."""
    with pytest.raises((Refused, Unavailable, Corrupt)) as fault:
        await asked
    return fault.value.code, fault.value.pointer


@pytest.mark.databases
async def test_a_portal_gives_changes_and_ends_consents_and_has_no_key_of_one(both: Beside) -> None:
    here, portal = both.here, both.portal
    for kind in (KeyKind.CONSENT_EPOCH, KeyKind.GATE, KeyKind.LEDGER):
        assert not portal.keys.gives(kind)

    given = await consents.give(portal, wish(here))
    grant, me = given.recorded.grant, here.subject()
    await here.declare(MOVED, here.moved())
    paused = await consents.pause(portal, grant.id, VOICE, whose=me)
    assert [] == await here.take(CAF)
    resumed = await consents.resume(portal, grant.id, VOICE, whose=me)
    narrowed = await consents.narrow(portal, grant.id, frozenset({"subject"}), VOICE, whose=me)
    (delivery,) = await here.take(CAF)
    other = await consents.give(portal, wish(here))
    revoked = await consents.revoke(portal, grant.id, VOICE, whose=me)
    ended = await consents.revoke_all(portal, me, VOICE)

    assert (ELISE["family_name"], WITHHELD) == (
        delivery.record["subject"]["family_name"],
        delivery.record["new_address"],
    )
    assert [Status.ACTIVE, Status.PAUSED, Status.ACTIVE, Status.ACTIVE, Status.REVOKED] == [
        one.recorded.grant.status for one in (given, paused, resumed, narrowed, revoked)
    ]
    assert [other.recorded.grant.id] == [one.recorded.grant.id for one in ended]
    for one in (given, paused, resumed, narrowed, revoked, *ended):
        assert one.receipt == await receipt_of(here.home, one.recorded)
    assert await here.home.consents.of(me) == await portal.consents.of(me)


async def test_it_objects_and_withdraws_that(both: Beside) -> None:
    here, portal, me = both.here, both.portal, both.here.subject()
    rule: Rule = await acting(here)
    await here.declare(MOVED, here.moved())

    made = await portal.objections.object(me, rule.id, reason="personal-situation", given_by="self")
    again = await code(portal.objections.object(me, rule.id, reason="personal-situation", given_by="self"))
    withdrawn = await portal.objections.withdraw(me, rule.id, given_by="self")

    assert made.ended is not None
    assert Status.REVOKED is made.ended.grant.status
    assert ("objections.stands", "/rule") == again
    assert [withdrawn.objection] == await portal.objections.of(me) == await here.home.objections.of(me)


async def test_it_stops_what_is_held(tmp_path: Path, home_settings: dict[str, Any]) -> None:
    async with world(tmp_path, **home_settings, bank_hold_hours=72) as here, beside(here) as both:
        of = await held(here)

        made = await retractions.stop(both.portal, here.subject(), of, given_by="self")

        assert made == await retractions.stop(here.home, here.subject(), of, given_by="self")
        assert [True] == [one.stopped for one in await retractions.held(both.portal, here.subject())]


async def test_it_says_that_the_other_is_somebody_else(both: Beside) -> None:
    here = both.here
    link = await link_asked(here)

    parted = await identities.refuse(both.portal, here.subject(), link.id)

    assert ("kept", ()) == (parted.link.ended_by, parted.delivered)
    assert [parted.link] == await here.home.linking.of(here.subject())
    assert ("links.ended", "/link") == await code(identities.refuse(both.portal, here.subject(), link.id))


async def test_it_adds_a_number_where_the_person_was_not_found(both: Beside) -> None:
    here = both.here
    declared, _ = await unknown(here)

    done = await repairing.repair(both.portal, repair_asked(declared), VOICE)

    assert 1 == done.number
    assert {done.grant} <= {one.id for one in await here.home.consents.of(here.subject())}
    assert ("repair.under-way", "/to") == await code(repairing.repair(both.portal, repair_asked(declared), VOICE))
    await here.home.router.route()


@pytest.mark.databases
async def test_an_answer_that_is_lost_after_the_commit_is_given_again_and_nothing_is_done_twice(both: Beside) -> None:
    here, lost = both.here, []

    async def loses(raw: bytes, answers: Callable[[bytes], Awaitable[bytes]]) -> bytes | None:
        answer = await answers(raw)
        if len(lost) % 2 == 0:
            lost.append(answer)
            return None
        lost.append(answer)
        return answer

    async with both.in_the_middle(loses) as path:
        asking = both.asking(path)
        given: Recorded = await asking.ask("give", wire.Give(wish(here)))
        revoked: Recorded = await asking.ask("revoke", wire.Change(given.grant.id, VOICE))
        await here.give(CAF, MOVED, FAMILY, ["subject"])
        await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
        ended: list[Recorded] = await asking.ask("revoke-all", wire.RevokeAll(here.subject(), VOICE))

    assert [one for pair in zip(lost[::2], lost[::2], strict=True) for one in pair] == lost
    assert (2, Status.REVOKED) == (revoked.grant.version, revoked.grant.status)
    assert [1, 3] == [len(await here.entries(FactKind.GRANTED)) - 2, len(await here.entries(FactKind.REVOKED))]
    assert 2 == len(ended)
    assert {Status.REVOKED} == {one.grant.status for one in ended}


async def test_asked_twice_at_the_same_time_it_is_done_once(both: Beside) -> None:
    here = both.here
    question = wire.Question(wire.OPERATIONS["give"], bytes(16), 20_000, wire.Give(wish(here))).encode()

    first, *others = await asyncio.gather(*(both.exchanged(question) for _ in range(8)))

    assert [first] * 7 == others
    assert 1 == len(await here.home.consents.of(here.subject()))
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    asked = wire.RevokeAll(here.subject(), VOICE)
    question = wire.Question(wire.OPERATIONS["revoke-all"], bytes(15) + b"1", 20_000, asked).encode()
    first, *others = await asyncio.gather(*(both.exchanged(question) for _ in range(8)))
    assert [first] * 7 == others
    assert 2 == len(wire.answer(wire.OPERATIONS["revoke-all"], first))


async def test_a_process_of_before_whose_commit_came_through_is_found_and_not_repeated(both: Beside) -> None:
    """As where it died between two: this process has looked before, and finds at the end that it is done."""
    here, answering = both.here, both.consents.answering
    given = await here.give(CAF, MOVED, FAMILY, ["subject"])
    for name, asked in (("give", wire.Give(wish(here))), ("revoke", wire.Change(given.grant.id, VOICE))):
        question = wire.Question(wire.OPERATIONS[name], name.encode().ljust(16), 20_000, asked)
        does, looked = answering._operations[name], []

        async def seen_too_early(act: Act, of: wire.Question, *, found: list[int] = looked) -> list[Any]:
            found.append(1)
            return [] if len(found) == 1 else await type(answering)._told(answering, act, of)

        before = await answering.do(question)
        answering.__dict__["_told"] = seen_too_early

        assert before == await answering.do(question)
        del answering.__dict__["_told"]
        assert does == answering._operations[name]

    assert 2 == len(await here.home.consents.of(here.subject()))
    assert 1 == len(await here.entries(FactKind.REVOKED))


async def test_another_question_under_the_same_act_is_refused(both: Beside) -> None:
    here = both.here
    first = wire.Question(wire.OPERATIONS["give"], bytes(16), 20_000, wire.Give(wish(here)))
    other = wire.Question(
        wire.OPERATIONS["give"], bytes(16), 20_000, wire.Give(wish(here, fields=frozenset({"subject"})))
    )
    await both.exchanged(first.encode())

    with pytest.raises(Refused, match=r"acts\.reused"):
        wire.answer(other.operation, await both.exchanged(other.encode()))


async def test_what_its_own_client_names_is_the_same_act_for_a_process_that_knows_nothing_of_it(both: Beside) -> None:
    here = both.here
    other = process(here, ProcessRole.PORTAL, both.socket)

    with asked_as(b"Idempotency-Key: 1"):
        first = await consents.give(both.portal, replace_start(here))
        again = await consents.give(other, replace_start(here))
    with asked_as(b"Idempotency-Key: 2"):
        third = await consents.give(other, replace_start(here))

    assert first.recorded == again.recorded != third.recorded


def replace_start(here: World) -> GrantRequest:
    """The same wish, word for word."""
    return wish(here, starts_at=here.clock())


async def test_what_is_refused_leaves_nothing_and_comes_through_as_it_is(both: Beside) -> None:
    here, unknown_grant = both.here, GrantId(bytes(16))

    assert ("consents.unknown-grant", "/grant") == await code(both.portal.consents.revoke(unknown_grant, VOICE))
    with pytest.raises(Refused) as refused:
        await both.portal.consents.give(wish(here, fields=frozenset({"nothing"})))
    with pytest.raises(Refused) as same:
        await here.home.consents.give(wish(here, fields=frozenset({"nothing"})))
    assert (same.value.code, same.value.pointer, same.value.details) == (
        refused.value.code,
        refused.value.pointer,
        refused.value.details,
    )


@pytest.mark.parametrize(
    "fault",
    [
        together([Refused("grant.over", "/status"), Refused("grant.wider", "/fields", field="x", limit=3)]),
        Unavailable("store.locked"),
        Corrupt("registry.unsound", grant="00"),
    ],
    ids=["refused", "unavailable", "corrupt"],
)
async def test_a_fault_comes_through_unchanged_and_is_not_asked_again(
    both: Beside, fault: Refused | Unavailable | Corrupt
) -> None:
    asked = []

    async def does(one: wire.Change) -> Recorded:
        asked.append(one)
        raise fault

    both.consents.answering._operations = {"revoke": does}  # type: ignore[assignment]
    with pytest.raises(type(fault)) as raised:
        await both.portal.consents.revoke(GrantId(bytes(16)), VOICE)

    assert 1 == len(asked)
    assert told(fault) == told(raised.value)


async def test_a_mistake_of_ours_is_told_as_such_and_the_next_one_is_heard(both: Beside) -> None:
    does = both.consents.answering._operations

    async def stumbles(_: wire.Change) -> Recorded:
        raise ZeroDivisionError

    both.consents.answering._operations = {**does, "revoke": stumbles}
    assert ("consents.failed", "") == await code(both.portal.consents.revoke(GrantId(bytes(16)), VOICE))
    await consents.give(both.portal, wish(both.here))


def told(fault: Refused | Unavailable | Corrupt) -> list[object]:
    """All that it says."""
    return [fault.code, fault.pointer, dict(fault.details), [told(one) for one in fault.also]]  # type: ignore[arg-type]


class TestNobodyAnswers:
    async def test_where_no_socket_is_it_is_away_and_nobody_knows_whether_it_was_done(self, here: World) -> None:
        with short_folder() as folder:
            portal = process(here, ProcessRole.PORTAL, folder / "consents.sock")
            portal.__dict__["asking"] = Beside(here, folder / "none", portal, portal).asking(seconds=0.05)

            assert ("consents.away", "") == await code(portal.consents.give(wish(here)))
            assert () == await portal.consents.of(here.subject())

    async def test_one_that_comes_back_in_time_is_asked_again(self, here: World) -> None:
        with short_folder() as folder:
            socket = folder / "consents.sock"
            portal = process(here, ProcessRole.PORTAL, socket)
            asked = asyncio.create_task(consents.give(portal, wish(here)))
            await asyncio.sleep(0)
            async with answered(process(here, ProcessRole.CONSENTS, socket)):
                given = await asked

            assert (given.recorded.grant,) == await here.home.consents.of(here.subject())

    async def test_one_that_is_too_slow_goes_on_and_is_told_of_later(self, both: Beside) -> None:
        here, go = both.here, asyncio.Event()
        does = both.consents.answering._operations["give"]

        async def slow(one: wire.Give) -> Any:
            await go.wait()
            return await does(one)

        both.consents.answering._operations = {**both.consents.answering._operations, "give": slow}
        question = wire.Question(wire.OPERATIONS["give"], bytes(16), 1, wire.Give(wish(here)))
        with pytest.raises(Unavailable, match=r"consents\.too-slow"):
            wire.answer(question.operation, await both.exchanged(question.encode()))
        go.set()
        patient = wire.Question(question.operation, question.act, 20_000, question.asked)
        given = wire.answer(question.operation, await both.exchanged(patient.encode()))

        assert (given.grant,) == await here.home.consents.of(here.subject())

    @pytest.mark.parametrize("answer", [b"", b"{}", b"[]", b'{"v":2,"told":null}', b'{"v":1,"told":{"grant":1}}'])
    async def test_what_answers_nonsense_is_not_believed(self, both: Beside, answer: bytes) -> None:
        async def nonsense(raw: bytes, _: object) -> bytes:
            return answer

        async with both.in_the_middle(nonsense) as path:
            asked = both.asking(path).ask("revoke", wire.Change(GrantId(bytes(16)), VOICE))
            assert ("consents.garbled", "") == await code(asked)

    async def test_an_answer_without_end_is_not_read(self, both: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wire, "ANSWER_BYTES", 10)

        asked = both.portal.consents.revoke(GrantId(bytes(16)), VOICE)

        assert ("consents.garbled", "") == await code(asked)


class TestStrangers:
    async def test_whoever_runs_as_another_user_is_told_nothing(
        self, both: Beside, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(local, "is_allowed", lambda peer, group: False)
        reader, writer = await asyncio.open_unix_connection(str(both.socket))
        await local.sent(
            writer, wire.Question(wire.OPERATIONS["give"], bytes(16), 1, wire.Give(wish(both.here))).encode()
        )

        with suppress(ConnectionResetError):  # as the kernel says it where something was not read
            assert b"" == await reader.read()
        await local.closed(writer)
        assert () == await both.here.home.consents.of(both.here.subject())

    async def test_whoever_put_a_socket_of_theirs_there_is_told_nothing(
        self, both: Beside, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        heard: list[bytes] = []

        async def hears(raw: bytes, _: object) -> None:
            heard.append(raw)

        async with both.in_the_middle(hears) as path:
            monkeypatch.setattr(local, "peer_of", lambda _: Peer(os.geteuid() + 1, frozenset()))
            assert ("consents.foreign", "") == await code(both.asking(path).ask("give", wire.Give(wish(both.here))))
        assert [] == heard

    async def test_the_kernel_says_who_is_there(self, both: Beside) -> None:
        _, writer = await asyncio.open_unix_connection(str(both.socket))
        peer = local.peer_of(writer.get_extra_info("socket"))
        await local.closed(writer)

        assert (os.geteuid(), True) == (peer.uid, os.getegid() in peer.groups)
        assert local.is_allowed(peer, None)
        assert not local.is_allowed(Peer(peer.uid + 1, frozenset({7})), None)
        assert not local.is_allowed(Peer(peer.uid + 1, frozenset({7})), 8)
        assert local.is_allowed(Peer(peer.uid + 1, frozenset({7})), 7)

    @pytest.mark.parametrize(
        ("raw", "refused"),
        [
            (b"\xff", "typed-json.malformed"),
            (b"[" * 50_000, "typed-json.malformed"),
            (b"{}", "typed-json.malformed"),
            (b'{"v":1,"v":1,"asked":{}}', "typed-json.malformed"),
            (b'{"v":2,"asked":{}}', "consents.version"),
            (b'{"v":1,"act":"00","operation":"give","within_ms":1,"asked":{}}', "typed-json.malformed"),
            (
                b'{"v":1,"act":"' + b"00" * 16 + b'","operation":"give","within_ms":1,"asked":{}}',
                "typed-json.malformed",
            ),
            (
                b'{"v":1,"act":"' + b"00" * 16 + b'","operation":"give","within_ms":0,"asked":{}}',
                "typed-json.malformed",
            ),
            (
                b'{"v":1,"act":"' + b"00" * 16 + b'","operation":"end-mandate","within_ms":1,"asked":{}}',
                "consents.operation",
            ),
        ],
    )
    async def test_nonsense_is_refused_and_the_next_one_is_heard(self, both: Beside, raw: bytes, refused: str) -> None:
        with pytest.raises(Refused) as fault:
            wire.answer(wire.OPERATIONS["give"], await both.exchanged(raw))
        assert refused == fault.value.code
        await consents.give(both.portal, wish(both.here))

    async def test_what_is_too_long_is_refused_before_it_is_read(self, both: Beside) -> None:
        reader, writer = await local.connected(both.socket, None)
        writer.write((wire.QUESTION_BYTES + 1).to_bytes(4, "big"))
        with pytest.raises(Refused, match=r"consents\.too-large"):
            wire.answer(wire.OPERATIONS["give"], await local.received(reader, 1000))
        await local.closed(writer)
        long = frozenset(f"field_{number}" for number in range(10_000))
        assert ("consents.too-large", "") == await code(both.portal.consents.narrow(GrantId(bytes(16)), long, VOICE))

    async def test_who_says_half_and_waits_is_let_go_and_holds_up_nobody(self, both: Beside) -> None:
        both.consents.answering._read_seconds = 0.05
        reader, writer = await local.connected(both.socket, None)
        writer.write(b"\x00\x00\x00\x10half")

        await consents.give(both.portal, wish(both.here))

        assert b"" == await reader.read()
        await local.closed(writer)

    async def test_more_than_there_is_room_for_are_closed_unheard(
        self, both: Beside, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("broker.consents.answering.AT_ONCE", 1)
        _, first = await local.connected(both.socket, None)
        await asyncio.sleep(0)
        reader, second = await local.connected(both.socket, None)

        assert b"" == await reader.read()
        await local.closed(first)
        await local.closed(second)
        await consents.give(both.portal, wish(both.here))


class TestAPortalThatWasBroken:
    async def test_gets_no_mandate_by_law_and_ends_none(self, both: Beside) -> None:
        here, by_law = both.here, law("CSS, art. L583-3")
        mandate = await here.give(CAF, MOVED, FAMILY, ["subject"], basis=by_law)

        assert ("consents.operators", "/basis") == await code(both.portal.consents.give(wish(here, basis=by_law)))
        assert ("consents.operators", "") == await code(both.portal.consents.end_mandate(mandate.grant.id, VOICE))
        assert ("grant.mandate", "/basis") == await code(both.portal.consents.revoke(mandate.grant.id, VOICE))

    async def test_joins_no_two_people(self, both: Beside) -> None:
        here = both.here
        me, other = here.subject(), here.subject(ELISE | {"family_name": "Moreau"})

        link = await both.portal.linking.ask(me, other, evidence="2026-1", asked_by=PORTAL, entitled=True)

        assert "asked" == link.status
        assert ("consents.operators", "") == await code(both.portal.linking.confirm(link.id))
        assert ("consents.operators", "") == await code(both.portal.linking.end(link.id))

    async def test_has_no_receipt_signed_for_what_never_was(self, both: Beside) -> None:
        here = both.here
        given = await here.give(CAF, MOVED, FAMILY, ["subject"])
        other = await here.give(CAF, MOVED, FAMILY, ["subject"])
        ended = given.grant.revoke(here.clock(), VOICE)

        assert await both.portal.receipts.of(given)
        for invented in (Recorded(ended, given.entry), Recorded(given.grant, other.entry)):
            assert ("receipts.unknown", "/grant") == await code(both.portal.receipts.of(invented))


class TestTheSocket:
    async def test_is_for_its_owner_alone_or_for_the_chosen_group_too(self) -> None:
        with short_folder() as folder:
            for group, mode in ((None, 0o600), (os.getegid(), 0o660)):
                path = folder / f"{mode}.sock"
                with local.bound(path, group):
                    assert mode == stat.S_IMODE(path.stat().st_mode)

    async def test_that_a_dead_process_has_left_is_taken_away_and_that_of_a_living_one_is_not(self) -> None:
        with short_folder() as folder:
            path = folder / "consents.sock"
            local.bound(path, None).close()
            with local.bound(path, None):
                assert ("consents.socket-taken", "") == await code(_bound(path))

    async def test_takes_no_file_away_that_is_something_else(self) -> None:
        with short_folder() as folder:
            path = folder / "consents.sock"
            path.write_text("mine")
            assert ("consents.socket-path", "") == await code(_bound(path))
            assert "mine" == path.read_text()
            assert ("consents.socket-path", "") == await code(_bound(folder / ("x" * 120)))
            assert ("consents.socket-path", "") == await code(_bound(folder / "absent" / "consents.sock"))

    async def test_is_for_a_group_that_there_is(self) -> None:
        assert None is local.group_id(None)
        with pytest.raises(Refused, match=r"consents\.group"):
            local.group_id("no-such-group-here")


async def _bound(path: Path) -> None:
    local.bound(path, None)


async def test_without_an_act_nothing_is_kept(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])

    act = Act(bytes(16), bytes(32), here.home.party, here.clock())
    async with here.home.store.read() as tx:
        assert [] == await acts.answers(tx, act, Recorded)
