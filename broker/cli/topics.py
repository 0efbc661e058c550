"""Commands about topics on Kafka: `unefois topics ...`.

Refuses: nothing of its own.
Keeps: nothing of its own; `broker.services.topics` does it.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.exits import Exit
from broker.cli.frame import chosen, command, say
from broker.cli.session import at_home
from broker.cli.show import answer, line, pairs, table

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from broker.setup.wiring import Home
    from broker.topics.served import TopicUser
    from broker.topics.wanted import Step

app = typer.Typer(no_args_is_help=True, help="Administrations that are served by topics on Kafka.")


@command(app, "allow")
def allow(
    party: Annotated[str, typer.Argument(metavar="PARTY", help="Who is served.")],
    *,
    principal: Annotated[str, typer.Option("--principal", metavar="USER", help="As Kafka knows it, without User:.")],
    receives: Annotated[bool, typer.Option("--receives", help="Its sealed deliveries go to its topic.")] = False,
    declares: Annotated[bool, typer.Option("--declares", help="It declares by its topic.")] = False,
) -> None:
    """Serve an administration by topics, from now on and as said here. Then: unefois topics plan.

    Example: unefois topics allow urn:fr:siret:21350238800019 --principal rennes --receives
    """
    from broker.services import topics
    from schemas.names import PartyId

    def work(home: "Home") -> "Coroutine[Any, Any, TopicUser]":
        return topics.allow(home, PartyId(party), principal, receives=receives, declares=declares)

    told = _told(at_home(work))
    answer(told, lambda: _show(told))


@command(app, "end")
def end(party: Annotated[str, typer.Argument(metavar="PARTY", help="Who is served no more.")]) -> None:
    """Serve an administration by topics no more. Its deliveries wait in its mailbox; no topic is deleted.

    Example: unefois topics end urn:fr:siret:21350238800019
    """
    from broker.services import topics
    from schemas.names import PartyId

    told = _told(at_home(lambda home: topics.end(home, PartyId(party))))
    answer(told, lambda: _show(told))


@command(app, "plan")
def plan() -> None:
    """What topics and rights lack on Kafka, or have too much. Changes nothing; exit code 1 when there is something.

    Example: unefois topics plan
    """
    from broker.services import topics

    looked = at_home(topics.plan)
    steps = [_step(one) for one in looked.steps]
    answer({"steps": steps, "access_lists": looked.access_lists}, lambda: _show_steps(steps, looked.access_lists))
    if steps:
        raise typer.Exit(Exit.FINDINGS)


@command(app, "apply")
def apply() -> None:
    """Make the topics and rights that the plan lacks. Deletes no topic, takes no partition away, adds none to the log.

    Run it as a user of Kafka that may: UNEFOIS_KAFKA_USERNAME. Exit code 1 when something is left to a person.

    Example: unefois topics apply
    """
    from broker.services import topics

    done, left = at_home(topics.apply)
    told = {"done": [_step(one) for one in done], "left": [_step(one) for one in left]}

    def text() -> None:
        _show_steps(told["done"], True)
        if left:
            line(say("Reste à faire par quelqu'un :", "Left to a person:"))
            _show_steps(told["left"], True)

    answer(told, text)
    if left:
        raise typer.Exit(Exit.FINDINGS)


@command(app, "begin-again")
def begin_again(party: Annotated[str, typer.Argument(metavar="PARTY", help="The source.")]) -> None:
    """Read a source's topic from its beginning: after records were lost, or it was made anew. Nothing counts twice.

    Example: unefois topics begin-again urn:unefois:portal
    """
    from broker.services import topics
    from schemas.names import PartyId

    at_home(lambda home: topics.begin_again(home, PartyId(party)))
    answer({"party": party}, lambda: line(say("Relu depuis le début.", "Read from its beginning again.")))


@command(app, "list")
def list_users() -> None:
    """Who is served by topics, and who was.

    Example: unefois topics list
    """
    from broker.services import topics

    found = [_told(user) for user in at_home(topics.every)]
    columns = ["party", "principal", say("reçoit", "receives"), say("déclare", "declares"), say("depuis", "since")]

    def text() -> None:
        names = ("party", "principal", "receives", "declares", "since", "ended_at")
        table([*columns, say("fin", "ended")], [[one[name] for name in names] for one in found])

    answer({"users": found}, text)


def _step(one: "Step") -> dict[str, Any]:
    from broker.cli import shapes

    told = {"what": one.what, "name": one.name, "told": one.told}
    return told | {"problem": None if one.code is None else shapes.code(one.code, chosen().language)}


def _show_steps(steps: list[dict[str, Any]], access_lists: bool) -> None:
    for one in steps:
        line(f"{'!' if one['problem'] else '+'} {one['what']:<10} {one['name']}  {one['told']}")
        if one["problem"]:
            line(f"    {one['problem']['code']}: {one['problem']['message']} {one['problem']['remedy']}")
    if not steps:
        line(say("Rien à faire.", "Nothing to do."))
    if not access_lists:
        line(say("Ce Kafka n'a pas de listes de droits.", "This Kafka has no access lists."))


def _told(user: "TopicUser") -> dict[str, Any]:
    from broker.shapes import time_of
    from broker.topics.served import own_topics

    return {
        "party": user.party,
        "principal": user.principal,
        "receives": user.receives,
        "declares": user.declares,
        "topics": list(own_topics(user)),
        "since": time_of(user.since),
        "ended_at": time_of(user.ended_at),
    }


def _show(told: dict[str, Any]) -> None:
    pairs(
        [
            (say("administration", "party"), told["party"]),
            (say("utilisateur", "principal"), told["principal"]),
            (say("sujets", "topics"), ", ".join(told["topics"])),
            (say("depuis", "since"), told["since"]),
            (say("fin", "ended"), told["ended_at"]),
        ]
    )
