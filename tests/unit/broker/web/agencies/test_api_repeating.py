"""Requests that come again under their Idempotency-Key: done once, answered the same, refused when they are another."""

import asyncio
import json
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from broker.access.idempotency import HOURS, LEASE_MS, Answer, Claim, IdempotencyKeys
from broker.store.access_tables import kept_answers
from broker.store.tables import submissions
from broker.web.common.bodies import b64u
from schemas.errors import Refused, Unavailable
from tests.unit.broker.web.agencies.calls import Caller, Served
from tests.world import CAF, ELISE, MOVED, PORTAL, World

pytestmark = pytest.mark.asyncio
ONE, MANY = "/v1/declarations", "/v1/declarations:batch"
AVRO = "application/avro"
KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'


async def envelope(served: Served, year: int = 1985) -> bytes:
    person = ELISE | {"birthdate": f"{year}-04-12"}
    return await served.here.home.desk.envelope(PORTAL, MOVED, served.here.moved(person))


async def one(caller: Caller, content: bytes, key: str = KEY, **more: str) -> httpx2.Response:
    return await caller.asks("POST", ONE, content, **{"content_type": AVRO, "idempotency_key": key, **more})


async def many(caller: Caller, contents: list[bytes], key: str = KEY) -> httpx2.Response:
    body = {"declarations": [b64u(each) for each in contents]}
    return await caller.asks("POST", MANY, body, idempotency_key=key)


def code(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def count(served: Served, table: Any) -> int:
    async with served.here.home.store.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(table))).scalar_one())


@pytest.mark.databases
async def test_the_same_request_under_its_key_gets_the_same_answer_to_the_byte(served: Served) -> None:
    portal, content = await served.caller(PORTAL), await envelope(served)
    batch = [await envelope(served, 1986), b"no envelope", await envelope(served, 1987)]
    for first, again in (
        (await one(portal, content), await one(portal, content)),
        (await many(portal, batch, '"k"'), await many(portal, batch, "k")),
    ):
        assert (first.status_code, first.content) == (again.status_code, again.content)
        assert first.headers.get("location") == again.headers.get("location")
        assert first.headers["content-type"] == again.headers["content-type"]
        assert first.headers["trace-id"] != again.headers["trace-id"]
    assert [True, False, True] == [each["ok"] for each in again.json()["results"]]
    assert (3, 2) == (await count(served, submissions), await count(served, kept_answers))


async def test_another_request_under_the_key_is_refused_and_another_administration_has_keys_of_its_own(
    served: Served,
) -> None:
    portal, caf, content = await served.caller(PORTAL), await served.caller(CAF), await envelope(served)
    await one(portal, content)
    reused = (422, "api.idempotency-reused")
    assert reused == code(await one(portal, await envelope(served, 1986)))
    assert reused == code(await one(portal, content, content_type="application/avro; a=b"))
    assert reused == code(await many(portal, [content]))
    assert 1 == await count(served, submissions)
    assert (403, "intake.other-source") == code(await one(caf, content))
    assert 202 == (await one(portal, await envelope(served, 1986), '"next"')).status_code


async def test_what_says_its_attributes_in_headers_is_compared_with_them(served: Served) -> None:
    portal, content = await served.caller(PORTAL), await envelope(served)
    await one(portal, content)
    assert (422, "api.idempotency-reused") == code(await one(portal, content, ce_id="another"))


async def test_a_key_that_is_none_is_refused_before_anything_is_done(served: Served) -> None:
    portal, content = await served.caller(PORTAL), await envelope(served)
    for key in ("", '""', '"a', 'a"', "a b", '"a"b"', "x" * 256, '"\\"', "a\tb", "a, a"):
        assert (400, "api.idempotency-key") == code(await one(portal, content, key)), key
        assert (400, "api.idempotency-key") == code(await many(portal, [content], key)), key
    headers = [("content-type", AVRO), ("authorization", f"Bearer {portal.token}"), *[("idempotency-key", "a")] * 2]
    twice = await served.client.post(ONE, content=content, headers=headers)
    assert (400, "api.idempotency-key") == code(twice)
    assert (0, 0) == (await count(served, submissions), await count(served, kept_answers))


async def test_a_declarations_own_id_is_a_key_that_needs_no_keeping(served: Served) -> None:
    portal, content = await served.caller(PORTAL), await envelope(served)
    first = (await portal.asks("POST", ONE, content, content_type=AVRO)).json()
    for key in (first["declaration"], f'"{first["declaration"]}"'):
        assert first | {"repeated": True} == (await one(portal, content, key)).json()
    assert 0 == await count(served, kept_answers)


async def test_what_was_refused_or_could_not_be_done_is_not_kept_and_may_come_again_under_its_key(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal, content, home = await served.caller(PORTAL), await envelope(served), served.here.home
    assert 422 == (await one(portal, b"no envelope")).status_code

    async def away(*_: Any) -> None:
        raise Unavailable("store.away")

    with monkeypatch.context() as patch:
        patch.setattr(home.intake, "accept_all", away)
        assert (503, "store.away") == code(await one(portal, content))
    assert 0 == await count(served, kept_answers)
    assert 202 == (await one(portal, content)).status_code


@pytest.mark.databases
@pytest.mark.parametrize(("name", "most"), [("KEYS", 4), ("KEPT_BYTES", 4 * 100)])
async def test_what_is_kept_of_one_administration_is_bounded_and_the_oldest_goes_first(
    served: Served, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    answers, clock = served.here.home.idempotency_keys, served.here.clock
    monkeypatch.setattr(f"broker.access.idempotency.{name}", most, raising=False)
    for party in (CAF, PORTAL):
        for number in range(5):
            claim = await answers.claim(party, str(number), b"r" * 32)
            assert isinstance(claim, Claim)
            if number < 4 or party == PORTAL:
                await answers.keep(claim, Answer(200, "{}", bytes(100)))
            clock.pass_(1)

    kept = [await answers.claim(PORTAL, str(number), b"r" * 32) for number in range(5)]
    assert [Claim, Claim, Answer, Answer, Answer] == [type(one) for one in kept]
    others = [await answers.claim(CAF, str(number), b"r" * 32) for number in range(4)]
    assert [Answer] * 4 == [type(one) for one in others]


async def test_while_the_first_is_under_way_the_second_is_told_to_wait(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal, content, home = await served.caller(PORTAL), await envelope(served), served.here.home
    begun, go, accept_all = asyncio.Event(), asyncio.Event(), home.intake.accept_all

    async def slowly(*told: Any) -> Any:
        begun.set()
        await go.wait()
        return await accept_all(*told)

    monkeypatch.setattr(home.intake, "accept_all", slowly)
    first = asyncio.create_task(one(portal, content))
    await begun.wait()
    second = await one(portal, content)
    assert (409, "api.idempotency-busy") == code(second)
    assert "5" == second.headers["retry-after"]
    assert (422, "api.idempotency-reused") == code(await one(portal, b"another"))
    go.set()
    assert (await first).content == (await one(portal, content)).content


async def test_an_answer_that_could_not_be_kept_is_given_all_the_same(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal, content, home = await served.caller(PORTAL), await envelope(served), served.here.home

    async def away(*_: Any) -> None:
        raise Unavailable("store.away")

    with monkeypatch.context() as patch:
        patch.setattr(home.idempotency_keys, "keep", away)
        first = await one(portal, content)
    assert 202 == first.status_code
    assert (409, "api.idempotency-busy") == code(await one(portal, content))
    served.here.clock.pass_(LEASE_MS)
    assert first.json() | {"repeated": True} == (await one(portal, content)).json()


async def test_a_key_is_free_after_a_day_whether_it_was_pruned_or_not(served: Served) -> None:
    portal, here = await served.caller(PORTAL), served.here
    first, other = await envelope(served), await envelope(served, 1986)
    await one(portal, first)
    await one(portal, first, '"b"')
    here.clock.pass_(HOURS * 3_600_000 - 1)
    assert 0 == (await here.home.pruning.prune()).rows["kept_answers"]
    assert (422, "api.idempotency-reused") == code(await one(portal, other))
    here.clock.pass_(1)
    portal = await served.caller(PORTAL)
    assert 202 == (await one(portal, await envelope(served, 1987))).status_code
    look, prune = await here.home.pruning.look(), await here.home.pruning.prune()
    assert (1, 1) == (look.rows["kept_answers"], prune.rows["kept_answers"])
    assert 1 == await count(served, kept_answers)


async def test_no_key_and_no_answer_is_in_a_repr(served: Served) -> None:
    portal = await served.caller(PORTAL)
    await one(portal, await envelope(served), "martin@example.fr")
    async with served.here.home.store.read() as tx:
        (row,) = (await tx.execute(select(kept_answers))).all()
    assert "martin" not in repr(row)
    assert "receipt" in json.loads(row.answer)
    assert "receipt" not in repr(Answer(200, "{}", bytes(row.answer)))


class TestProcesses:
    """Several processes, each with its own `IdempotencyKeys`."""

    @pytest.mark.databases
    async def test_one_of_many_at_once_gets_the_claim(self, here: World) -> None:
        processes = [IdempotencyKeys(here.home.store, here.clock) for _ in range(8)]
        results = await asyncio.gather(*(each.claim(CAF, "k", bytes(32)) for each in processes), return_exceptions=True)
        claims = [each for each in results if isinstance(each, Claim)]
        busy = [each for each in results if isinstance(each, Refused) and each.code == "api.idempotency-busy"]
        assert (1, 7) == (len(claims), len(busy))

    @pytest.mark.databases
    async def test_who_died_is_taken_over_once_and_who_comes_back_changes_nothing(self, here: World) -> None:
        one, two, three = (IdempotencyKeys(here.home.store, here.clock) for _ in range(3))
        dead = await one.claim(CAF, "k", bytes(32))
        here.clock.pass_(LEASE_MS - 1)
        with pytest.raises(Refused, match=r"api\.idempotency-busy"):
            await two.claim(CAF, "k", bytes(32))
        here.clock.pass_(1)
        taken = [await two.claim(CAF, "k", bytes(32))]
        with pytest.raises(Refused, match=r"api\.idempotency-busy"):
            await three.claim(CAF, "k", bytes(32))
        assert isinstance(dead, Claim)
        assert isinstance(taken[0], Claim)
        await one.keep(dead, Answer(500, "{}", b"late"))
        await one.release(dead)
        await two.keep(taken[0], Answer(202, "{}", b"done"))
        assert Answer(202, "{}", b"done") == await three.claim(CAF, "k", bytes(32))
