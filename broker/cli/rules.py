"""Commands about rules by law, which hold for everybody (`unefois rule ...`), and objections to them (`unefois object`,
`unefois unobject`).

Refuses: a citizen's name as a word of the command line.
Keeps: nothing of its own; `broker.services.rules` does it.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import command, say
from broker.cli.grants import GivenBy, PersonOption, document_of, show_objection
from broker.cli.parties import full_type
from broker.cli.session import at_home, instant
from broker.cli.show import answer, each, pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from broker.consents.objections import Objected
    from broker.setup.wiring import Home
    from consent.rules import Rule
    from schemas.names import RuleId, SubjectRef

app = typer.Typer(no_args_is_help=True, help="Rules by law: who hears of everybody, by which article.")

RuleArgument = Annotated[str, typer.Argument(metavar="RULE", help="As `unefois rule list` shows it.")]


def register(root: typer.Typer) -> None:
    """Add the commands to the root."""
    root.add_typer(app, name="rule")
    command(root, "object")(object_to)
    command(root, "unobject")(unobject)


@command(app, "ask")
def ask(
    *,
    recipient: Annotated[str, typer.Option("--recipient", metavar="ID", help="Who wants to receive.")],
    event_type: Annotated[str, typer.Option("--type", help="address.changed, or the full name.")],
    purpose: Annotated[str, typer.Option("--purpose", help="What for; the subscription has the same.")],
    fields: Annotated[list[str], typer.Option("--field", help="A field that the article provides for. Repeatable.")],
    article: Annotated[str, typer.Option("--article", help="The article of law, as citizens will read it.")],
    firm: Annotated[bool, typer.Option("--firm", help="The text provides for no objection.")] = False,
    start: Annotated[
        str | None, typer.Option("--from", metavar="WHEN", help="The first day (UTC) that the text allows.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="WHEN", help="The last day (UTC).")] = None,
    territories: Annotated[
        list[str] | None,
        typer.Option("--territory", help="An area: 35238, 35, R53. Repeatable. Default: as its subscription."),
    ] = None,
    least_assurance: Annotated[
        str | None,
        typer.Option("--least-assurance", metavar="WORD", help="How the person must be known: low, substantial, high."),
    ] = None,
    least_quality: Annotated[
        str | None,
        typer.Option("--least-quality", metavar="WORD", help="What the fact must rest on: certified, authentic."),
    ] = None,
) -> None:
    """Ask on an administration's behalf to hear of everybody, because an article of law provides for it.

    It allows nothing until it is approved. Its territories and how sure a declaration must be narrow what its
    subscription asks for.

    Example: unefois rule ask --recipient urn:fr:siret:77568501300025 --type
    address.changed --purpose family-benefits --field subject --field new_address --article "CSS, art. L114-19"
    """
    from broker.services import rules
    from schemas.assurance import least_of
    from schemas.names import EventType, PartyId, Purpose

    least = least_of(least_assurance or "none", least_quality or "declared")
    begins_at = None if start is None else instant(start, end_of_day=False)
    ends_at = None if until is None else instant(until, end_of_day=True)
    _tell(
        lambda home: rules.ask(
            home,
            recipient=PartyId(recipient),
            event_type=EventType(full_type(event_type)),
            purpose=Purpose(purpose),
            fields=fields,
            article=article,
            objection=not firm,
            begins_at=begins_at,
            ends_at=ends_at,
            territories=territories,
            least=least,
        )
    )


@command(app, "approve")
def approve(rule: RuleArgument) -> None:
    """Let a rule act for everybody, `rule_delay_hours` from now; everybody can see it in the ledger meanwhile.

    Example: unefois rule approve 0192f3a1-...
    """
    from broker.services import rules

    of = _id(rule)
    _tell(lambda home: rules.approve(home, of))


@command(app, "narrow")
def narrow(
    rule: RuleArgument,
    *,
    fields: Annotated[
        list[str] | None, typer.Option("--field", help="A field that it keeps; the others go. Repeatable.")
    ] = None,
    territories: Annotated[
        list[str] | None, typer.Option("--territory", help="An area that it keeps, or a part of one. Repeatable.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="WHEN", help="An earlier last day (UTC).")] = None,
) -> None:
    """Make a rule allow less: from now on nothing more is handed out under it, of anybody. It never grows again.

    What waits already and has more is withheld; upkeep plans the fields that are left.

    Example: unefois rule narrow 0192f3a1-... --field subject --until 2027-06-30
    """
    from broker.services import rules

    of, ends_at = _id(rule), None if until is None else instant(until, end_of_day=True)
    _tell(lambda home: rules.narrow(home, of, fields=fields, territories=territories, ends_at=ends_at))


@command(app, "end")
def end(rule: RuleArgument) -> None:
    """End a rule: from now on nothing is handed out under it, of anybody.

    Example: unefois rule end 0192f3a1-...
    """
    from broker.services import rules

    of = _id(rule)
    _tell(lambda home: rules.end(home, of))


@command(app, "list")
def list_rules() -> None:
    """Every rule by law: asked for, approved, ended.

    Example: unefois rule list
    """
    from broker import shapes
    from broker.services import rules

    found = [shapes.rule(one) for one in at_home(rules.every)]

    answer({"rules": found}, lambda: each(found, _show))


def object_to(
    rule: RuleArgument,
    *,
    person: PersonOption,
    reason: Annotated[
        str, typer.Option("--reason", help="One word, such as personal-situation; never the citizen's own words.")
    ] = "personal-situation",
    given_by: GivenBy = "self",
) -> None:
    """Record that a citizen objects to a rule by law: nothing more goes out under it, also of what is under way.

    Example: unefois object 0192f3a1-... --person me.yaml
    """
    from broker.services import rules

    of = _id(rule)
    _change(person, lambda home, whose: rules.object_to(home, whose, of, reason=reason, given_by=given_by))


def unobject(rule: RuleArgument, *, person: PersonOption, given_by: GivenBy = "self") -> None:
    """Withdraw a citizen's objection: the rule counts again, for what comes.

    Example: unefois unobject 0192f3a1-... --person me.yaml
    """
    from broker.services import rules

    of = _id(rule)
    _change(person, lambda home, whose: rules.withdraw_objection(home, whose, of, given_by=given_by))


def _change(person: PersonOption, change: "Callable[[Home, SubjectRef], Coroutine[Any, Any, Objected]]") -> None:
    """One objection of one citizen; then as it is now."""
    from broker.cli import shapes
    from broker.services.viewing import for_person

    document = document_of(person)
    done = at_home(lambda home: for_person(home, document, lambda whose: change(home, whose)))
    made, entry = shapes.objection(done.objection), done.entry.hex()

    def text() -> None:
        show_objection(made)
        pairs([(say("entrée du registre", "ledger entry"), entry)])

    answer({"objection": made, "entry": entry}, text)


def _tell(work: "Callable[[Home], Coroutine[Any, Any, Rule]]") -> None:
    """One change of one rule; then as it is now."""
    from broker import shapes

    told = shapes.rule(at_home(work))
    answer(told, lambda: _show(told))


def _id(text: str) -> "RuleId":
    from schemas.names import RuleId

    return RuleId.parse(text)


def _show(told: dict[str, Any]) -> None:
    yes, no = say("oui", "yes"), say("non", "no")
    pairs(
        [
            (say("règle", "rule"), told["id"]),
            (say("destinataire", "recipient"), told["recipient"]),
            (say("type", "type"), told["event_type"]),
            (say("finalité", "purpose"), told["purpose"]),
            (say("champs", "fields"), ", ".join(told["fields"])),
            (say("texte", "article"), told["article"]),
            (say("opposition possible", "objection possible"), yes if told["objection"] else no),
            (say("état", "status"), told["status"]),
            (say("agit depuis", "acts from"), told["acts_from"] or told["begins_at"]),
            (say("jusqu'à", "until"), told["ends_at"]),
            (say("territoires", "territories"), ", ".join(told["territories"] or ()) or None),
            (say("au moins", "at least"), _least(told)),
            (say("réduite le", "narrowed at"), told["narrowed_at"]),
        ]
    )


def _least(told: dict[str, Any]) -> str | None:
    words = (told["least_assurance"], told["least_quality"])
    return None if words == ("none", "declared") else ", ".join(words)
