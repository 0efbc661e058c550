"""Drafts: what somebody typed is there when they come back, is nobody else's, and ends when its time does."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import delete, insert, select, update

from broker.citizens.draft_seals import DraftSeals, read_code, written_code
from broker.citizens.drafts import HOURS, MOST, Draft
from broker.store.citizen_tables import citizen_drafts
from schemas.errors import Corrupt, Refused
from schemas.names import SubjectRef
from tests.memory import MemoryKeys
from tests.world import ELISE, YANN, Entropy, World, world

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

HOUR = 3_600_000
TYPED = {"street": "12 rue des Lilas", "people": ["Élise", "Yann"]}
LATER = {"street": "14 rue des Lilas", "people": []}
FORM = "demenager"


@pytest_asyncio.fixture
async def here(tmp_path: Path, home_settings: dict[str, Any]) -> AsyncIterator[World]:
    """A furnished broker."""
    async with world(tmp_path, **home_settings) as made:
        yield made


async def rows(here: World) -> list[Any]:
    """Of all drafts."""
    async with here.home.store.read() as tx:
        return list((await tx.execute(select(citizen_drafts).order_by(citizen_drafts.c.id))).all())


async def begun(here: World, **more: Any) -> Draft:
    """A draft of Élise's."""
    return await here.home.drafts.write(here.subject(), FORM, TYPED | more)


class TestInASession:
    """Nothing but the session is needed."""

    async def test_what_was_typed_is_there_again(self, here: World) -> None:
        made = await begun(here)

        assert [made] == await here.home.drafts.of(here.subject())
        assert (FORM, TYPED, 1) == (made.form, made.content, made.version)

    async def test_another_person_has_no_such_draft(self, here: World) -> None:
        made, yann = await begun(here), here.subject(YANN)

        assert [] == await here.home.drafts.of(yann)
        for call in (
            here.home.drafts.read(yann, made.id),
            here.home.drafts.write(yann, FORM, LATER, made.id, 1),
            here.home.drafts.save_as_code(yann, made.id),
        ):
            with pytest.raises(Refused, match=r"drafts\.unknown"):
                await call
        await here.home.drafts.close(yann, made.id)
        assert made == await here.home.drafts.read(here.subject(), made.id)

    async def test_of_two_tabs_the_later_one_is_told(self, here: World) -> None:
        made = await begun(here)
        second = await here.home.drafts.write(here.subject(), FORM, LATER, made.id, seen=1)

        assert 2 == second.version
        with pytest.raises(Refused, match=r"drafts\.changed"):
            await here.home.drafts.write(here.subject(), FORM, TYPED, made.id, seen=1)
        assert second == await here.home.drafts.read(here.subject(), made.id)

    async def test_it_lasts_72_hours_after_it_was_written_last_and_not_longer(self, here: World) -> None:
        made = await begun(here)
        here.clock.pass_(HOURS * HOUR - 1)
        again = await here.home.drafts.write(here.subject(), FORM, LATER, made.id, seen=1)
        here.clock.pass_(HOURS * HOUR - 1)
        assert again == await here.home.drafts.read(here.subject(), made.id)
        here.clock.pass_(1)

        assert [] == await here.home.drafts.of(here.subject())
        with pytest.raises(Refused, match=r"drafts\.unknown"):
            await here.home.drafts.read(here.subject(), made.id)

    async def test_one_that_is_too_large_or_one_too_many_is_refused_and_nothing_changes(self, here: World) -> None:
        with pytest.raises(Refused, match=r"drafts\.too-large"):
            await begun(here, more="x" * 65_536)
        for number in range(MOST):
            await begun(here, number=number)
        with pytest.raises(Refused, match=r"drafts\.too-many"):
            await begun(here)
        assert MOST == len(await here.home.drafts.of(here.subject()))

    async def test_closed_it_is_gone_and_closing_again_does_no_harm(self, here: World) -> None:
        made = await begun(here)
        await here.home.drafts.save_as_code(here.subject(), made.id)
        for _ in range(2):
            await here.home.drafts.close(here.subject(), made.id)
            assert [] == await rows(here)


class TestWithACode:
    """The code is the citizen's alone."""

    async def test_it_brings_the_draft_back_also_when_the_own_one_is_gone(self, here: World) -> None:
        made = await begun(here)
        saved = await here.home.drafts.save_as_code(here.subject(), made.id)
        async with here.home.store.begin() as tx:
            await tx.execute(delete(citizen_drafts).where(citizen_drafts.c.id == made.id))

        found = await here.home.drafts.resume(here.subject(), f" {saved.code.lower().replace('0', 'o')} ")

        assert (made.id, FORM, TYPED) == (found.id, found.form, found.content)

    async def test_what_was_typed_since_is_what_comes_back(self, here: World) -> None:
        made = await begun(here)
        saved = await here.home.drafts.save_as_code(here.subject(), made.id)
        newer = await here.home.drafts.write(here.subject(), FORM, LATER, made.id, seen=1)

        assert newer == await here.home.drafts.resume(here.subject(), saved.code)

    async def test_another_persons_a_wrong_a_closed_and_an_expired_one_are_refused_in_the_same_words(
        self, here: World
    ) -> None:
        made = await begun(here)
        saved = await here.home.drafts.save_as_code(here.subject(), made.id)
        over = await here.home.drafts.save_as_code(here.subject(), (await begun(here)).id)
        closed = await begun(here)
        used = await here.home.drafts.save_as_code(here.subject(), closed.id)
        await here.home.drafts.close(here.subject(), closed.id)
        faults = []
        for who, code in (
            (here.subject(YANN), saved.code),
            (here.subject(), "000000-000000"),
            (here.subject(), "short"),
            (here.subject(), "U" * 12),
            (here.subject(), used.code),
        ):
            with pytest.raises(Refused) as caught:
                await here.home.drafts.resume(who, code)
            faults.append((caught.value.code, caught.value.pointer, dict(caught.value.details)))
        here.clock.pass_(HOURS * HOUR)
        with pytest.raises(Refused) as caught:
            await here.home.drafts.resume(here.subject(), over.code)
        faults.append((caught.value.code, caught.value.pointer, dict(caught.value.details)))

        assert [("drafts.code", "/code", {})] * 6 == faults

    async def test_a_new_code_ends_the_one_before(self, here: World) -> None:
        made = await begun(here)
        first = await here.home.drafts.save_as_code(here.subject(), made.id)
        second = await here.home.drafts.save_as_code(here.subject(), made.id)

        with pytest.raises(Refused, match=r"drafts\.code"):
            await here.home.drafts.resume(here.subject(), first.code)
        assert made.id == (await here.home.drafts.resume(here.subject(), second.code)).id

    async def test_what_was_begun_at_a_counter_is_the_first_ones_who_resumes_it(self, here: World) -> None:
        saved = await here.home.drafts.begin_for_somebody(FORM, TYPED)
        found = await here.home.drafts.resume(here.subject(), saved.code)
        again = await here.home.drafts.resume(here.subject(), saved.code)

        assert TYPED == found.content
        assert found == again
        with pytest.raises(Refused, match=r"drafts\.code"):
            await here.home.drafts.resume(here.subject(YANN), saved.code)
        await here.home.drafts.close(here.subject(), found.id)
        assert [] == await rows(here)

    async def test_a_code_has_sixty_bits_and_every_one_of_them_is_needed(self) -> None:
        seals = DraftSeals(MemoryKeys(), Entropy())
        codes = {seals.new_code() for _ in range(500)}

        assert 500 == len(codes)
        assert [32] * 12 == [len({code[place] for code in codes}) for place in range(12)]
        code = next(iter(codes))
        half = [one for one in codes if one[:6] == code[:6] or one[6:] == code[6:]]
        assert len({seals.code_id(one) for one in half}) == len(half)
        assert read_code(written_code(code)) == code


class TestAnInsider:
    """Somebody who reads and writes the database."""

    async def test_reads_neither_whose_it_is_nor_what_was_typed_nor_how_long_it_is(self, here: World) -> None:
        made = await begun(here)
        await here.home.drafts.save_as_code(here.subject(), made.id)
        await here.home.drafts.write(here.subject(YANN), FORM, TYPED | {"more": "x" * 2000})
        found = await rows(here)

        for row in found:
            whole = b"".join(one for one in row if isinstance(one, bytes))
            assert not any(told in whole for told in (here.subject(), b"Lilas", b"demenager"))
        assert 1 == len({len(row.sealed) for row in found})

    @pytest.mark.parametrize("column", ["owner", "origin", "version", "expires_at", "sealed"])
    async def test_changes_nothing_unseen(self, here: World, column: str) -> None:
        made = await begun(here)
        kept = (await rows(here))[0]
        values: dict[str, Any] = {
            "owner": here.home.draft_seals.owner(here.subject(YANN)),
            "origin": kept.id,
            "version": 2,
            "expires_at": kept.expires_at + 1,
            "sealed": kept.sealed[:-1] + bytes([kept.sealed[-1] ^ 1]),
        }
        async with here.home.store.begin() as tx:
            await tx.execute(update(citizen_drafts).values({column: values[column]}))

        for who in (here.subject(), here.subject(YANN)):
            with pytest.raises(Refused, match=r"drafts\.unknown"):
                await here.home.drafts.read(who, made.id)

    async def test_who_makes_macs_too_still_opens_no_draft_for_another_person(self, here: World) -> None:
        made = await begun(here)
        row = dict((await rows(here))[0]._mapping)
        yann = here.subject(YANN)
        stolen = here.home.macs.made("citizen_drafts", {**row, "owner": here.home.draft_seals.owner(yann)})
        async with here.home.store.begin() as tx:
            await tx.execute(update(citizen_drafts).values(stolen))

        with pytest.raises(Corrupt, match=r"drafts\.damaged"):
            await here.home.drafts.read(yann, made.id)

    async def test_a_code_that_was_closed_and_put_back_brings_back_what_its_person_typed_and_no_more(
        self, here: World
    ) -> None:
        made = await begun(here)
        saved = await here.home.drafts.save_as_code(here.subject(), made.id)
        before = [dict(row._mapping) for row in await rows(here)]
        await here.home.drafts.close(here.subject(), made.id)
        async with here.home.store.begin() as tx:
            await tx.execute(insert(citizen_drafts), before)

        assert TYPED == (await here.home.drafts.resume(here.subject(), saved.code)).content
        with pytest.raises(Refused, match=r"drafts\.code"):
            await here.home.drafts.resume(here.subject(YANN), saved.code)


async def test_another_homes_secret_finds_and_opens_nothing() -> None:
    mine, theirs = DraftSeals(MemoryKeys(), Entropy()), DraftSeals(MemoryKeys(), Entropy(b"other"))
    who, code = SubjectRef(bytes(32)), "0123456789AB"

    assert mine.owner(who) != theirs.owner(who)
    assert mine.code_id(code) != theirs.code_id(code)
    assert mine.code_key(code) != theirs.code_key(code)
    assert mine.own_key(bytes(16), who) != theirs.own_key(bytes(16), who)


async def test_pruning_takes_what_is_over_and_nothing_else(here: World) -> None:
    await begun(here)
    here.clock.pass_(HOUR)
    younger = await begun(here)
    here.clock.pass_((HOURS - 1) * HOUR)

    assert 1 == (await here.home.pruning.look()).rows["citizen_drafts"]
    assert 1 == (await here.home.pruning.prune()).rows["citizen_drafts"]
    assert [younger.id] == [row.id for row in await rows(here)]


async def test_forgotten_with_their_person_codes_too(here: World) -> None:
    made = await begun(here)
    await here.home.drafts.save_as_code(here.subject(), made.id)
    await here.home.drafts.write(here.subject(YANN), FORM, TYPED)

    async with here.home.store.begin() as tx:
        assert 2 == await here.home.drafts.count(tx, here.subject())
        assert 2 == await here.home.drafts.forget(tx, here.subject())
    assert 1 == len(await rows(here))
    assert ELISE != YANN
