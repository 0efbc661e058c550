"""The command line's root: every command by its name. Start-up is kept short: a command imports what it needs when it
runs, and Typer gets no more commands than a command line can mean.

Refuses: nothing of its own.
Keeps: `unefois --help` lists everything and shows the exit codes.
"""

import sys
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Annotated

import typer

from broker.cli import (
    acknowledge,
    approvals,
    audits,
    backups,
    channels,
    clock,
    codes,
    completion,
    conformance,
    connectors,
    dead,
    declarations,
    deploy,
    disclosures,
    doctor,
    epochs,
    export,
    grants,
    identities,
    incidents,
    keys,
    ledger,
    login,
    machine,
    mappings,
    migrate,
    move,
    operators,
    parties,
    person,
    protecting,
    prune,
    purposes,
    receipts,
    repair,
    representations,
    retractions,
    rights,
    rules,
    sandbox,
    serve,
    simulate,
    source,
    subscriptions,
    tokens,
    top,
    topics,
    types,
    watch,
    webhooks,
)
from broker.cli.frame import EXIT_CODES, VALUED, Root, chosen, command, with_choices
from broker.cli.session import collect_seldom

app = typer.Typer(
    name="unefois",
    cls=Root,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog=EXIT_CODES,
)


def _show_version(asked: bool) -> None:
    if asked:
        from broker.observability.build import this_build

        print(this_build().text)
        raise typer.Exit


@app.callback()
@with_choices
def unefois(
    version: Annotated[
        bool, typer.Option("--version", help="Show version and commit, and end.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Tell us once: a citizen declares to one administration, and every one that the citizen allows hears it.

    Begin with `unefois demo`, or with `unefois init`.
    """


@command(app, "demo")
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave its folder, to look around.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="The citizens' pages instead, with a small cast at work; Ctrl-C ends it.")
    ] = False,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="With --serve: where, on this machine alone.")
    ] = "127.0.0.1:8480",
    script: Annotated[
        Path | None,
        typer.Option("--script", metavar="DIR", help="Play these pages through in Chromium; pictures go into DIR."),
    ] = None,
) -> None:
    """A family moves from Nantes to Rennes: the whole story, on the real code, in a home of its own. A minute.

    Example: unefois demo --lang fr
    """
    from broker.cli import web_demo
    from broker.cli.demo import run

    if script is not None:
        web_demo.play(script)
        return
    if serve:
        web_demo.serve(listen)
        return
    raise typer.Exit(run(lang=chosen().language, keep=keep))


machine.register(app)
serve.register(app)
sandbox.register(app)
simulate.register(app)
migrate.register(app)
backups.register(app)
top.register(app)
doctor.register(app)
prune.register(app)
move.register(app)
export.register(app)
approvals.register(app)
login.register(app)
rights.register(person.app)
incidents.register(parties.app, subscriptions.app)
app.add_typer(operators.app, name="operator")
app.add_typer(parties.app, name="party")
app.add_typer(tokens.app, name="token")
app.add_typer(topics.app, name="topics")
app.add_typer(webhooks.app, name="webhook")
app.add_typer(types.app, name="type")
app.add_typer(subscriptions.app, name="subscribe")
rules.register(app)
app.add_typer(representations.app, name="representation")
app.add_typer(purposes.app, name="purpose")
identities.register(app)
codes.register(app)
repair.register(app)
retractions.register(app)
grants.register(app)
declarations.register(app)
acknowledge.register(app)
app.add_typer(dead.app, name="dead")
app.add_typer(mappings.app, name="mapping")
app.add_typer(connectors.app, name="connector")
app.add_typer(deploy.app, name="deploy")
app.add_typer(person.app, name="person")
app.add_typer(channels.app, name="channel")
app.add_typer(protecting.app, name="protect")
app.add_typer(receipts.app, name="receipt")
app.add_typer(conformance.app, name="conformance")
app.add_typer(epochs.app, name="epoch")
app.add_typer(keys.app, name="keys")
app.add_typer(clock.app, name="clock")
app.add_typer(source.app, name="source")
disclosures.register(audits.app)
app.add_typer(audits.app, name="audit")
app.add_typer(ledger.app, name="ledger")
watch.register(app)
completion.register(app)


def asked(words: Sequence[str]) -> typer.Typer:
    """The program with the one command or group that a command line names; the whole program where it names none of
    them, or asks the program itself for something (`--help`, `--version`, completion).

    Before Typer runs a command it reads the signatures of all commands that it has: for all of ours 30 ms, a quarter
    of what `unefois` takes to start.
    """
    name = _first(words)
    small = copy(app)
    small.registered_commands = [one for one in app.registered_commands if one.name == name]
    small.registered_groups = [one for one in app.registered_groups if one.name == name]
    return small if small.registered_commands or small.registered_groups else app


def _first(words: Sequence[str]) -> str | None:
    """The first word that is no option before the command, nor the value of one."""
    left = iter(words)
    for word in left:
        if word in VALUED:
            next(left, None)
        elif word != "--json":
            return word
    return None


def main() -> None:
    """The program `unefois`."""
    collect_seldom()
    asked(sys.argv[1:])()
