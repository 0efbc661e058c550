"""Commands about people in danger: `unefois protect ...`.

Refuses: a person's name as a word of the command line.
Keeps: nothing of its own; `broker.services.protecting` does it. Whoever writes a protection down reads the same answer
whether there was one before or not.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import command, say
from broker.cli.grants import GivenBy, PersonOption, document_of
from broker.cli.session import at_home, instant
from broker.cli.show import answer, each, pairs

if TYPE_CHECKING:
    from broker.consents.protecting import Wanted
    from broker.people.protection import Protection
    from broker.services.protecting import Look
    from broker.setup.wiring import Home

app = typer.Typer(no_args_is_help=True, help="People in danger: what they left hears nothing of them.")

PlaceOption = Annotated[
    list[str] | None,
    typer.Option("--place", metavar="CODE", help="The commune that the person left, or another area. Repeatable."),
]
PartyOption = Annotated[
    list[str] | None, typer.Option("--party", metavar="ID", help="A recipient that hears nothing, wherever it is.")
]
ChildOption = Annotated[
    list[Path] | None,
    typer.Option("--child", metavar="FILE", help="A child's pivot identity: protected as the person. Repeatable."),
]
HousemateOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--housemate", metavar="FILE", help="Somebody in whose declarations the person may be named. Repeatable."
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="One word; never the person's own words.")]


@command(app, "add")
def add(
    *,
    person: PersonOption,
    place: PlaceOption = None,
    party: PartyOption = None,
    child: ChildOption = None,
    housemate: HousemateOption = None,
    reason: ReasonOption = "danger",
    until: Annotated[str | None, typer.Option("--until", metavar="WHEN", help="The last day (UTC).")] = None,
    given_by: GivenBy = "self",
) -> None:
    """Keep a person in danger from the place and the recipients that they name: nothing more of them is released there.

    Said again, it adds to what was said before, and answers the same.

    Example: unefois protect add --person me.yaml --place 35238 --child lou.yaml --housemate him.yaml
    """
    from broker.services import protecting

    told = _Typed(
        person=person,
        place=place,
        party=party,
        child=child,
        housemate=housemate,
        reason=reason,
        until=until,
        given_by=given_by,
    )

    async def work(home: "Home") -> "Protection":
        return await protecting.add(home, await told.wanted(home))

    made = at_home(work)
    _done(made)


@command(app, "notice")
def notice(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="The notice's, as the prosecutor writes it.")],
    *,
    person: PersonOption,
    place: PlaceOption = None,
    party: PartyOption = None,
    child: ChildOption = None,
    housemate: HousemateOption = None,
    reason: ReasonOption = "prosecutor",
    until: Annotated[str | None, typer.Option("--until", metavar="WHEN", help="The last day (UTC).")] = None,
    given_by: GivenBy = "self",
) -> None:
    """The same on a notice of the prosecutor, by two persons.

    Example: unefois protect notice "PR Rennes 2026/114" --person her.yaml --place 35238 --until 2027-06-30
    """
    from broker.services import protecting

    told = _Typed(
        person=person,
        place=place,
        party=party,
        child=child,
        housemate=housemate,
        reason=reason,
        until=until,
        given_by=given_by,
        reference=reference,
    )

    async def work(home: "Home") -> "Protection":
        return await protecting.by_notice(home, await told.wanted(home))

    made = at_home(work)
    _done(made)


@command(app, "lift")
def lift(*, person: PersonOption, given_by: GivenBy = "self") -> None:
    """End a protection, three days from now, because the protected person has come and asks for it. By two persons.

    The person is told at every address that they had before.

    Example: unefois protect lift --person me.yaml
    """
    from broker.services import protecting
    from broker.services.viewing import subject_of

    document = document_of(person)

    async def work(home: "Home") -> "Protection":
        return await protecting.lift(home, await subject_of(home, document), given_by=given_by)

    _done(at_home(work))


@command(app, "keep")
def keep(*, person: PersonOption) -> None:
    """Keep a protection that was about to be lifted.

    Example: unefois protect keep --person me.yaml
    """
    from broker.services import protecting
    from broker.services.viewing import subject_of

    document = document_of(person)

    async def work(home: "Home") -> "Protection":
        return await protecting.keep(home, await subject_of(home, document))

    _done(at_home(work))


@command(app, "show")
def show(*, person: PersonOption) -> None:
    """What protects one person, for the DPO. The look is written into the ledger, as any.

    Example: unefois protect show --person me.yaml
    """
    from broker.services import protecting
    from broker.services.viewing import subject_of

    document = document_of(person)

    async def work(home: "Home") -> "Protection | None":
        return await protecting.show(home, await subject_of(home, document))

    found = at_home(work)
    told = None if found is None else _all(found)
    answer({"protection": told}, lambda: _show(told or {}))


@command(app, "list")
def list_all() -> None:
    """Every protection that stands, for the DPO, without the persons: by number, with its notice and its end.

    Example: unefois protect list
    """
    from broker.services import protecting

    found = [
        {"number": one.number, **_all(one.protection), "children": one.children} for one in at_home(protecting.listed)
    ]
    answer({"protections": found}, lambda: each(found, _show))


@command(app, "looks")
def looks(
    since: Annotated[str, typer.Option("--since", metavar="WHEN", help="From this day on.")] = "2020-01-01",
) -> None:
    """Who has looked at the file of a protected person, for the DPO: the newest first.

    Example: unefois protect looks --since 2026-12-01
    """
    from broker.services import protecting

    begins = instant(since, end_of_day=False)
    found = [_look(one) for one in at_home(lambda home: protecting.looks(home, begins))]
    answer({"looks": found}, lambda: each(found, _show))


@command(app, "request")
def request(identifier: Annotated[str, typer.Argument(metavar="ID", help="As `unefois approvals` shows it.")]) -> None:
    """What you are asked to approve about a protection: it is nowhere else to be read.

    Example: unefois protect request 0d9f5c1e-...
    """
    from uuid import UUID

    from broker.services import approvals, protecting

    try:
        of = UUID(identifier).bytes
    except ValueError:
        raise typer.BadParameter("an id as `unefois approvals` shows it", param_hint="ID") from None

    async def work(home: "Home") -> dict[str, Any] | None:
        found = await protecting.request(home, of)
        return None if found is None else dict(approvals.shown(home, found.request))

    told = at_home(work)
    answer({"request": told}, lambda: _show(told or {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Typed:
    """What was typed."""

    person: Path
    place: list[str] | None
    party: list[str] | None
    child: list[Path] | None
    housemate: list[Path] | None
    reason: str
    until: str | None
    given_by: str
    reference: str | None = None

    async def wanted(self, home: "Home") -> "Wanted":
        """As the services know it."""
        from broker.consents.protecting import Wanted
        from broker.services.viewing import subject_of
        from schemas.names import PartyId

        return Wanted(
            subject=await subject_of(home, document_of(self.person)),
            places=frozenset(self.place or ()),
            parties=frozenset(PartyId(one) for one in self.party or ()),
            children=frozenset([await subject_of(home, document_of(one)) for one in self.child or ()]),
            housemates=frozenset([await subject_of(home, document_of(one)) for one in self.housemate or ()]),
            reason=self.reason,
            notice=self.reference,
            until=None if self.until is None else instant(self.until, end_of_day=True),
            given_by=self.given_by,
        )


def _done(made: "Protection") -> None:
    """What was asked for, and no word of what was there before."""
    from broker.shapes import time_of

    told = {"protected": True, "lifts_at": time_of(made.lifts_at)}
    answer(told, lambda: _show(told))


def _all(one: "Protection") -> dict[str, Any]:
    from broker.shapes import time_of

    return {
        "since": time_of(one.since),
        "until": time_of(one.until),
        "lifts_at": time_of(one.lifts_at),
        "places": sorted(one.places),
        "parties": sorted(one.parties),
        "reason": one.reason,
        "notice": one.notice,
        "given_by": one.given_by,
        "by": list(one.by),
    }


def _look(one: "Look") -> dict[str, Any]:
    from broker.shapes import time_of

    return {"number": one.number, "at": time_of(one.at), "entry": one.entry.hex(), "operator": one.operator}


def _show(told: dict[str, Any]) -> None:
    words = {
        "protected": say("protégée", "protected"),
        "number": say("numéro", "number"),
        "since": say("depuis", "since"),
        "until": say("jusqu'à", "until"),
        "lifts_at": say("fin demandée pour", "ends, as asked, at"),
        "places": say("lieux", "places"),
        "parties": say("destinataires", "recipients"),
        "reason": say("motif", "reason"),
        "notice": say("avis", "notice"),
        "given_by": say("demandée par", "asked for by"),
        "by": say("enregistrée par", "written down by"),
        "children": say("enfants", "children"),
        "at": say("le", "at"),
        "entry": say("entrée du registre", "ledger entry"),
        "operator": say("compte", "account"),
    }
    pairs([(words.get(name, name), _text(one)) for name, one in told.items() if one not in (None, "", [])])


def _text(told: Any) -> str:
    if isinstance(told, bool):
        return say("oui", "yes") if told else say("non", "no")
    return ", ".join(map(str, told)) if isinstance(told, list) else str(told)
