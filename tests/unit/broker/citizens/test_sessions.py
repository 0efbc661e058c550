"""A session opens with its token alone, ends when told to and by itself; a row that was touched opens nothing."""

import pytest
from sqlalchemy import delete, insert, select, update

from broker.citizens.citizen import Helper
from broker.citizens.sessions import IDLE_MS, LONGEST_MS, MOST, PORTAL_MS, TOUCH_MS
from broker.services.citizens import signing_in
from broker.store.citizen_tables import citizen_sessions
from schemas.assurance import Assurance
from schemas.errors import Corrupt, Refused
from tests.citizens import found_out, sign_in
from tests.world import ELISE, PORTAL, YANN, World

pytestmark = pytest.mark.asyncio


async def refused(here: World, token: str, credential: bytes | None = None) -> str:
    """The code with which a token is refused."""
    with pytest.raises(Refused) as caught:
        await signing_in.current(here.home, token, credential=credential)
    return caught.value.code


class TestOpen:
    async def test_its_token_tells_who_it_is_and_how_surely(self, here: World) -> None:
        token, _ = await sign_in(here, assurance=Assurance.SUBSTANTIAL, language="en")

        citizen = await signing_in.current(here.home, token)

        assert ("Martin", Assurance.SUBSTANTIAL) == (citizen.identity.family_name, citizen.assurance)
        assert ("en", here.clock()) == (citizen.language, citizen.signed_in_at)

    async def test_who_helps_is_known_by_it(self, here: World) -> None:
        helper = Helper("agent-1", frozenset({"LOGEMENT", "SOCIAL_SANTE"}))
        token, _ = await sign_in(here, helper=helper)

        assert helper == (await signing_in.current(here.home, token)).helper

    async def test_two_sessions_of_one_person_have_nothing_in_common_but_the_person(self, here: World) -> None:
        one, first = await sign_in(here)
        other, second = await sign_in(here)

        assert one != other
        assert first.session != second.session
        assert first.subject == second.subject

    async def test_neither_the_table_nor_the_journal_holds_a_name_or_a_token(self, here: World) -> None:
        token, citizen = await sign_in(here, id_token="header.canary.signature")
        await signing_in.sign_out(here.home, (await sign_in(here))[0])

        async with here.home.store.read() as tx:
            rows = repr((await tx.execute(select(citizen_sessions))).all())
        journal = b"".join(one.encode() for one in (await here.home.endings.look()).of("citizen_sessions"))

        for secret in ("Martin", "Élise", "1985", token, "canary", citizen.identity.birthplace):
            assert secret not in rows
            assert secret.encode() not in journal


class TestRefused:
    @pytest.mark.parametrize("token", ["", "a", "é" * 43, "A" * 43, "A" * 44, "=" * 43, "a" * 100_000])
    async def test_what_is_no_token_of_ours(self, here: World, token: str) -> None:
        assert "citizens.signed-out" == await refused(here, token)

    async def test_after_half_an_hour_without_use_to_the_millisecond(self, here: World) -> None:
        token, _ = await sign_in(here)
        here.clock.pass_(IDLE_MS - 1)
        await signing_in.current(here.home, token)
        here.clock.pass_(IDLE_MS)

        assert "citizens.session-over" == await refused(here, token)

    async def test_after_twelve_hours_however_much_it_was_used(self, here: World) -> None:
        token, _ = await sign_in(here)
        for _ in range(LONGEST_MS // (IDLE_MS // 2) - 1):
            here.clock.pass_(IDLE_MS // 2)
            await signing_in.current(here.home, token)
        here.clock.pass_(IDLE_MS // 2)

        assert "citizens.session-over" == await refused(here, token)

    async def test_a_portals_after_half_an_hour_however_much_it_was_used(self, here: World) -> None:
        token, _ = await sign_in(here, portal=PORTAL, credential=b"k" * 8)
        here.clock.pass_(PORTAL_MS // 2)
        await signing_in.current(here.home, token, credential=b"k" * 8)
        here.clock.pass_(PORTAL_MS // 2)

        assert "citizens.session-over" == await refused(here, token, b"k" * 8)

    async def test_a_portals_from_another_credential_or_in_a_browser(self, here: World) -> None:
        token, _ = await sign_in(here, portal=PORTAL, credential=b"k" * 8)

        assert "citizens.signed-out" == await refused(here, token, b"o" * 8)
        assert "citizens.signed-out" == await refused(here, token)

    async def test_ours_from_a_portal(self, here: World) -> None:
        token, _ = await sign_in(here)

        assert "citizens.signed-out" == await refused(here, token, b"k" * 8)


class TestTouched:
    async def test_a_request_writes_at_most_once_a_minute(self, here: World) -> None:
        token, citizen = await sign_in(here)
        opened = citizen.signed_in_at
        here.clock.pass_(TOUCH_MS - 1)
        await signing_in.current(here.home, token)
        before = (await signing_in.sessions(here.home, citizen))[0].seen_at
        here.clock.pass_(1)
        await signing_in.current(here.home, token)

        assert (opened, opened + TOUCH_MS) == (before, (await signing_in.sessions(here.home, citizen))[0].seen_at)


class TestEnded:
    async def test_signed_out_it_opens_nothing_and_leaves_no_row(self, here: World) -> None:
        token, _ = await sign_in(here)

        await signing_in.sign_out(here.home, token)
        await signing_in.sign_out(here.home, token)

        assert "citizens.signed-out" == await refused(here, token)
        async with here.home.store.read() as tx:
            assert [] == (await tx.execute(select(citizen_sessions))).all()

    async def test_one_of_ones_own_from_another_browser(self, here: World) -> None:
        lost, stolen = await sign_in(here)
        token, citizen = await sign_in(here)

        await signing_in.end(here.home, citizen, stolen.session)

        assert "citizens.signed-out" == await refused(here, lost)
        assert [citizen.session] == [one.id for one in await signing_in.sessions(here.home, citizen)]
        assert citizen == await signing_in.current(here.home, token)

    async def test_not_another_persons(self, here: World) -> None:
        token, elise = await sign_in(here)
        _, yann = await sign_in(here, YANN)

        with pytest.raises(Refused, match="session-unknown"):
            await signing_in.end(here.home, yann, elise.session)

        assert elise == await signing_in.current(here.home, token)
        assert [yann.session] == [one.id for one in await signing_in.sessions(here.home, yann)]

    async def test_all_but_this_one(self, here: World) -> None:
        others = [(await sign_in(here))[0] for _ in range(3)]
        yanns, _ = await sign_in(here, YANN)
        token, citizen = await sign_in(here)

        assert 3 == await signing_in.end_others(here.home, citizen)

        assert {"citizens.signed-out"} == {await refused(here, one) for one in others}
        await signing_in.current(here.home, token)
        await signing_in.current(here.home, yanns)

    async def test_the_oldest_when_there_are_too_many(self, here: World) -> None:
        tokens = []
        for _ in range(MOST + 1):
            here.clock.pass_(1)
            tokens.append((await sign_in(here))[0])

        assert "citizens.signed-out" == await refused(here, tokens[0])
        for token in tokens[1:]:
            await signing_in.current(here.home, token)


class TestInsider:
    """Whoever writes to the database, or puts an older row back."""

    async def test_puts_the_row_of_an_ended_session_back(self, here: World) -> None:
        token, citizen = await sign_in(here)
        async with here.home.store.read() as tx:
            row = (await tx.execute(select(citizen_sessions))).one()
        await signing_in.sign_out(here.home, token)
        await here.home.completion.finish()
        async with here.home.store.begin() as tx:
            await tx.execute(insert(citizen_sessions).values(**row._mapping))

        assert "citizens.signed-out" == await refused(here, token)
        assert [] == await signing_in.sessions(here.home, citizen)
        assert {"endings.contradicted"} == {one.check for one in await here.home.fsck.check()}
        await here.home.completion.finish(all_of_it=True)
        async with here.home.store.read() as tx:
            assert [] == (await tx.execute(select(citizen_sessions))).all()

    @pytest.mark.parametrize(
        "edited",
        [
            {"assurance": "high"},
            {"expires_at": 2**60},
            {"seen_at": 2**60},
            {"credential": b"k" * 8},
            {"subject": bytes(32)},
            {"helped": 1},
            {"mac": None},
        ],
    )
    async def test_edits_one(self, here: World, edited: dict[str, object]) -> None:
        token, _ = await sign_in(here)
        async with here.home.store.begin() as tx:
            await tx.execute(update(citizen_sessions).values(**edited))

        assert "citizens.signed-out" == await refused(here, token)
        await found_out(here, "sessions.mac", citizen_sessions)

    async def test_puts_their_own_tokens_digest_into_anothers_row(self, here: World) -> None:
        theirs, mine = await sign_in(here)
        _, victim = await sign_in(here, YANN)
        async with here.home.store.begin() as tx:
            own = (await tx.execute(select(citizen_sessions).where(citizen_sessions.c.id == mine.session))).one()
            await tx.execute(delete(citizen_sessions).where(citizen_sessions.c.id == mine.session))
            taken = update(citizen_sessions).where(citizen_sessions.c.id == victim.session)
            await tx.execute(taken.values(digest=own.digest))

        assert "citizens.signed-out" == await refused(here, theirs)
        await found_out(here, "sessions.mac", citizen_sessions)

    async def test_who_has_the_macs_secret_too_still_reads_nobodys_facts(self, here: World) -> None:
        theirs, mine = await sign_in(here)
        _, victim = await sign_in(here, YANN)
        async with here.home.store.begin() as tx:
            own = (await tx.execute(select(citizen_sessions).where(citizen_sessions.c.id == mine.session))).one()
            await tx.execute(delete(citizen_sessions).where(citizen_sessions.c.id == mine.session))
            other = (await tx.execute(select(citizen_sessions).where(citizen_sessions.c.id == victim.session))).one()
            forged = here.home.macs.made("citizen_sessions", {**other._mapping, "digest": own.digest})
            await tx.execute(update(citizen_sessions).values(**forged))

        with pytest.raises(Corrupt, match=r"citizens\.damaged"):
            await signing_in.current(here.home, theirs)

    async def test_who_has_the_macs_secret_too_makes_nobody_of_their_own_session(self, here: World) -> None:
        mine, session = await sign_in(here)
        async with here.home.store.begin() as tx:
            own = (await tx.execute(select(citizen_sessions))).one()
            forged = here.home.macs.made("citizen_sessions", {**own._mapping, "subject": here.subject(YANN)})
            await tx.execute(update(citizen_sessions).values(**forged))

        with pytest.raises(Corrupt, match=r"citizens\.damaged"):
            await signing_in.current(here.home, mine)
        assert session.subject != here.subject(YANN)

    async def test_puts_an_older_sight_back_and_only_ends_it_sooner(self, here: World) -> None:
        token, citizen = await sign_in(here, ELISE)
        async with here.home.store.read() as tx:
            before = (await tx.execute(select(citizen_sessions))).one()
        here.clock.pass_(IDLE_MS // 2)
        await signing_in.current(here.home, token)
        async with here.home.store.begin() as tx:
            await tx.execute(update(citizen_sessions).values(**before._mapping))
        here.clock.pass_(IDLE_MS // 2)

        assert "citizens.session-over" == await refused(here, token)
        assert [] == await signing_in.sessions(here.home, citizen)
