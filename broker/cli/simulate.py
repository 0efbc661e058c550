"""Command simulate: a small country lives with the real machine; a model says what was promised, and checks it.

Refuses: more people or days than it can; a picture where a file is.
Keeps: nothing is left behind, nobody is real. Exit code 0 only if every promise held.
"""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.cli.exits import Exit
from broker.cli.frame import chosen, command, say
from broker.cli.show import answer, line, pairs
from schemas.errors import Refused

if TYPE_CHECKING:
    from broker.lab.simulation.report import Report


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "simulate")(simulate)


def simulate(
    *,
    seed: Annotated[str, typer.Option("--seed", metavar="N", help="The same seed tells the same story.")] = "1",
    people: Annotated[int, typer.Option("--people", metavar="N", help="How many people live there.")] = 500,
    days: Annotated[int, typer.Option("--days", metavar="N", help="How many days they live.")] = 365,
    check_every: Annotated[
        int, typer.Option("--check-every", metavar="DAYS", min=1, help="How often the whole state is checked.")
    ] = 30,
    pace: Annotated[
        float,
        typer.Option("--pace", metavar="X", min=0.1, max=1000, help="How much faster than in life things happen."),
    ] = 1.0,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Also draw it, as an SVG, into a new file.")
    ] = None,
) -> None:
    """A small country: people move, marry, are born, change their minds; what was promised to them is checked.

    Example: unefois simulate --seed 1 --people 200 --days 60
    """
    from broker.lab.simulation.playing import Wanted, play
    from broker.lab.simulation.report import picture as drawn
    from broker.observability import observe
    from broker.setup.opening import system_clock

    if picture is not None and picture.exists():
        raise Refused("simulation.file", "/picture", file=str(picture))
    observe.configure("error", system_clock, sys.stderr)
    report = asyncio.run(play(Wanted(seed, people, days, check_every, pace)))
    if picture is not None:
        picture.write_text(drawn(report), "utf-8")
    answer(report.document(), lambda: _print(report))
    if report.broken:
        raise typer.Exit(Exit.FINDINGS)


def _print(report: "Report") -> None:
    from broker.lab.simulation.report import TOLD
    from consent.explain import explain_reason
    from schemas.names import Reason

    language, counts = chosen().language, report.counts
    pairs(
        [
            (say("déclarations de personnes", "declarations by people"), counts.get("declared", 0)),
            (say("actes d'état civil", "civil status acts"), counts.get("registered", 0)),
            (say("consentements donnés", "consents given"), counts.get("consents", 0)),
            (say("consentements retirés", "consents withdrawn"), counts.get("revoked", 0)),
            (say("oppositions", "objections"), counts.get("objections", 0)),
            (say("traitées par les administrations", "applied by administrations"), counts.get("applied", 0)),
            (say("personne inconnue", "person not found"), counts.get("unknown-person", 0)),
            (say("réparées par un numéro", "repaired by a number"), counts.get("repaired", 0)),
            (say("annulées, rappelées, arrêtées", "cancelled, recalled, stopped"), _taken_back(report)),
            (say("annulations reçues", "undone by who had it"), counts.get("undone", 0)),
            (say("démarches évitées", "errands spared"), report.spared),
            (say("contrôles de tout l'état", "checks of the whole state"), report.checks),
        ]
    )
    line("")
    line(say("Pourquoi une administration n'a rien reçu :", "Why an administration got nothing:"))
    pairs([(explain_reason(Reason(word), language), count) for word, count in sorted(report.reasons.items())], indent=2)
    line("")
    for one in report.broken[:TOLD]:
        line(f"{one.promise}: {one.where}")
    line(report.sentence(language))


def _taken_back(report: "Report") -> str:
    return ", ".join(str(report.counts.get(name, 0)) for name in ("cancelled", "recalled", "stopped"))
