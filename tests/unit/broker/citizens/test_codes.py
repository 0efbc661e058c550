"""A code from a counter lets one person in, once, within three days; and nobody who has all of the tables."""

import pytest
from sqlalchemy import insert, select, update

from broker.citizens import attempts
from broker.citizens.codes import ALPHABET, HOURS, MOST, read, written
from broker.services.citizens import codes, signing_in
from broker.services.citizens.signing_in import SignedIn
from broker.store.citizen_tables import citizen_codes
from schemas.assurance import Assurance
from schemas.errors import Refused
from tests.citizens import found_out, sign_in
from tests.world import ELISE, YANN, World

pytestmark = pytest.mark.asyncio
HOUR = 3_600_000


async def enter(here: World, code: str, address: str = "192.0.2.1", replaces: str | None = None) -> SignedIn:
    """Come in with a code."""
    return await signing_in.with_code(here.home, code, language="fr", address=address, replaces=replaces)


async def refused(here: World, code: str, address: str = "192.0.2.1") -> Refused:
    """How a code is refused."""
    with pytest.raises(Refused) as caught:
        await enter(here, code, address)
    return caught.value


async def test_lets_the_person_in_at_the_lowest_level_with_their_facts(here: World) -> None:
    code = await codes.give(here.home, ELISE)

    came = await enter(here, code.code)

    citizen = await signing_in.current(here.home, came.token)
    assert ("Martin", ("Élise",), Assurance.LOW) == (
        citizen.identity.family_name,
        citizen.identity.given_names,
        citizen.assurance,
    )
    assert here.clock() + HOURS * HOUR == code.expires_at


async def test_is_the_same_account_as_a_sign_in_with_these_facts(here: World) -> None:
    _, signed = await sign_in(here)
    code = await codes.give(here.home, ELISE)

    assert signed.subject == (await enter(here, code.code)).citizen.subject


@pytest.mark.parametrize("typed", ["{}", " {} ", "{0[0]}{0[1]} {rest}"])
async def test_is_read_as_people_type_it(here: World, typed: str) -> None:
    code = (await codes.give(here.home, ELISE)).code

    await enter(here, typed.format(code, rest=code[2:]).lower())


async def test_counts_once(here: World) -> None:
    code = await codes.give(here.home, ELISE)
    await enter(here, code.code)

    assert "citizens.code" == (await refused(here, code.code)).code


async def test_is_over_after_three_days_to_the_millisecond(here: World) -> None:
    code = await codes.give(here.home, ELISE)
    late = await codes.give(here.home, YANN)
    here.clock.pass_(HOURS * HOUR - 1)
    await enter(here, code.code)
    here.clock.pass_(1)

    assert "citizens.code" == (await refused(here, late.code)).code


async def test_used_too_old_and_never_given_are_refused_in_the_same_words(here: World) -> None:
    used, old = await codes.give(here.home, ELISE), await codes.give(here.home, YANN)
    await enter(here, used.code)
    here.clock.pass_(HOURS * HOUR)

    told = [await refused(here, one) for one in (used.code, old.code, "ABCDEF-ABCDEF")]

    assert 1 == len({(one.code, one.pointer, tuple(one.details)) for one in told})


@pytest.mark.parametrize("typed", ["", "ABCDEF", "ABCDEF-ABCDE0", "ABCDEF-ABCDEI", "é" * 12, "A" * 10_000])
async def test_what_no_code_looks_like_is_told_so(here: World, typed: str) -> None:
    assert ("citizens.code-form", "/code") == ((found := await refused(here, typed)).code, found.pointer)


async def test_five_wrong_ones_close_an_address_for_a_quarter_of_an_hour_and_no_other(here: World) -> None:
    code = await codes.give(here.home, ELISE)
    for _ in range(attempts.MOST):
        await refused(here, "ABCDEF-ABCDEF")

    told = await refused(here, code.code)
    assert ("citizens.too-many-attempts", 900) == (told.code, told.details["after"])
    here.clock.pass_(attempts.WINDOW_MS - 1)
    assert "citizens.too-many-attempts" == (await refused(here, code.code)).code
    await enter(here, code.code, "192.0.2.2")
    here.clock.pass_(1)
    assert "citizens.code" == (await refused(here, code.code)).code


async def test_the_session_of_before_ends_whoever_it_was_of(here: World) -> None:
    planted, _ = await sign_in(here, YANN)
    code = await codes.give(here.home, ELISE)

    came = await enter(here, code.code, replaces=planted)

    assert planted != came.token
    with pytest.raises(Refused, match="signed-out"):
        await signing_in.current(here.home, planted)


async def test_of_one_person_only_a_few_wait(here: World) -> None:
    given = []
    for _ in range(MOST + 1):
        here.clock.pass_(1)
        given.append((await codes.give(here.home, ELISE)).code)

    assert "citizens.code" == (await refused(here, given[0])).code
    for one in given[1:]:
        await enter(here, one)


async def test_an_insider_who_puts_a_used_row_back_lets_nobody_in(here: World) -> None:
    code = await codes.give(here.home, ELISE)
    async with here.home.store.read() as tx:
        row = (await tx.execute(select(citizen_codes))).one()
    await enter(here, code.code)
    await here.home.completion.finish()
    async with here.home.store.begin() as tx:
        await tx.execute(insert(citizen_codes).values(**row._mapping))

    assert "citizens.code" == (await refused(here, code.code)).code
    assert {"endings.contradicted"} == {one.check for one in await here.home.fsck.check()}
    await here.home.completion.finish(all_of_it=True)
    async with here.home.store.read() as tx:
        assert [] == (await tx.execute(select(citizen_codes))).all()


@pytest.mark.parametrize("edited", [{"expires_at": 2**60}, {"subject": bytes(32)}, {"salt": bytes(16)}, {"mac": None}])
async def test_an_insider_who_edits_a_row_lets_nobody_in(here: World, edited: dict[str, object]) -> None:
    code = await codes.give(here.home, ELISE)
    async with here.home.store.begin() as tx:
        await tx.execute(update(citizen_codes).values(**edited))

    assert "citizens.code" == (await refused(here, code.code)).code
    await found_out(here, "codes.mac", citizen_codes)


async def test_an_insider_who_gives_their_code_anothers_row_gets_in_as_themselves_or_not_at_all(here: World) -> None:
    mine, _ = await codes.give(here.home, ELISE), await codes.give(here.home, YANN)
    own = here.home.codes.locator(read(mine.code))
    async with here.home.store.begin() as tx:
        await tx.execute(citizen_codes.delete().where(citizen_codes.c.locator == own))
        await tx.execute(update(citizen_codes).values(locator=own))

    assert "citizens.code" == (await refused(here, mine.code)).code
    await found_out(here, "codes.mac", citizen_codes)


async def test_the_tables_hold_neither_the_code_nor_a_name(here: World) -> None:
    code = await codes.give(here.home, ELISE)
    async with here.home.store.read() as tx:
        rows = repr((await tx.execute(select(citizen_codes))).all())

    for secret in (read(code.code), code.code, "Martin", "1985"):
        assert secret not in rows


async def test_a_code_has_sixty_bits_of_signs_that_nobody_takes_for_another() -> None:
    assert (32, 32) == (len(ALPHABET), len(set(ALPHABET)))
    assert not set("01OI") & set(ALPHABET)
    assert "ABCDEF-GHJKLM" == written("ABCDEFGHJKLM")
