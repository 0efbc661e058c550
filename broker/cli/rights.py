"""Commands about a person's rights: `unefois person export`, `unefois person erase`.

Refuses: a citizen's name as a word of the command line; to write over a file.
Keeps: what is written can be read by its owner alone; a file is there whole, or not at all. Nothing of its own:
`broker.services.person_export` reads, and records the look; `broker.services.person_erase` erases.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import chosen, command, say
from broker.cli.grants import CapacityOption, ChannelOption, GivenBy, PersonOption, document_of, voice_of
from broker.cli.session import at_home, check_new, write_new
from broker.cli.show import answer, line, pairs, table

if TYPE_CHECKING:
    from broker.services.person_erase import Erasure
    from broker.setup.wiring import Home


def register(app: typer.Typer) -> None:
    """Add the commands to `unefois person`."""
    command(app, "export")(export)
    command(app, "schema")(schema)
    command(app, "erase")(erase)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The JSON file to write; it may not be there yet.")],
    *,
    person: PersonOption,
    pdf: Annotated[
        Path | None,
        typer.Option("--pdf", metavar="FILE", help="The same as a PDF, in the chosen language."),
    ] = None,
) -> None:
    """Everything that is held about a person, in one JSON file of a published schema, with what is left out, and why.

    What the right of access asks for (Regulation 2016/679, article 15). The file holds the addresses at which the
    person is told, and no declared value: the broker cannot read them. Hand it to that person alone. The look is
    written into the ledger.

    Example: unefois person export me.json --person me.yaml
    """
    import json

    document = document_of(person)
    for one in (file, pdf):
        if one is not None:
            check_new(one)

    async def work(home: "Home") -> dict[str, Any]:
        from broker.services.person_export import person_export
        from broker.services.viewing import subject_of

        return await person_export(home, await subject_of(home, document))

    told = at_home(work)
    write_new(file, json.dumps(told, ensure_ascii=False, indent=2).encode())
    if pdf is not None:
        from broker.services.papers.person import paper

        write_new(pdf, paper(told, chosen().language))
    counted = {name: len(rows) for name, rows in told["held"].items()}
    counts = {**counted, "entries": len(told["entries"])}
    shown = {
        "file": str(file),
        "pdf": None if pdf is None else str(pdf),
        "entry": told["entry"],
        "held": told["person"]["held"],
        "counts": counts,
    }
    answer(shown, lambda: _show(shown))


def schema() -> None:
    """The JSON Schema of what `unefois person export` writes. It never changes: another content is another version.

    Example: unefois person schema
    """
    import json

    from broker.services import person_schema

    line(json.dumps(person_schema.schema(), ensure_ascii=False, indent=2))


def erase(
    *,
    person: PersonOption,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go and what stays; erase nothing.")
    ] = False,
    confirmed: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    given_by: GivenBy = "self",
    capacity: CapacityOption = "self",
    channel: ChannelOption = "counter",
) -> None:
    """Erase what can go of what is held about a person; tell what stays, why, and until when.

    Consents end; the sealed bytes of what was declared go, and where the person is told. What proves who got what, and
    that their word was kept, stays for its time. Nothing goes while something about them is on its way. It takes two
    persons where `four_eyes` is set, but for `--dry-run`. Stopped half-way, the same command goes on.

    Example: unefois person erase --person me.yaml --dry-run
    """
    document = document_of(person)
    if not dry_run and not confirmed:
        typer.confirm(say("Effacer pour toujours ?", "Erase for ever?"), abort=True, err=True)

    async def work(home: "Home") -> "Erasure":
        from broker.services import person_erase
        from broker.services.viewing import subject_of

        subject = await subject_of(home, document)
        if dry_run:
            return await person_erase.look(home, subject)
        return await person_erase.erase(home, subject, voice_of(given_by, capacity, channel))

    done = at_home(work)
    told = {
        "dry_run": dry_run,
        "under_way": done.under_way,
        "gone": dict(done.gone),
        "nothing_left": done.nothing,
        "stays": done.stays,
    }
    answer(told, lambda: _show_erasure(told))


def _show_erasure(told: Mapping[str, Any]) -> None:
    from broker.services import person_words

    if told["under_way"]:
        count = told["under_way"]
        line(
            say(
                f"{count} éléments sont en route : rien ne peut être effacé avant leur fin.",
                f"{count} things are on their way: nothing can be erased before they have ended.",
            )
        )
        line("")
    if told["nothing_left"]:
        line(say("Il ne reste rien à effacer.", "Nothing is left to erase."))
    else:
        title = say("serait effacé", "would go") if told["dry_run"] else say("effacé", "gone")
        table(
            (title, say("nombre", "count")), [(say(*person_words.GONE[one]), n) for one, n in told["gone"].items() if n]
        )
    if not told["stays"]:
        return
    language = chosen().language
    line("")
    line(say("Ce qui reste, et pourquoi :", "What stays, and why:"))
    for one in told["stays"]:
        line("")
        rows = [(say("quoi", "what"), f"{say(*person_words.NAMES[one['what']])} ({one['count']})")]
        rows += [(say("pourquoi", "why"), one["why"][language]), (say("jusqu'à", "until"), one["until"][language])]
        pairs(rows, indent=2)


def _show(told: Mapping[str, Any]) -> None:
    from broker.services import person_words

    pairs(
        [
            (say("fichier", "file"), told["file"]),
            ("PDF", told["pdf"]),
            (say("entrée du registre", "ledger entry"), told["entry"]),
        ]
    )
    line("")
    if not told["held"]:
        line(say("Rien n'est conservé sur cette personne.", "Nothing is held about this person."))
        return
    rows = [(say(*person_words.NAMES[name]), count) for name, count in told["counts"].items() if count]
    table((say("quoi", "what"), say("nombre", "count")), rows)
