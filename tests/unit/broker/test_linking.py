"""Two identities of one person: linked slowly and in sight, parted without loss, and never by a mistake in silence."""

from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Row, delete, insert, select, update

from broker.consents.linking import Parted
from broker.directory.kin import Ground, Link
from broker.services import consents, declarations, identities, rules
from broker.services.viewing import grants_of
from broker.store.tables import reference_links
from consent.grant import Status
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import DeclarationId, EventType, Reason, uuid7, uuid_text
from tests.told import Taken, by_mail, held, tell
from tests.world import CAF, DAY, ELISE, FAMILY, MOVED, PORTAL, VOICE, YANN, World, blank

pytestmark = pytest.mark.asyncio
MOREAU = ELISE | {"family_name": "Moreau"}
"""Élise, who has her mother's name now."""
LEGRAND = ELISE | {"family_name": "Legrand"}
FIELDS = ("subject", "new_address")
ACT = "Rennes 2026/123"


async def asked(here: World, old: dict[str, Any] = ELISE, new: dict[str, Any] = MOREAU) -> Link:
    """A link that waits for its confirmation."""
    return await identities.link(here.home, old, new, evidence=ACT)


async def linked(here: World, old: dict[str, Any] = ELISE, new: dict[str, Any] = MOREAU) -> Link:
    """A link that acts."""
    made = await identities.confirm(here.home, (await asked(here, old, new)).id)
    here.clock.pass_(3 * DAY)
    return made


async def row_of(here: World) -> Row[Any]:
    """The one row there is."""
    async with here.home.store.read() as tx:
        return (await tx.execute(select(reference_links))).one()


async def put_back(here: World, row: Row[Any]) -> None:
    """The row as it was."""
    async with here.home.store.begin() as tx:
        await tx.execute(delete(reference_links))
        await tx.execute(insert(reference_links).values(**row._mapping))


async def codes(here: World, old: dict[str, Any], new: dict[str, Any]) -> tuple[str, str]:
    """Why a link is refused, and where."""
    with pytest.raises(Refused) as refused:
        await asked(here, old, new)
    return refused.value.code, refused.value.pointer


class TestALink:
    async def test_joins_nothing_before_its_moment(self, here: World) -> None:
        await here.give(CAF, MOVED, FAMILY, FIELDS)
        link = await asked(here)
        assert () == await grants_of(here.home, here.subject(MOREAU))

        confirmed = await identities.confirm(here.home, link.id)
        here.clock.pass_(3 * DAY - 1)
        await here.declare(MOVED, here.moved(MOREAU))

        assert () == await grants_of(here.home, here.subject(MOREAU))
        assert [] == await here.take(CAF)
        assert link.asked_at + 3 * DAY == confirmed.acts_from
        await here.step()

    async def test_lets_the_consents_of_before_act_for_the_new_name(self, here: World) -> None:
        before = await here.give(CAF, MOVED, FAMILY, FIELDS)
        await linked(here)

        accepted = await here.declare(MOVED, here.moved(MOREAU))
        (delivery,) = await here.take(CAF)

        assert accepted.declaration_id == delivery.declaration_id
        assert before.grant.id == delivery.grant_id
        assert (before.grant,) == await grants_of(here.home, here.subject(MOREAU))
        await here.step()

    async def test_keeps_the_number_by_which_a_recipient_knows_the_citizen(self, here: World) -> None:
        await here.give(CAF, MOVED, FAMILY, FIELDS)
        await here.declare(MOVED, here.moved())
        (before,) = await here.take(CAF)
        await linked(here)

        await here.declare(MOVED, here.moved(MOREAU))
        (after,) = await here.take(CAF)

        assert before.pseudonym == after.pseudonym

    async def test_lets_the_new_name_withdraw_what_the_old_one_gave(self, here: World) -> None:
        before = await here.give(CAF, MOVED, FAMILY, FIELDS)
        await linked(here)

        (ended,) = await consents.revoke_all(here.home, here.subject(MOREAU), VOICE)
        await here.declare(MOVED, here.moved(MOREAU))

        assert (before.grant.id, Status.REVOKED) == (ended.recorded.grant.id, ended.recorded.grant.status)
        assert [] == await here.take(CAF)
        async with here.home.store.read() as tx:
            assert (await tx.endings()).newest("grants", before.grant.id) is not None
        assert [before.grant.id] == [facts.grant for facts in await here.entries(FactKind.REVOKED)]
        await here.step()

    async def test_makes_one_consent_of_either_name_each_the_citizens_own(self, here: World) -> None:
        one = await here.give(CAF, MOVED, FAMILY, FIELDS)
        await linked(here)

        done = await consents.revoke(here.home, one.grant.id, VOICE, whose=here.subject(MOREAU))

        assert Status.REVOKED is done.recorded.grant.status

    @pytest.mark.parametrize("who", [ELISE, MOREAU], ids=["old", "new"])
    async def test_holds_an_objection_of_either_for_both(self, here: World, who: dict[str, Any]) -> None:
        told: dict[str, Any] = {"event_type": MOVED, "fields": FIELDS, "article": "CSS, art. L114-19"}
        rule = await rules.ask(here.home, recipient=CAF, purpose=FAMILY, **told)
        await rules.approve(here.home, rule.id)
        here.clock.pass_(3 * DAY)
        await here.declare(MOVED, here.moved(MOREAU))  # she has a grant under the rule, by her new name
        assert 1 == len(await here.take(CAF))
        await rules.object_to(here.home, here.subject(who), rule.id, reason="personal-situation", given_by="self")
        await linked(here)

        for person in (ELISE, MOREAU):
            await here.declare(MOVED, here.moved(person))

        assert [] == await here.take(CAF)
        other = here.subject(ELISE if who is MOREAU else MOREAU)
        assert 1 == len(await rules.objections(here.home, other))
        with pytest.raises(Refused, match=r"^objections\.stands"):
            await rules.object_to(here.home, other, rule.id, reason="x", given_by="self")
        await rules.withdraw_objection(here.home, other, rule.id, given_by="self")
        await here.declare(MOVED, here.moved(ELISE))
        assert 1 == len(await here.take(CAF))
        await here.step()

    async def test_makes_one_grant_under_a_rule_for_both(self, here: World) -> None:
        told: dict[str, Any] = {"event_type": MOVED, "fields": FIELDS, "article": "CSS, art. L114-19"}
        rule = await rules.ask(here.home, recipient=CAF, purpose=FAMILY, **told)
        await rules.approve(here.home, rule.id)
        await linked(here)

        for person in (MOREAU, ELISE):
            await here.declare(MOVED, here.moved(person), route=False)
        await here.home.router.route()

        assert [1, 1, 0] == [len(await here.take(CAF)) for _ in range(3)]
        assert 1 == len(await grants_of(here.home, here.subject(ELISE)))
        await here.step()

    async def test_follows_from_name_to_name(self, here: World) -> None:
        await here.give(CAF, MOVED, FAMILY, FIELDS)
        await linked(here)
        await linked(here, MOREAU, LEGRAND)

        await here.declare(MOVED, here.moved(LEGRAND))

        assert 1 == len(await here.take(CAF))
        await here.step()

    async def test_lets_a_correction_and_a_track_follow(self, here: World) -> None:
        await here.give(CAF, MOVED, FAMILY, FIELDS)
        first = await here.declare(MOVED, here.moved())
        await here.take(CAF)
        await linked(here)

        await here.declare(MOVED, here.moved(MOREAU), corrects=first.declaration_id)

        assert 1 == len(await here.take(CAF))
        track = await here.home.tracking.track(first.declaration_id, here.subject(MOREAU))
        assert first.declaration_id == track.declaration_id
        await here.step()

    async def test_is_told_by_the_ledger_to_each_side_and_binds_no_two_entries(self, here: World) -> None:
        link = await linked(here)
        await identities.unlink(here.home, link.id)

        steps = (FactKind.LINK_ASKED, FactKind.LINK_CONFIRMED, FactKind.LINK_ENDED)
        told = await here.entries(*steps)

        assert [kind for kind in steps for _ in range(2)] == [facts.kind for facts in told]
        assert 6 == len({facts.detail for facts in told}) == len({facts.subject for facts in told})
        assert not {facts.detail for facts in told} & {link.alias, link.kept}
        await here.step()


class TestIsRefused:
    async def test_between_two_dates_of_birth(self, here: World) -> None:
        assert ("links.birthdate", "/new/birthdate") == await codes(here, ELISE, MOREAU | {"birthdate": "1991-01-01"})

    async def test_of_one_with_itself_however_it_is_written(self, here: World) -> None:
        assert ("links.itself", "/new") == await codes(here, ELISE, ELISE | {"family_name": "MAR-TIN"})

    async def test_twice(self, here: World) -> None:
        await asked(here)
        assert ("links.exists", "/new") == await codes(here, ELISE, MOREAU)
        assert ("links.exists", "/new") == await codes(here, MOREAU, ELISE)

    async def test_in_a_circle(self, here: World) -> None:
        await asked(here, ELISE, MOREAU)
        await asked(here, MOREAU, LEGRAND)
        assert ("links.circle", "/new") == await codes(here, LEGRAND, ELISE)

    async def test_to_a_second_past(self, here: World) -> None:
        await asked(here, ELISE, MOREAU)
        assert ("links.taken", "/new") == await codes(here, LEGRAND, MOREAU)

    @pytest.mark.parametrize("evidence", ["", "Élise Martin", "a" * 65, "x\ny", " 2026"])
    async def test_without_the_number_of_an_act(self, here: World, evidence: str) -> None:
        with pytest.raises(Refused, match=r"^links\.evidence"):
            await identities.link(here.home, ELISE, MOREAU, evidence=evidence)

    async def test_where_a_person_would_have_too_many(self, here: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("broker.directory.kin.MOST", 2)
        await asked(here, ELISE, MOREAU)
        assert ("links.too-many", "/new") == await codes(here, MOREAU, LEGRAND)

    async def test_by_either_side_before_it_acts_and_by_nobody_else(self, here: World) -> None:
        for person in (ELISE, MOREAU):
            link = await identities.confirm(here.home, (await asked(here)).id)
            with pytest.raises(Refused, match=r"^links\.unknown"):
                await identities.refuse(here.home, here.subject(YANN), link.id)
            here.clock.pass_(3 * DAY - 1)

            parted = await identities.refuse(here.home, here.subject(person), link.id)
            here.clock.pass_(DAY)

            assert ("kept" if person is ELISE else "alias", ()) == (parted.link.ended_by, parted.delivered)
            assert () == await grants_of(here.home, here.subject(MOREAU))
        await here.step()

    async def test_no_more_once_it_acts(self, here: World) -> None:
        link = await linked(here)
        with pytest.raises(Refused, match=r"^links\.acts"):
            await identities.refuse(here.home, here.subject(ELISE), link.id)

    async def test_to_be_confirmed_or_ended_twice(self, here: World) -> None:
        link = await linked(here)
        with pytest.raises(Refused, match=r"^links\.confirmed"):
            await identities.confirm(here.home, link.id)
        await identities.unlink(here.home, link.id)
        for again in (identities.confirm, identities.unlink):
            with pytest.raises(Refused, match=r"^links\.ended"):
                await again(here.home, link.id)


class TestTheEnd:
    async def test_gives_each_their_own_back_and_says_what_was_delivered(self, here: World) -> None:
        old = await here.give(CAF, MOVED, FAMILY, FIELDS)
        link = await linked(here)
        new = await here.give(CAF, MOVED, FAMILY, ("subject",), person=MOREAU)
        gone = await here.declare(MOVED, here.moved(MOREAU))
        await here.take(CAF)
        await here.declare(MOVED, here.moved(MOREAU))  # it is on its way

        parted: Parted = await identities.unlink(here.home, link.id)

        assert [gone.declaration_id] == [one.declaration_id for one in parted.delivered]
        assert [new.grant.id] == [one.grant_id for one in await here.take(CAF)]
        (withheld,) = await here.entries(FactKind.WITHHELD)
        assert (Reason.NO_GRANT, old.grant.id) == (withheld.reason, withheld.grant)
        assert (old.grant,) == await grants_of(here.home, here.subject(ELISE))
        assert (new.grant,) == await grants_of(here.home, here.subject(MOREAU))
        await here.step()

    async def test_leaves_the_links_beside_it(self, here: World) -> None:
        await here.give(CAF, MOVED, FAMILY, FIELDS)
        await here.give(CAF, MOVED, FAMILY, FIELDS, person=MOREAU)
        first = await linked(here)
        await linked(here, MOREAU, LEGRAND)

        await identities.unlink(here.home, first.id)

        assert 1 == len(await grants_of(here.home, here.subject(LEGRAND)))
        assert 1 == len(await grants_of(here.home, here.subject(ELISE)))

    async def test_holds_though_somebody_puts_the_older_row_back(self, here: World) -> None:
        await here.give(CAF, MOVED, FAMILY, FIELDS)
        link = await linked(here)
        before = await row_of(here)
        await identities.unlink(here.home, link.id)
        ended = await row_of(here)
        await put_back(here, before)

        assert () == await grants_of(here.home, here.subject(MOREAU))
        with pytest.raises(Refused, match=r"^links\.ended"):
            await identities.unlink(here.home, link.id)
        await put_back(here, ended)

    async def test_is_completed_where_only_the_journal_knows_it(self, here: World) -> None:
        link = await linked(here)
        before = await row_of(here)
        await identities.unlink(here.home, link.id)
        ended = await row_of(here)
        await put_back(here, before)

        await here.home.completion.finish(all_of_it=True)

        (found,) = await identities.every(here.home)
        assert "operators" == found.ended_by
        assert ended.ended_at == (await row_of(here)).ended_at


class TestWhoeverWritesRows:
    """What they do is undone at the end of each test, for fsck finds it."""

    async def test_joins_nobody_with_a_row_of_their_own(self, here: World) -> None:
        await here.give(CAF, MOVED, FAMILY, FIELDS)
        link = await linked(here)
        row = await row_of(here)
        async with here.home.store.begin() as tx:
            await tx.execute(update(reference_links).values(alias=here.subject(YANN)))

        assert () == await grants_of(here.home, here.subject(YANN))
        assert [] == await identities.every(here.home)
        with pytest.raises(Refused, match=r"^links\.unknown"):
            await identities.unlink(here.home, link.id)
        await put_back(here, row)

    async def test_shortens_no_delay(self, here: World) -> None:
        await here.give(CAF, MOVED, FAMILY, FIELDS)
        await identities.confirm(here.home, (await asked(here)).id)
        row = await row_of(here)
        async with here.home.store.begin() as tx:
            await tx.execute(update(reference_links).values(acts_from=here.clock() - DAY))

        assert () == await grants_of(here.home, here.subject(MOREAU))
        await put_back(here, row)

    async def test_takes_consents_away_from_the_new_name_at_most(self, here: World) -> None:
        await here.give(CAF, MOVED, FAMILY, FIELDS)
        await linked(here)
        row = await row_of(here)
        async with here.home.store.begin() as tx:
            await tx.execute(delete(reference_links))

        assert () == await grants_of(here.home, here.subject(MOREAU))
        assert 1 == len(await grants_of(here.home, here.subject(ELISE)))
        await put_back(here, row)


def changed(here: World, **changes: Any) -> dict[str, Any]:
    """Élise is Moreau."""
    told = {"subject": ELISE, "new_family_name": "Moreau"}
    return blank(here.home, EventType(identities.NAME_CHANGED)) | told | changes


async def followed(here: World, record: dict[str, Any], of: DeclarationId | None = None, **more: Any) -> Link | None:
    """What the portal's declaration of it asks for."""
    told: dict[str, Any] = {"source": PORTAL, "event_type": EventType(identities.NAME_CHANGED), **more}
    fresh = DeclarationId(uuid7(here.clock(), here.home.entropy(10)))
    return await identities.follow(here.home, record=record, declaration=of or fresh, **told)


def entitled(here: World) -> None:
    """By its agreement the portal keeps the civil status."""
    here.home.settings = here.home.settings.model_copy(update={"civil_status_sources": (PORTAL,)})


async def declared(here: World, record: dict[str, Any] | None = None) -> DeclarationId:
    """The portal's declaration of it, handed in as a source elsewhere does: nobody here reads it."""
    kind = EventType(identities.NAME_CHANGED)
    async with here.home.store.begin() as tx:
        with suppress(Refused):  # it may already
            await here.home.registrar.allow_publishing(tx, PORTAL, kind, here.clock())
    act = {"commune": "35238", "country": "99100", "number": "123", "drawn_up_on": None}
    told = {"capacity": "self", "effective_date": "2026-12-01", "nature": "family_name", "act": act}
    return (await here.home.desk.declare(PORTAL, kind, record or changed(here, **told))).declaration_id


class TestSaidBesideADeclaration:
    async def test_asks_for_a_link_and_upkeep_confirms_it_for_an_entitled_source(self, here: World) -> None:
        entitled(here)
        await here.give(CAF, MOVED, FAMILY, FIELDS)
        of = await declared(here)
        await here.home.router.route()
        for _ in range(2):
            await identities.ask_beside(here.home, PORTAL, of, ELISE, MOREAU)
        (link,) = await identities.every(here.home)
        assert (None, uuid_text(of)) == (link.confirmed_at, link.evidence)

        await here.home.upkeep.turn()
        await here.home.upkeep.turn()

        (link,) = await identities.every(here.home)
        assert link.confirmed_at == here.clock()
        here.clock.pass_(3 * DAY)
        assert 1 == len(await grants_of(here.home, here.subject(MOREAU)))

    async def test_is_confirmed_by_nobody_where_the_source_is_not_entitled(self, here: World) -> None:
        of = await declared(here)
        await here.home.router.route()
        await identities.ask_beside(here.home, PORTAL, of, ELISE, MOREAU)
        await here.home.upkeep.turn()
        assert [None] == [one.confirmed_at for one in await identities.every(here.home)]

    async def test_never_joins_by_itself_where_one_has_refused(self, here: World) -> None:
        entitled(here)
        of = await declared(here)
        await here.home.router.route()
        await identities.ask_beside(here.home, PORTAL, of, ELISE, MOREAU)
        (link,) = await identities.every(here.home)
        await identities.refuse(here.home, here.subject(ELISE), link.id)
        second = await declared(here)
        await here.home.router.route()
        await identities.ask_beside(here.home, PORTAL, second, ELISE, MOREAU)

        await here.home.upkeep.turn()

        assert [None, None] == [one.confirmed_at for one in await identities.every(here.home)]

    async def test_never_joins_by_itself_two_who_both_live_here(self, here: World) -> None:
        entitled(here)
        for person in (ELISE, MOREAU):
            await here.give(CAF, MOVED, FAMILY, FIELDS, person=person)
        of = await declared(here)
        await here.home.router.route()
        await identities.ask_beside(here.home, PORTAL, of, ELISE, MOREAU)
        await here.home.upkeep.turn()
        (link,) = await identities.every(here.home)
        assert link.confirmed_at is None

    async def test_is_refused_of_another_sources_declaration_of_another_person_and_of_another_type(
        self, here: World
    ) -> None:
        moved = (await here.declare(MOVED, here.moved(ELISE))).declaration_id
        of = await declared(here)
        with pytest.raises(Refused) as waits:
            await identities.ask_beside(here.home, PORTAL, of, ELISE, MOREAU)
        await here.home.router.route()
        for source, declaration, old, new, code in (
            (CAF, of, ELISE, MOREAU, "tracking.unknown"),
            (PORTAL, DeclarationId(bytes(16)), ELISE, MOREAU, "tracking.unknown"),
            (PORTAL, moved, ELISE, MOREAU, "links.no-change"),
            (PORTAL, of, YANN, YANN | {"family_name": "Moreau"}, "links.another"),
            (PORTAL, of, ELISE, MOREAU | {"birthdate": "1985-04-13"}, "links.birthdate"),
        ):
            with pytest.raises(Refused) as refused:
                await identities.ask_beside(here.home, source, declaration, old, new)
            assert code == refused.value.code
        assert waits.value.code == "links.not-routed-yet"
        assert [] == await identities.every(here.home)

    async def test_tells_nobody_who_is_known_here(self, here: World) -> None:
        await linked(here, LEGRAND, MOREAU)
        of = await declared(here)
        await here.home.router.route()
        assert await identities.ask_beside(here.home, PORTAL, of, ELISE, MOREAU) is None
        assert 1 == len(await identities.every(here.home))


class TestADeclaredChange:
    async def test_asks_for_a_link_that_two_operators_confirm(self, here: World) -> None:
        link = await followed(here, changed(here))
        assert link is not None
        assert (Ground.EVENT, None) == (link.ground, link.confirmed_at)
        here.clock.pass_(9 * DAY)
        assert () == await grants_of(here.home, here.subject(MOREAU))

        confirmed = await identities.confirm(here.home, link.id)
        assert Ground.OPERATORS is confirmed.ground

    async def test_is_handed_in_and_followed_by_one_call(self, here: World) -> None:
        async with here.home.store.begin() as tx:
            await here.home.registrar.allow_publishing(tx, PORTAL, EventType(identities.NAME_CHANGED), here.clock())
        told = {"capacity": "self", "effective_date": "2026-12-01", "nature": "family_name"}
        act = {"commune": "35238", "country": "99100", "number": "123", "drawn_up_on": None}
        record = changed(here, act=act, **told)
        await declarations.declare(here.home, EventType(identities.NAME_CHANGED), record, PORTAL)

        (link,) = await identities.every(here.home)
        assert (PORTAL, here.subject(MOREAU), here.subject(ELISE)) == (link.asked_by, link.alias, link.kept)

    @pytest.mark.parametrize(
        "changes",
        [
            {"new_family_name": None, "new_usual_name": "Moreau"},
            {"new_family_name": "MARTIN"},
            {"new_family_name": None},
        ],
    )
    async def test_without_another_identity_asks_for_nothing(self, here: World, changes: dict[str, Any]) -> None:
        assert await followed(here, changed(here, **changes)) is None
        assert [] == await identities.every(here.home)

    async def test_of_an_entitled_source_confirms_by_itself(self, here: World) -> None:
        entitled(here)
        await here.give(CAF, MOVED, FAMILY, FIELDS)

        link = await followed(here, changed(here))
        assert link is not None
        assert (Ground.EVENT, link.asked_at + 3 * DAY) == (link.ground, link.acts_from)
        here.clock.pass_(3 * DAY)
        assert 1 == len(await grants_of(here.home, here.subject(MOREAU)))

    async def test_never_joins_by_itself_two_who_both_live_here(self, here: World) -> None:
        entitled(here)
        for person in (ELISE, MOREAU):
            await here.give(CAF, MOVED, FAMILY, FIELDS, person=person)

        link = await followed(here, changed(here))

        assert link is not None
        assert link.confirmed_at is None

    async def test_never_joins_by_itself_where_one_has_refused(self, here: World) -> None:
        entitled(here)
        first = await followed(here, changed(here))
        assert first is not None
        await identities.refuse(here.home, here.subject(ELISE), first.id)

        second = await followed(here, changed(here))

        assert second is not None
        assert (None, first.id) != (second.confirmed_at, second.id)
        assert second.confirmed_at is None

    async def test_said_again_is_the_same(self, here: World) -> None:
        of = DeclarationId(uuid7(here.clock(), bytes(10)))
        first = await followed(here, changed(here), of)
        assert first is not None
        assert first == await followed(here, changed(here), of)
        await identities.refuse(here.home, here.subject(MOREAU), first.id)
        again = await followed(here, changed(here), of)
        assert again is not None
        assert (first.id, "alias") == (again.id, again.ended_by)

    async def test_with_another_date_of_birth_asks_for_nothing_and_goes_its_way(self, here: World) -> None:
        record = {"subject": ELISE, "corrected": ELISE | {"birthdate": "1991-01-01"}}
        kind = EventType(identities.CORRECTED)
        assert await followed(here, record, event_type=kind) is None
        link = await followed(here, record | {"corrected": MOREAU}, event_type=kind)
        assert link is not None


class TestBothAreTold:
    async def test_when_it_is_confirmed_and_when_it_ends(self, here: World) -> None:
        taken = Taken()
        home = by_mail(here, taken)
        for person, address in ((ELISE, "elise@example.fr"), (MOREAU, "moreau@example.fr")):
            await held(here, home, address, person=person)
        here.clock.pass_(DAY)
        await tell(here, home)
        taken.taken.clear()

        link = await identities.confirm(here.home, (await asked(here)).id)
        await tell(here, home)
        here.clock.pass_(DAY)
        await identities.refuse(here.home, here.subject(ELISE), link.id)
        await tell(here, home)

        told = sorted((one.to, "refusez" in one.text, "refusé" in one.text) for one in taken.taken)
        each = [(to, said, not said) for to in ("elise@example.fr", "moreau@example.fr") for said in (False, True)]
        assert each == told

    async def test_on_the_channels_of_either_once_it_acts(self, here: World) -> None:
        taken = Taken()
        home = by_mail(here, taken)
        await held(here, home, "elise@example.fr")
        await here.give(CAF, MOVED, FAMILY, FIELDS)
        await linked(here)
        await tell(here, home)
        taken.taken.clear()

        declared = await here.declare(MOVED, here.moved(MOREAU))
        await here.take(CAF)
        await tell(here, home)

        number = uuid_text(declared.declaration_id)
        assert [("elise@example.fr", True)] * 2 == [(one.to, number in one.text) for one in taken.taken]

    async def test_and_nobody_of_the_other_before(self, here: World) -> None:
        taken = Taken()
        home = by_mail(here, taken)
        await held(here, home, "elise@example.fr")
        await identities.confirm(here.home, (await asked(here)).id)
        await tell(here, home)
        taken.taken.clear()

        await here.declare(MOVED, here.moved(MOREAU))
        await tell(here, home)

        assert [] == taken.taken
