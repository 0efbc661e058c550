"""Commands about consents and mandates by law: grant, revoke, pause, resume, narrow, grants.

Refuses: a citizen's name as a word of the command line, where the shell's history and other processes could read it.
Keeps: nothing of its own; `broker.services.consents` does it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from broker.cli.frame import chosen, command, say
from broker.cli.parties import full_type
from broker.cli.session import at_home, instant, read_file, write_file
from broker.cli.show import answer, each, line, pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from broker.services import consents
    from broker.services.consents import Signed
    from broker.setup.wiring import Home
    from consent.basis import Basis
    from consent.grant import Voice
    from schemas.names import GrantId

PersonOption = Annotated[
    Path,
    typer.Option(
        "--person",
        metavar="FILE",
        help="The citizen's pivot identity (JSON or YAML: family_name, given_names, birthdate, gender, birthplace, "
        "birthcountry), so that no name is in the shell's history. `-` reads what is piped in.",
    ),
]
GrantArgument = Annotated[str, typer.Argument(metavar="GRANT", help="The grant's id, as `unefois grants` shows it.")]
ReceiptOption = Annotated[
    Path | None, typer.Option("--receipt", metavar="FILE", help="Write the signed receipt (JSON) here.")
]
GivenBy = Annotated[str, typer.Option("--given-by", help="Who speaks: self, or an agent's number. Never a name.")]
CapacityOption = Annotated[
    Literal["self", "parent", "guardian", "next_of_kin", "agent"],
    typer.Option("--capacity", help="In which capacity they speak for the citizen."),
]
ChannelOption = Annotated[
    Literal["online", "counter", "phone", "post", "system"], typer.Option("--channel", help="How they spoke.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    command(app, "grant")(grant)
    command(app, "revoke")(revoke)
    command(app, "pause")(pause)
    command(app, "resume")(resume)
    command(app, "narrow")(narrow)
    command(app, "grants")(grants)


def grant(
    *,
    person: PersonOption,
    recipient: Annotated[str, typer.Option("--recipient", metavar="ID", help="Who may receive.")],
    event_type: Annotated[str, typer.Option("--type", help="address.changed, or the full name.")],
    purpose: Annotated[str, typer.Option("--purpose", help="What for; the subscription has the same.")],
    fields: Annotated[list[str], typer.Option("--field", help="A field that it may receive. Repeatable; never “all”.")],
    law: Annotated[
        str | None, typer.Option("--law", metavar="ARTICLE", help="A mandate by this article of law, not a consent.")
    ] = None,
    choice: Annotated[
        str | None,
        typer.Option("--choice", metavar="ARTICLE", help="By this article the citizen chooses who hears, and has."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="For one declaration only: the first that comes.")] = False,
    start: Annotated[str | None, typer.Option("--from", metavar="WHEN", help="A day (UTC) or an instant.")] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="WHEN", help="The last day (UTC), or an instant.")
    ] = None,
    include_latest: Annotated[
        bool, typer.Option("--include-latest", help="Deliver the latest declaration made before, too.")
    ] = False,
    text: Annotated[
        Path | None, typer.Option("--text", metavar="FILE", help="The text that was shown, where it is not ours.")
    ] = None,
    receipt: ReceiptOption = None,
    given_by: GivenBy = "self",
    capacity: CapacityOption = "self",
    channel: ChannelOption = "online",
) -> None:
    """Give a consent, or record a choice or a mandate by law. Prints the text shown and the signed receipt.

    Example: unefois grant --person me.yaml --recipient urn:fr:siret:77568501300025 --type address.changed
    --purpose family-benefits --field subject --field new_address --until 2027-12-31 --receipt consent.json
    """
    from broker.consents.consents import GrantRequest
    from broker.services import consents
    from broker.services.viewing import subject_of
    from consent.grant import Scope
    from schemas.names import EventType, PartyId, Purpose

    document = document_of(person)
    starts_at = None if start is None else instant(start, end_of_day=False)
    expires_at = None if until is None else instant(until, end_of_day=True)
    own_text = None if text is None else read_file(text).decode("utf-8", "replace")

    async def work(home: "Home") -> "consents.Given":
        wish = GrantRequest(
            subject=await subject_of(home, document),
            recipient=PartyId(recipient),
            event_type=EventType(full_type(event_type)),
            purpose=Purpose(purpose),
            fields=frozenset(fields),
            basis=_basis(law, choice),
            voice=voice_of(given_by, capacity, channel),
            starts_at=starts_at,
            expires_at=expires_at,
            scope=Scope.ONCE if once else Scope.STANDING,
            include_latest=include_latest,
        )
        return await consents.give(home, wish, own_text)

    given = at_home(work)
    _answer(given, receipt, given.shown)


def _basis(law: str | None, choice: str | None) -> "Basis":
    from consent import basis

    if law is not None and choice is not None:
        raise typer.BadParameter("a grant has one ground: leave out --law, or this", param_hint="--choice")
    if law is not None:
        return basis.law(law)
    return basis.CONSENT if choice is None else basis.choice(choice)


def revoke(
    grant_id: Annotated[str | None, typer.Argument(metavar="[GRANT]", help="The grant's id.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every consent of --person; mandates by law stay.")] = False,
    person: Annotated[Path | None, typer.Option("--person", metavar="FILE", help="With --all: whose.")] = None,
    mandate: Annotated[bool, typer.Option("--mandate", help="End a mandate by law, on an operator's word.")] = False,
    receipt: ReceiptOption = None,
    given_by: GivenBy = "self",
    capacity: CapacityOption = "self",
    channel: ChannelOption = "online",
) -> None:
    """End a consent for good: when this returns its key is destroyed, and what is under way stays noise.

    Example: unefois revoke 0192f3a1-... --receipt revoked.json
    """
    from broker.services import consents

    voice = voice_of(given_by, capacity, channel)
    if everything:
        if person is None or grant_id is not None or mandate:
            raise typer.BadParameter("goes with --person, and without a grant", param_hint="--all")
        _revoke_all(document_of(person), voice)
        return
    if grant_id is None:
        raise typer.BadParameter("name one, or say --all", param_hint="GRANT")
    end = consents.end_mandate if mandate else consents.revoke
    _change(grant_id, receipt, lambda home, of: end(home, of, voice))


def pause(
    grant_id: GrantArgument,
    *,
    receipt: ReceiptOption = None,
    given_by: GivenBy = "self",
    capacity: CapacityOption = "self",
    channel: ChannelOption = "online",
) -> None:
    """Hold everything back until `unefois resume`; the key stays.

    Example: unefois pause 0192f3a1-...
    """
    from broker.services import consents

    voice = voice_of(given_by, capacity, channel)
    _change(grant_id, receipt, lambda home, of: consents.pause(home, of, voice))


def resume(
    grant_id: GrantArgument,
    *,
    receipt: ReceiptOption = None,
    given_by: GivenBy = "self",
    capacity: CapacityOption = "self",
    channel: ChannelOption = "online",
) -> None:
    """End a pause; what was held back goes out.

    Example: unefois resume 0192f3a1-...
    """
    from broker.services import consents

    voice = voice_of(given_by, capacity, channel)
    _change(grant_id, receipt, lambda home, of: consents.resume(home, of, voice))


def narrow(
    grant_id: GrantArgument,
    *,
    fields: Annotated[list[str], typer.Option("--field", help="A field to keep. Repeatable.")],
    receipt: ReceiptOption = None,
    given_by: GivenBy = "self",
    capacity: CapacityOption = "self",
    channel: ChannelOption = "online",
) -> None:
    """Keep only these fields; what is under way is planned anew with them.

    Example: unefois narrow 0192f3a1-... --field subject --field new_commune
    """
    from broker.services import consents

    voice = voice_of(given_by, capacity, channel)
    _change(grant_id, receipt, lambda home, of: consents.narrow(home, of, frozenset(fields), voice))


def grants(
    person: PersonOption,
    viewer: Annotated[
        str | None, typer.Option("--viewer", metavar="ID", help="Who looks: the broker itself, and nobody else.")
    ] = None,
) -> None:
    """Every consent and mandate of a citizen, and every objection to a rule by law. The look is in the ledger.

    Example: unefois grants --person me.yaml
    """
    from broker.cli import shapes

    document = document_of(person)

    async def work(home: "Home") -> dict[str, list[dict[str, Any]]]:
        from broker.services.rules import objections
        from broker.services.viewing import grants_of, subject_of
        from schemas.names import PartyId

        looking = None if viewer is None else PartyId(viewer)
        whose = await subject_of(home, document)
        return {
            "grants": [shapes.grant(one) for one in await grants_of(home, whose, looking)],
            "objections": [shapes.objection(one) for one in await objections(home, whose)],
        }

    found = at_home(work)

    def text() -> None:
        each(found["grants"], _show)
        if found["objections"]:
            each(found["objections"], show_objection)

    answer(found, text)


def _change(
    grant_id: str, receipt: Path | None, change: "Callable[[Home, GrantId], Coroutine[Any, Any, Signed]]"
) -> None:
    """One change of one consent; then as it is now, with its signed receipt."""
    from schemas.names import GrantId

    of = GrantId.parse(grant_id)
    _answer(at_home(lambda home: change(home, of)), receipt)


def _revoke_all(document: object, voice: "Voice") -> None:
    from broker.cli import shapes
    from broker.services import consents
    from broker.services.viewing import for_person

    ended = at_home(lambda home: for_person(home, document, lambda whose: consents.revoke_all(home, whose, voice)))
    found = [shapes.recorded(one.recorded, one.receipt) for one in ended]

    def text() -> None:
        line(say(f"Consentements retirés : {len(found)}", f"Consents withdrawn: {len(found)}"))
        for one in found:
            _show(one["grant"])

    answer({"revoked": found}, text)


def voice_of(given_by: str, capacity: str, channel: str) -> "Voice":
    """Who speaks, in the language of the command; the digest of a text is for who shows one."""
    from consent.grant import Voice
    from schemas.names import Capacity, Channel

    return Voice(given_by, Capacity(capacity), Channel(channel), chosen().language, bytes(32))


def document_of(path: Path) -> object:
    """What a file says of a citizen, parsed."""
    from connectors.draft import read

    return read(read_file(path))


def _answer(signed: "Signed", receipt: Path | None, shown: str | None = None) -> None:
    from broker.cli import shapes

    if receipt is not None:
        write_file(receipt, signed.receipt)
    told = shapes.recorded(signed.recorded, signed.receipt, shown)

    def text() -> None:
        if shown is not None:
            line(shown)
        _show(told["grant"])
        pairs([(say("entrée du registre", "ledger entry"), told["entry"])])
        if receipt is None:
            line("")
            line(told["receipt"])

    answer(told, text)


def _show(told: dict[str, Any]) -> None:
    pairs(
        [
            (say("consentement", "grant"), f"{told['id']}, version {told['version']}"),
            (say("état", "status"), told["status"]),
            (say("destinataire", "recipient"), told["recipient"]),
            (say("type", "type"), told["event_type"]),
            (say("finalité", "purpose"), told["purpose"]),
            (say("champs", "fields"), ", ".join(told["fields"])),
            (say("fondement", "basis"), told["basis"]),
            (say("portée", "scope"), told["scope"]),
            (say("depuis", "since"), told["starts_at"]),
            (say("jusqu'à", "until"), told["expires_at"]),
        ]
    )


def show_objection(told: dict[str, Any]) -> None:
    """One objection, as lines."""
    pairs(
        [
            (say("opposition à la règle", "objection to rule"), told["rule"]),
            (say("depuis", "since"), told["objected_at"]),
            (say("motif", "reason"), told["reason"]),
            (say("retirée", "withdrawn"), told["withdrawn_at"]),
        ]
    )
