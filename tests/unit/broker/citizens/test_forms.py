"""What a citizen declares: by the session and not by the form, once, and nothing of another person."""

from dataclasses import replace

import pytest

from broker.consents.protecting import Wanted
from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.flow.desk import pivot_of
from broker.services.citizens import following, forms, households
from broker.services.citizens.forms import Form
from broker.services.citizens.households import Person
from consent.representation import Measure
from schemas.assurance import Assurance
from schemas.errors import Refused, Unavailable
from schemas.hpke import Suite
from schemas.names import Capacity, EventType, PartyId
from tests.unit.broker.citizens.people import citizen, form_of, move
from tests.unit.broker.families import LOU, TIM, acts
from tests.world import BANK, CAF, CPAM, ELISE, FAMILY, HEALTH, MOVED, YANN, World

pytestmark = pytest.mark.asyncio
FIELDS = ("subject", "new_address")


async def refusal(work: object) -> tuple[str, str]:
    """Code and pointer of what it is refused with."""
    with pytest.raises(Refused) as fault:
        await work  # type: ignore[misc]
    return fault.value.code, fault.value.pointer


async def test_a_move_is_about_who_has_signed_in_and_says_how_sure_that_is(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, FIELDS)
    me = citizen(here, assurance=Assurance.LOW)

    told = await forms.declare(here.home, me, move(here), forms.begin(here.home))
    await here.home.router.route()
    (delivery,) = await here.take(CAF)

    assert ELISE | {"birthplace": "44109"} == dict(delivery.record["subject"])
    assert not told["repeated"]
    assert me.provenance == delivery.provenance
    assert [told["declaration"]] == [
        one["declaration"] for one in (await following.mine(here.home, me))["declarations"]
    ]
    await here.step()


async def publishes(here: World, event_type: EventType) -> None:
    """A party that is hosted here may declare it."""
    party = Party(
        id=PartyId("urn:unefois:pages"),
        name="pages",
        sector="pages",
        kind=PartyKind.PORTAL,
        address="1 rue d'Essai",
        contact="pages@example.fr",
        retention="rien",
        created_at=here.clock(),
    )
    await here.home.parties.enrol(Enrolment(party, 1, Suite.X25519, (event_type,)))


@pytest.mark.parametrize("name", ["subject", "declarant", "capacity"])
async def test_a_form_that_says_itself_whom_it_is_about_is_refused(here: World, name: str) -> None:
    form = move(here)
    form = replace(form, record={**form.record, name: {"subject": YANN, "declarant": YANN, "capacity": "parent"}[name]})

    found = await refusal(forms.declare(here.home, citizen(here), form, forms.begin(here.home)))

    assert ("citizens.filled-in", f"/record/{name}") == found


@pytest.mark.parametrize(
    "event_type", ["person.died.v2", "union.registered.v1", "representation.started.v1", "declaration.cancelled.v1"]
)
async def test_what_a_register_or_a_court_states_is_no_form_for_citizens(here: World, event_type: str) -> None:
    form = Form(EventType(f"fr.unefois.{event_type}"), {})

    for work in (
        forms.explain(here.home, citizen(here), form),
        forms.declare(here.home, citizen(here), form, forms.begin(here.home)),
    ):
        assert ("citizens.not-declarable", "/event_type") == await refusal(work)


async def test_only_the_name_in_use_is_changed_by_ones_own_word(here: World) -> None:
    named = EventType("fr.unefois.name.changed.v1")
    await publishes(here, named)
    record = {"nature": "family_name", "effective_date": "2026-12-01", "new_family_name": "Durand"}

    assert ("citizens.not-declarable", "/record/nature") == await refusal(
        forms.declare(here.home, citizen(here), Form(named, record), forms.begin(here.home))
    )
    usual = {"nature": "usual_name_taken", "effective_date": "2026-12-01", "new_usual_name": "Durand"}
    assert not (await forms.declare(here.home, citizen(here), Form(named, usual), forms.begin(here.home)))["repeated"]


async def test_sent_twice_under_one_id_it_is_one_declaration(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, FIELDS)
    of, me = forms.begin(here.home), citizen(here)

    first = await forms.declare(here.home, me, move(here), of)
    second = await forms.declare(here.home, me, move(here), of)
    await here.home.router.route()

    assert (False, True) == (first["repeated"], second["repeated"])
    assert first["receipt"] == second["receipt"]
    assert 1 == len(await here.take(CAF))


async def test_another_form_under_the_same_id_is_refused_and_so_is_somebody_elses(here: World) -> None:
    of = forms.begin(here.home)
    await forms.declare(here.home, citizen(here), move(here), of)

    for who, form in ((ELISE, move(here, occupants=2)), (YANN, move(here))):
        found = await refusal(forms.declare(here.home, citizen(here, who), form, of))
        assert ("intake.id-reused", "/payload/declaration_id") == found


async def test_what_is_wrong_is_told_by_its_place_in_the_form_all_at_once_and_nothing_is_kept(here: World) -> None:
    form = move(here, occupants=-1, new_commune="99999")
    of = forms.begin(here.home)

    with pytest.raises(Refused) as fault:
        await forms.declare(here.home, citizen(here), form, of)

    assert {"/record/occupants", "/record/new_commune"} <= {one.pointer for one in (fault.value, *fault.value.also)}
    assert not (await forms.declare(here.home, citizen(here), move(here), of))["repeated"]


async def test_a_dry_run_says_who_gets_what_on_which_ground_and_what_can_be_done(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, FIELDS)

    told = await forms.explain(here.home, citizen(here), move(here))
    lines = {(one["recipient"]["party"], one["purpose"]): one for one in told["lines"]}

    caf, cpam = lines[CAF, FAMILY], lines[CPAM, HEALTH]
    assert (True, False) == (caf["permitted"], cpam["permitted"])
    assert ["subject", "new_address"] == [one["name"] for one in caf["fields"]]
    (ground,) = caf["grounds"]
    assert ("consent", None, False) == (ground["basis"], ground["article"], ground["objection"])
    assert "retirer" in ground["remedy"]["fr"]
    assert ("no-grant", []) == (cpam["reason"], cpam["grounds"])
    assert cpam["why"]["fr"] in cpam["sentence"]["fr"]
    assert [] == (await following.mine(here.home, citizen(here)))["declarations"]


async def test_a_protected_persons_own_dry_run_says_what_the_router_will_do(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, FIELDS)
    await here.home.protecting.protect(Wanted(subject=here.subject(), places=frozenset(), parties=frozenset({CAF})))

    told = await forms.explain(here.home, citizen(here), move(here))

    assert [False] == [one["permitted"] for one in told["lines"] if one["recipient"]["party"] == CAF]


async def test_nobody_learns_what_another_has_allowed_by_a_dry_run_in_their_name(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, FIELDS, person=LOU)
    form = replace(move(here), person=pivot_of(LOU), capacity=Capacity.PARENT)

    assert ("representations.none", "/person") == await refusal(forms.explain(here.home, citizen(here), form))
    assert (
        "representations.none"
        == (await refusal(forms.declare(here.home, citizen(here), form, forms.begin(here.home))))[0]
    )

    await acts(here, Measure.PARENTAL_AUTHORITY, subject=LOU)
    told = await forms.explain(here.home, citizen(here), form)
    assert [True] == [one["permitted"] for one in told["lines"] if one["recipient"]["party"] == CAF]


async def test_a_parents_dry_run_for_a_protected_child_is_as_if_nobody_were_protected(here: World) -> None:
    """The other parent may be whom the child is protected from; what was allowed there has ended, as any consent can,
    and what is allowed afterwards opens nothing.
    """
    await acts(here, Measure.PARENTAL_AUTHORITY, subject=LOU)
    form = replace(move(here), person=pivot_of(LOU), capacity=Capacity.PARENT)
    hidden = Wanted(subject=here.subject(LOU), places=frozenset(), parties=frozenset({CAF}))
    await here.home.protecting.protect(hidden)
    await here.give(CAF, MOVED, FAMILY, FIELDS, person=LOU)

    parents = await forms.explain(here.home, citizen(here), form)
    own = await forms.explain(here.home, citizen(here, LOU), move(here))

    for told, expected in ((parents, True), (own, False)):
        assert [expected] == [one["permitted"] for one in told["lines"] if one["recipient"]["party"] == CAF]


async def test_a_household_of_four_goes_together_and_the_other_adult_confirms_in_their_own_session(here: World) -> None:
    for child in (LOU, TIM):
        await acts(here, Measure.PARENTAL_AUTHORITY, subject=child)
    for person in (ELISE, YANN, LOU, TIM):
        await here.give(CAF, MOVED, FAMILY, FIELDS, person=person)
    of, me, yann = forms.begin(here.home), citizen(here), citizen(here, YANN)
    others = [
        Person(pivot_of(YANN)),
        Person(pivot_of(LOU), Capacity.PARENT),
        Person(pivot_of(TIM), Capacity.PARENT),
    ]

    first = await households.declare_household(here.home, me, move(here), others, of)
    again = await households.declare_household(here.home, me, move(here), others, of)
    assert (3, [1]) == (len(first["declarations"]), [one["member"] for one in first["waiting"]])
    assert first["waiting"] == again["waiting"]
    assert [one["receipt"] for one in first["declarations"]] == [one["receipt"] for one in again["declarations"]]
    await here.home.router.route()
    assert 3 == len(await here.take(CAF))

    code = first["waiting"][0]["code"]
    stranger = citizen(here, LOU)
    for who in (stranger, me):
        found = await refusal(households.confirm(here.home, who, of, move(here), code=code, of=forms.begin(here.home)))
        assert "households.unknown" == found[0]
        assert "households.unknown" == (await refusal(households.decline(here.home, who, of, code)))[0]

    mine, theirs = forms.begin(here.home), []
    for _ in range(2):
        theirs.append(await households.confirm(here.home, yann, of, move(here), code=code, of=mine))
    await here.home.router.route()
    assert theirs[0]["receipt"] == theirs[1]["receipt"]
    assert 1 == len(await here.take(CAF))
    assert 1 == len((await following.mine(here.home, yann))["declarations"])
    await here.step()


async def test_what_is_wrong_with_one_of_a_household_is_told_by_their_place_and_nothing_of_it_is_kept(
    here: World,
) -> None:
    await acts(here, Measure.PARENTAL_AUTHORITY, subject=LOU)
    of, me = forms.begin(here.home), citizen(here)
    good, foreign = Person(pivot_of(LOU), Capacity.PARENT), Person(pivot_of(TIM), Capacity.PARENT)

    for others, expected in (
        ([good, foreign], ("representations.none", "/others/1/person")),
        ([replace(good, record={"occupants": -1})], ("values.out-of-range", "/others/0/record/occupants")),
        ([replace(good, record={"capacity": "self"})], ("citizens.filled-in", "/others/0/record/capacity")),
        (
            [replace(good, person=replace(pivot_of(LOU), birthdate="never"))],
            ("values.partial-date", "/others/0/person/birthdate"),
        ),
    ):
        found = await refusal(households.declare_household(here.home, me, move(here), others, of))
        assert expected == found
    assert [] == (await following.mine(here.home, me))["declarations"]
    assert 2 == len((await households.declare_household(here.home, me, move(here), [good], of))["declarations"])


async def test_a_household_declares_a_move_and_nothing_else_by_one_form(here: World) -> None:
    form = form_of(BANK, here.bank())

    found = await refusal(households.declare_household(here.home, citizen(here), form, [], forms.begin(here.home)))

    assert ("citizens.no-household", "/event_type") == found


async def test_a_form_that_a_crash_cut_short_is_one_declaration_when_it_is_sent_again(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await here.give(CAF, MOVED, FAMILY, FIELDS)
    of, me, accept = forms.begin(here.home), citizen(here), here.home.intake.accept

    async def away(envelope: bytes) -> object:
        await accept(envelope)
        raise Unavailable("store.away")

    monkeypatch.setattr(here.home.intake, "accept", away)
    with pytest.raises(Unavailable):
        await forms.declare(here.home, me, move(here), of)
    monkeypatch.setattr(here.home.intake, "accept", accept)
    told = await forms.declare(here.home, me, move(here), of)
    await here.home.router.route()

    assert told["repeated"]
    assert 1 == len(await here.take(CAF))


async def test_one_adult_of_a_household_decides_nothing_for_another(here: World) -> None:
    """Whoever hands out the codes may give somebody the other's."""
    of, ana = forms.begin(here.home), {**ELISE, "given_names": ["Ana"]}
    others = [Person(pivot_of(YANN)), Person(pivot_of(ana))]
    told = await households.declare_household(here.home, citizen(here), move(here), others, of)
    anas = next(one["code"] for one in told["waiting"] if one["member"] == 2)
    yann, mine = citizen(here, YANN), forms.begin(here.home)

    assert "households.unknown" == (await refusal(households.decline(here.home, yann, of, anas)))[0]
    confirmed = households.confirm(here.home, yann, of, move(here), code=anas, of=mine)
    assert "households.unknown" == (await refusal(confirmed))[0]

    hers = await households.confirm(here.home, citizen(here, ana), of, move(here), code=anas, of=forms.begin(here.home))
    assert not hers["repeated"]
