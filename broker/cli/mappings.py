"""Commands about mapping files: `unefois mapping ...`. They need no home; `preview` looks into one for a party.

Refuses: nothing of its own.
Keeps: nothing of its own; `connectors.preview` and `connectors.mapping_draft` know. They show values: those of a
mapping's tests and of the catalogue's samples are invented, those of a sample given are the caller's own.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.exits import Exit
from broker.cli.frame import chosen, command, say
from broker.cli.parties import full_type
from broker.cli.session import at_home, read_file
from broker.cli.show import answer, line

app = typer.Typer(no_args_is_help=True, help="Mapping files: what turns a declaration into an agency's own words.")

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="A mapping file, or the name of a packaged one.")]


@command(app, "test")
def run_tests(
    file: FileArgument,
    granted: Annotated[
        list[str] | None,
        typer.Option(
            "--granted", metavar="FIELD", help="A field that will be granted: those read must be. Repeatable."
        ),
    ] = None,
) -> None:
    """Run a mapping file's own tests and its static checks; exit code 1 if anything is wrong.

    Example: unefois mapping test ./our-table.out.yaml --granted subject --granted new_address
    """
    from connectors import preview
    from connectors.mapping_files import asked
    from schemas.catalogue import builtin

    mapping = asked(file)
    told = preview.tested(mapping, builtin().by_type(mapping.event_type), granted, chosen().language)
    _show(told, preview.tested_lines)


@command(app, "preview")
def show_preview(
    file: FileArgument,
    *,
    party: Annotated[
        str | None,
        typer.Option("--party", metavar="ID", help="Whose subscription and rules grant, as the home has them."),
    ] = None,
    purpose: Annotated[
        str | None, typer.Option("--purpose", help="Which of its subscriptions, where it has several.")
    ] = None,
    granted: Annotated[
        list[str] | None,
        typer.Option("--granted", metavar="FIELD", help="A granted field; FIELD=TEXT names its ground. Repeatable."),
    ] = None,
    sample: Annotated[
        Path | None,
        typer.Option("--sample", metavar="FILE", help="JSON or YAML: a record. Default: the catalogue's sample."),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option("--encoding", help="Flag the letters that it lacks: iso-8859-1, cp1252.")
    ] = None,
    widths: Annotated[
        list[str] | None,
        typer.Option("--width", metavar="COLUMN=N", help="Flag what is longer in this column. Repeatable."),
    ] = None,
) -> None:
    """Show which fields each target reads, on which ground, and the row of a sample; exit code 1 if anything is wrong.

    Example: unefois mapping preview ./our-table.out.yaml --party urn:fr:siret:21350238800019 --encoding iso-8859-1
    """
    from connectors import draft, preview
    from connectors.mapping_files import asked
    from schemas.catalogue import builtin

    if party is not None and granted:
        raise typer.BadParameter("goes without --party", param_hint="--granted")
    mapping = asked(file)
    grounds = preview.grounds_of(granted) if granted else None
    if party is not None:
        grounds = _of_party(party, mapping.event_type, purpose)
    try:
        options = preview.options_of(encoding, widths or ())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    given = None if sample is None else draft.read(read_file(sample))
    event = builtin().by_type(mapping.event_type)
    told = preview.seen(mapping, event, grounds, chosen().language, given=given, **options)
    _show(told, preview.seen_lines)


@command(app, "new")
def write_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: our-moves.")],
    *,
    sample: Annotated[
        Path, typer.Option("--from", metavar="SAMPLE", help="The agency's columns: a CSV with its header, or JSON.")
    ],
    event_type: Annotated[str, typer.Option("--type", help="address.changed, or the full name.")],
    inbound: Annotated[bool, typer.Option("--in", help="From the sample to a declaration, not the other way.")] = False,
) -> None:
    """Print a first mapping file for a sample: what is recognised, with a test; the rest as comments with candidates.

    Example: unefois mapping new our-moves --from export.csv --type address.changed > our-moves.out.yaml
    """
    from connectors.mapping_draft import drafted
    from connectors.mapping_files import read_sample
    from schemas.catalogue import builtin
    from schemas.names import EventType

    event = builtin().by_type(EventType(full_type(event_type)))
    text = drafted(name, read_sample(sample), event, inbound=inbound)
    answer({"mapping": text}, lambda: line(text.rstrip("\n")))


@command(app, "list")
def list_packaged() -> None:
    """The mapping files that come with this program.

    Example: unefois mapping list
    """
    from connectors.mapping import packaged

    names = sorted(packaged())

    def text() -> None:
        for name in names:
            line(name)

    answer({"mappings": names}, text)


def _show(told: dict[str, Any], lines: Any) -> None:
    from connectors.preview import failed

    def text() -> None:
        for each in lines(told, chosen().language):
            line(each)

    answer(told, text)
    if failed(told):
        raise typer.Exit(Exit.FINDINGS)


def _of_party(party: str, event_type: str, purpose: str | None) -> dict[str, str]:
    """Each field of a party's approved subscription, with the article of the rule that grants it, else consent."""
    from broker.services import rules, subscriptions
    from consent.policy import SubscriptionStatus
    from consent.rules import RuleStatus

    found = [
        one.subscription
        for one in at_home(subscriptions.every)
        if (one.subscription.recipient, one.subscription.event_type) == (party, event_type)
        and one.subscription.status is SubscriptionStatus.APPROVED
        and purpose in (None, one.subscription.purpose)
    ]
    if len(found) != 1:
        words = ", ".join(sorted(one.purpose for one in found)) or say("aucun abonnement", "no subscription")
        raise typer.BadParameter(words, param_hint="--purpose" if found else "--party")
    (mine,) = found
    grounds = {name: say("consentement", "consent") for name in mine.fields}
    for rule in at_home(rules.every):
        if (rule.recipient, rule.event_type, rule.purpose) == (party, event_type, mine.purpose) and (
            rule.status is RuleStatus.APPROVED
        ):
            grounds |= {name: rule.article for name in rule.fields if name in mine.fields}
    return grounds
