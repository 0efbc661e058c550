"""Commands about the broker itself: init, run, fsck, config.

Refuses: nothing of its own.
Keeps: asked to stop, `run` finishes what it has begun; killed, it loses nothing.
"""

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from broker.cli.exits import Exit
from broker.cli.frame import chosen, command, say
from broker.cli.session import at_home, settings
from broker.cli.show import answer, line, pairs
from schemas.messages import explain
from schemas.messages import table as codes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.maintenance.checks.finding import Finding
    from broker.runtime.turns import Turn
    from broker.setup.wiring import Home
    from schemas.following import Predecessor

RoleName = Literal[
    "all",
    "router",
    "ledger",
    "upkeep",
    "gate",
    "connectors",
    "notify",
    "relay",
    "intake",
    "api",
    "portal",
    "consents",
]
config = typer.Typer(no_args_is_help=True, help="The settings: what they are, and what is wrong or unwise with them.")


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    command(app, "init")(init)
    command(app, "run")(run)
    command(app, "fsck")(fsck)
    app.add_typer(config, name="config")


def init(
    *,
    party: Annotated[str | None, typer.Option("--party", metavar="ID", help="Who runs this broker.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Its name, as citizens read it in their receipts.")] = None,
    address: Annotated[str | None, typer.Option("--address", help="Its postal address.")] = None,
    contact: Annotated[str | None, typer.Option("--contact", help="How a citizen reaches it.")] = None,
    ledger_origin: Annotated[
        str | None, typer.Option("--ledger-origin", help="The ledger's name for ever: a host and path, no https://.")
    ] = None,
    signature_policy: Annotated[
        int | None, typer.Option("--signature-policy", help="How the broker signs: 1 to 5, `unefois party add --help`.")
    ] = None,
    hpke_suite: Annotated[
        Literal["mlkem768_x25519", "x25519"] | None, typer.Option("--hpke-suite", help="What sources seal to.")
    ] = None,
) -> None:
    """Make a home: keys, tables, the broker itself. What is chosen here is written into its unefois.toml.

    Calling it again without options finishes what was interrupted, and upgrades the tables after a new version.

    Example: unefois init --name "Ville de Nantes" --ledger-origin log.nantes.example/unefois
    """
    from broker.services import ledgers
    from broker.settings.home_file import write_settings
    from broker.setup.bootstrap import create_home

    given: dict[str, str | int | None] = {
        "party": party,
        "name": name,
        "address": address,
        "contact": contact,
        "ledger_origin": ledger_origin,
        "signature_policy": signature_policy,
        "hpke_suite": hpke_suite,
    }
    wanted = {key: told for key, told in given.items() if told is not None}
    here = settings(**wanted)
    write_settings(here.home, wanted)
    asyncio.run(create_home(settings()))

    here = settings()
    key = at_home(ledgers.standing).key
    told = {"home": str(here.home), "party": here.party, "ledger": key.name, "key": key.text}

    def text() -> None:
        pairs(
            [
                (say("dossier", "home"), told["home"]),
                (say("courtier", "broker"), told["party"]),
                (say("clé du registre", "ledger key"), told["key"]),
            ]
        )
        line(say("Ensuite : unefois party add --help", "Next: unefois party add --help"))

    answer(told, text)


def run(once: Annotated[bool, typer.Option("--once", help="Do what waits, then end.")] = False) -> None:
    """The machine at work: upkeep, router, webhooks, connectors of hosted agencies (agencies/*.yaml), ledger.

    Without --once it goes on until SIGINT or SIGTERM, and then finishes what it has begun. Any number may run.

    Example: unefois run --once --json
    """
    troubles = at_home(_once if once else _serve)
    if troubles:
        raise typer.Exit(troubles)


def fsck(
    *,
    full: Annotated[bool, typer.Option("--full", help="Open and verify everything anew.")] = False,
) -> None:
    """Check the whole state: hashes, signatures, ledger against tables, rules, orphans, keys. Exit code 1 on a finding.

    Every row is read. What was clean at the last check, and has the same bytes, is not opened again without --full.

    Example: unefois fsck
    """
    from broker.cli.ledger import followed, shapes
    from broker.services import keeping, ledgers

    async def work(home: "Home") -> "tuple[Sequence[Finding], Sequence[Predecessor]]":
        return await keeping.check(home, full=full), await ledgers.followed(home)

    findings, chain = at_home(work)
    found = [{"check": one.check, "place": one.place, "wrong": one.wrong} for one in findings]
    before = shapes(chain)

    def text() -> None:
        for one in found:
            line(f"✗ {one['check']}  {one['place']}\n    {one['wrong']}")
        for told in before:
            line(followed(told))
        if not found:
            line(say("Tout est en ordre.", "All is well."))

    answer({"clean": not found, "findings": found, "follows": before}, text)
    if found:
        raise typer.Exit(Exit.FINDINGS)


@command(config, "check")
def check(
    role: Annotated[
        RoleName, typer.Option("--role", help="Whose rights on Kafka are looked at; all: every role's.")
    ] = "all",
) -> None:
    """What is wrong or unwise with settings, environment, agencies' files, database and log. Exit code 1 if serious.

    Example: unefois config check --role router
    """
    from broker.cli import shapes
    from broker.runtime.hosting import FOLDER, load
    from broker.settings.check import check_all
    from broker.setup.preflight import look, look_log
    from broker.setup.roles import ProcessRole, log_rights
    from schemas.errors import Refused

    found = check_all(os.environ, home=chosen().home)
    if not any(one.serious for one in found):
        found += asyncio.run(look(settings()))
        found += asyncio.run(look_log(settings(), needed=log_rights(ProcessRole(role))))
    problems = [
        {"key": one.key, "serious": one.serious, **shapes.coded(one.fault, one.fault.pointer, chosen().language)}
        for one in found
    ]
    agencies: list[str] = []
    try:
        agencies += [one.file for one in load(settings().home / FOLDER)]
    except Refused as fault:
        if "file" in fault.details:  # else the settings themselves are wrong, and told already
            told = shapes.coded(fault, fault.pointer, chosen().language)
            problems.append({"key": str(fault.details["file"]), "serious": True, **told})
    serious = any(one["serious"] for one in problems)

    def text() -> None:
        for one in problems:
            line(f"{'✗' if one['serious'] else '!'} {one['key']}  {one['code']}")
            line(f"    {one['message']} {one['remedy']}")
        if not problems:
            line(say("Rien à redire.", "Nothing to say."))

    answer({"ok": not serious, "problems": problems, "agencies": agencies}, text)
    if serious:
        raise typer.Exit(Exit.FINDINGS)


@command(config, "show")
def show() -> None:
    """Every setting as it counts now. Secrets are not shown.

    Example: unefois config show --json
    """
    from broker.settings.sources import FILE, SECRETS

    here = settings()
    hidden = {name: "***" for name in SECRETS if getattr(here, name) is not None}
    told = {
        **json.loads(here.model_dump_json(exclude=set(SECRETS))),
        **hidden,
        "hpke_suite": here.hpke_suite.name.lower(),
    }

    def text() -> None:
        pairs(sorted(told.items()))
        line(say(f"Fichier : {here.home / FILE}", f"File: {here.home / FILE}"))

    answer(told, text)


async def _once(home: "Home") -> int:
    from broker.cli import shapes
    from broker.runtime import turns
    from broker.runtime.hosting import FOLDER, load

    done = await turns.turn(home, load(home.settings.home / FOLDER), only=True)
    answer(shapes.turn(done, chosen().language), lambda: _show_turn(done))
    if not done.troubles:
        return Exit.OK
    return Exit.UNAVAILABLE if all(each.retriable for each in done.troubles) else Exit.REFUSED


async def _serve(home: "Home") -> int:
    from broker.observability import observe
    from broker.runtime.hosting import FOLDER, load
    from broker.runtime.serving import Serving
    from broker.setup.roles import ProcessRole

    observe.configure(home.settings.log_level, home.clock, sys.stderr)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    agencies = load(home.settings.home / FOLDER)
    count = len(agencies)
    if not chosen().json:
        line(say(f"En marche, {count} administrations hébergées.", f"Running, {count} hosted administrations."))
        sys.stdout.flush()  # nothing may come for hours, and who reads from a pipe waits for this line

    def tell(_: ProcessRole, done: "Turn") -> None:
        with observe.unraised():  # a turn is done whether or not somebody can read of it
            tell_turn(done)

    # Nobody else hears of what this process says: it answers no address, so its name need not be one for the world.
    await Serving(home, ProcessRole.ALL, agencies, stop, tell, sandbox=True).run()
    return Exit.OK


def tell_turn(done: "Turn") -> None:
    """One line for each turn that did something; with --json a line of JSON."""
    from broker.cli import shapes

    if chosen().json:
        print(json.dumps(shapes.turn(done, chosen().language), ensure_ascii=False), flush=True)
    else:
        _show_turn(done)
        sys.stdout.flush()


def _show_turn(done: "Turn") -> None:
    words = [
        (done.taken, say("reçues par sujet", "taken from topics")),
        (done.routed, say("routées", "routed")),
        (done.relayed, say("mises sur les sujets", "put on topics")),
        (done.told, say("annoncées", "told")),
        (done.mailed, say("courriels envoyés", "letters mailed")),
        (done.messages, say("messages aux usagers", "messages to citizens")),
        (done.applied, say("traitées", "applied")),
        (done.rejected, say("rejetées", "rejected")),
        (done.answered, say("avec une autre réponse", "answered otherwise")),
        (done.retried, say("à reprendre", "to be retried")),
        (done.withheld, say("retenues", "withheld")),
        (done.expired, say("consentements échus", "grants expired")),
        (done.epochs, say("clés renouvelées ou détruites", "keys renewed or destroyed")),
        (done.sequenced, say("entrées au registre", "ledger entries")),
        (done.pruned, say("lignes retirées", "rows pruned")),
    ]
    line(", ".join(f"{count} {word}" for count, word in words if count) or say("Rien à faire.", "Nothing to do."))
    for each in done.troubles:
        message = explain(each, chosen().language) if each.code in codes() else None
        place = " ".join(str(part) for part in (each.party, each.details.get("file"), each.pointer) if part)
        line(f"! {each.code}  {place}")
        if message is not None:
            line(f"    {message.wrong} {message.remedy}")
