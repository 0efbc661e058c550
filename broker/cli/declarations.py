"""Commands about declarations: explain, declare, track.

Refuses: to show a value of the file that it reads.
Keeps: nothing of its own; `connectors.draft` reads, `broker.services.declarations` does the rest.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import chosen, command, say
from broker.cli.parties import full_type
from broker.cli.session import assignments, at_home, read_file, write_file
from broker.cli.show import answer, line, pairs, table
from broker.cli.stating import AssuranceOption, ChannelOption, QualityOption, provenance_of

if TYPE_CHECKING:
    from broker.flow.arrived import Accepted
    from broker.setup.wiring import Home
    from connectors.draft import Draft
    from schemas.assurance import Provenance
    from schemas.names import DeclarationId, PartyId

FileArgument = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="JSON or YAML; `-` reads what is piped in. Optional fields may be left out."),
]
TypeOption = Annotated[
    str | None,
    typer.Option("--type", help="address.changed, or the full name; where neither mapping nor file says it."),
]
MappingOption = Annotated[
    str | None,
    typer.Option(
        "--mapping", metavar="M", help="A mapping file, or the name of a packaged one, for a file of another shape."
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the mapping. Repeatable.")
]
SourceOption = Annotated[
    str | None, typer.Option("--source", metavar="ID", help="Who declares, where several parties here may.")
]

_PROGRESS = {
    "sent": ("Transmise", "Sent"),
    "received": ("Reçue", "Received"),
    "in-progress": ("En cours", "In progress"),
    "done": ("Traitée", "Done"),
    "refused": ("Refusée", "Refused"),
    "withheld": ("Retenue", "Withheld"),
    "to-complete": ("À compléter", "To complete"),
    "technical": ("Problème technique", "Technical problem"),
}


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    command(app, "explain")(explain)
    command(app, "declare")(declare)
    command(app, "track")(track)


def explain(
    file: FileArgument,
    *,
    event_type: TypeOption = None,
    mapping: MappingOption = None,
    parameters: SetOption = None,
    source: SourceOption = None,
    assurance: AssuranceOption = None,
    quality: QualityOption = None,
    channel: ChannelOption = None,
) -> None:
    """Who would get what, and who would get nothing and why. Nothing is sent and nothing is written.

    Example: unefois explain move.yaml --type address.changed
    """
    draft = _draft(file, event_type, mapping, parameters)
    told = _explained(draft, source, provenance_of(assurance, quality, channel))

    def text() -> None:
        _show_warnings(told["warnings"])
        for one in told["lines"]:
            line(f"{'+' if one['permitted'] else '-'} {one['sentence']}")
        if told["held_until"] is not None and told["lines"]:
            line(f"{say('rien ne part avant le', 'nothing goes out before')} {told['held_until']}")
        if not told["lines"]:
            line(say("Personne n'a demandé ce type de déclaration.", "Nobody has asked for this type of declaration."))
        if told["elsewhere"]:
            line(
                say(
                    f"- {told['elsewhere']} autres abonnements concernent d'autres territoires.",
                    f"- {told['elsewhere']} more subscriptions are for other territories.",
                )
            )

    answer(told, text)


def declare(
    file: FileArgument,
    *,
    event_type: TypeOption = None,
    mapping: MappingOption = None,
    parameters: SetOption = None,
    source: SourceOption = None,
    assurance: AssuranceOption = None,
    quality: QualityOption = None,
    channel: ChannelOption = None,
    corrects: Annotated[
        str | None, typer.Option("--corrects", metavar="ID", help="The declaration that this one puts right.")
    ] = None,
    declaration: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="A UUIDv7 of your own: said again within a day, it is the same."),
    ] = None,
    receipt: Annotated[
        Path | None, typer.Option("--receipt", metavar="FILE", help="Write the intake's signed receipt (JSON) here.")
    ] = None,
) -> None:
    """Sign, seal and hand in a declaration. It is kept durably when this returns; `unefois run` routes it.

    Example: unefois declare move.yaml --type address.changed

    Example: unefois declare row.json --mapping ./our-rows.in.yaml --set effective-date=2026-11-02
    """
    draft = _draft(file, event_type, mapping, parameters)
    stated = provenance_of(assurance, quality, channel)
    told, signed = _declared(draft, source, corrects, declaration, stated)
    if receipt is not None:
        write_file(receipt, signed)

    def text() -> None:
        _show_warnings(told["warnings"])
        pairs(
            [
                (say("déclaration", "declaration"), told["declaration"]),
                (say("reçue", "received"), told["received_at"]),
                (say("déjà reçue", "received before"), say("oui", "yes") if told["repeated"] else None),
            ]
        )

    answer(told, text)


def track(declaration: Annotated[str, typer.Argument(metavar="ID", help="What `unefois declare` printed.")]) -> None:
    """How far a declaration got with each administration, and who got nothing and why. The look is in the ledger.

    Example: unefois track 0192f3a1-...
    """
    from broker.cli import shapes
    from broker.services import declarations
    from schemas.names import DeclarationId

    of = DeclarationId.parse(declaration)
    told = shapes.track(at_home(lambda home: declarations.track(home, of)))
    answer(told, lambda: _show_track(told))


def progress_word(progress: str) -> str:
    """How far a delivery got, in words."""
    return say(*_PROGRESS[progress])


def _draft(file: Path, event_type: str | None, mapping: str | None, parameters: list[str] | None) -> "Draft":
    from connectors import draft
    from schemas.catalogue import builtin
    from schemas.names import EventType

    if mapping is None and parameters:
        raise typer.BadParameter("goes with --mapping", param_hint="--set")
    document = draft.read(read_file(file))
    if mapping is None:
        return draft.of_record(document, None if event_type is None else EventType(full_type(event_type)), builtin())
    if event_type is not None:
        raise typer.BadParameter("the mapping names the type", param_hint="--type")
    values: Mapping[str, str | None] = assignments(parameters or [])
    return draft.of_mapping(document, _mapping(mapping), values, builtin())


def _mapping(name: str) -> Any:
    """The file at this path, or the packaged one of this name."""
    from connectors.mapping_files import find, loaded

    path = Path(name)
    return loaded(read_file(path), name, path) if path.is_file() else find(name, Path())


def _explained(draft: "Draft", source: str | None, stated: "Provenance | None") -> dict[str, Any]:
    from broker.services import declarations
    from broker.shapes import time_of
    from consent.explain import explain as sentence_of
    from consent.policy import Permit

    of = _source(source)
    found = at_home(lambda home: declarations.explain(home, draft.event_type, draft.record, of, stated))
    language = chosen().language
    labels = {each.name: each.label[language] for each in found.event.fields}
    lines = []
    for one in found.dry.lines:
        permit = one.decision if isinstance(one.decision, Permit) else None
        sentence = sentence_of(
            one.decision,
            found.dry.facts,
            one.subscription,
            language,
            recipient_name=found.names.get(one.subscription.recipient),
            field_labels=labels,
        )
        lines.append(
            {
                "recipient": one.subscription.recipient,
                "purpose": one.subscription.purpose,
                "permitted": permit is not None,
                "fields": [] if permit is None else list(permit.fields),
                "basis": [] if permit is None else [share.basis.text for share in permit.shares],
                "reason": None if isinstance(one.decision, Permit) else one.decision.reason.value,
                "sentence": sentence,
            }
        )
    return {
        "source": found.source,
        "event_type": draft.event_type,
        "lines": lines,
        "elsewhere": found.dry.elsewhere,
        "held_until": time_of(found.dry.held_until),
        "warnings": _warnings(draft),
    }


def _declared(
    draft: "Draft",
    source: str | None,
    corrects: str | None,
    declaration: str | None,
    stated: "Provenance | None",
) -> tuple[dict[str, Any], bytes]:
    from broker import shapes
    from broker.observability import tracing
    from broker.services import declarations

    of, own, wrong = _source(source), _id(declaration), _id(corrects)

    async def work(home: "Home") -> "tuple[PartyId, Accepted]":
        tracing.CURRENT.set(tracing.TraceId.read(os.environ.get("TRACEPARENT")))  # as OpenTelemetry has it for commands
        return await declarations.declare(
            home, draft.event_type, draft.record, of, corrects=wrong, declaration_id=own, provenance=stated
        )

    who, accepted = at_home(work)
    told = {
        "declaration": shapes.uuid_of(accepted.declaration_id),
        "manifest": accepted.digest.hex(),
        "source": who,
        "event_type": draft.event_type,
        "received_at": shapes.time_of(accepted.received_at),
        "repeated": accepted.repeated,
        "receipt": accepted.receipt.decode(),
        "warnings": _warnings(draft),
    }
    return told, accepted.receipt


def _source(text: str | None) -> "PartyId | None":
    from schemas.names import PartyId

    return None if text is None else PartyId(text)


def _id(text: str | None) -> "DeclarationId | None":
    from schemas.names import DeclarationId

    return None if text is None else DeclarationId.parse(text)


def _warnings(draft: "Draft") -> list[dict[str, Any]]:
    from broker.cli import shapes
    from schemas.catalogue import RETIREMENTS
    from schemas.formats import Warning as Odd

    odd = [Odd("catalogue.retiring", "/event_type")] if draft.event_type in RETIREMENTS else []
    return [shapes.coded(each, each.pointer, chosen().language) for each in (*odd, *draft.warnings)]


def _show_warnings(warnings: list[dict[str, Any]]) -> None:
    for one in warnings:
        line(f"! {one['pointer']}  {one['message']} {one['remedy']}")


def _acting(told: dict[str, Any] | None) -> str | None:
    """Who made it for its subject; None, and no line, where nobody did."""
    if told is None:
        return None
    who = {
        "parent": say("un parent", "a parent"),
        "guardian": say("qui représente la personne", "whoever represents the person"),
        "next_of_kin": say("un proche", "a relative"),
        "agent": say("une personne mandatée", "somebody with a mandate"),
    }[told["capacity"]]
    how = {
        "record": say("acte enregistré", "an act on record"),
        "source": say("vérifié par la source", "checked by the source"),
        "relative": say("sans acte", "without an act"),
    }[told["known"]]
    return f"{who} ({how})"


def _show_track(told: dict[str, Any]) -> None:
    waiting = say("attend dans le journal : `unefois run`", "waits in the log: `unefois run`")
    parked, letter = told["parked"], say("lettre morte", "dead letter")
    if parked is not None:
        waiting = f"{say('mise de côté', 'set aside')}, {parked['at']}: {letter} {parked['letter']} ({parked['code']})"
    pairs(
        [
            (say("déclaration", "declaration"), told["declaration"]),
            (say("type", "type"), told["event_type"]),
            (say("source", "source"), told["source"]),
            (say("corrige", "corrects"), told["corrects"]),
            (say("déclarée par", "declared by"), _acting(told["acted_for"])),
            (say("reçue", "received"), told["received_at"]),
            (say("routée", "routed"), told["routed_at"] or waiting),
        ]
    )
    line("")
    table(
        [
            say("destinataire", "recipient"),
            say("finalité", "purpose"),
            say("état", "progress"),
            say("raison", "reason"),
            say("depuis", "since"),
            say("champs", "fields"),
        ],
        [
            (
                step["recipient"],
                step["purpose"],
                progress_word(step["progress"]),
                _because(step),
                step["since"],
                ", ".join(step["fields"]),
            )
            for step in told["steps"]
        ],
    )
    for until in sorted({step["held_until"] for step in told["steps"] if step["held_until"] is not None}):
        held = say("retenue jusqu'au", "held until")
        line(f"{held} {until}: `unefois hold list`")
    for number in sorted(step["letter"] for step in told["steps"] if step["letter"] is not None):
        line(f"{letter} {number}: `unefois dead show {number}`")


def _because(step: dict[str, Any]) -> str | None:
    """The reason; with the day by which somebody decides, or what was taken."""
    reason: str | None = step["reason"]
    if step["until"] is not None:
        day = step["until"] + say(" (dépassé)", " (late)") * step["late"]
        return f"{reason}, {say('avant le', 'by')} {day}"
    return reason if step["taken"] is None else f"{reason}: {', '.join(step['taken'])}"
