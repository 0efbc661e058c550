"""Commands about the ledger of this home: `unefois ledger show`, `unefois ledger succeed`.

Refuses: what `broker.services.succeeding` refuses.
Keeps: nothing of its own.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.acting import named
from broker.cli.frame import chosen, command, say
from broker.cli.session import at_home, settings
from broker.cli.show import answer, line, pairs
from schemas.errors import Refused

if TYPE_CHECKING:
    from broker.services.ledgers import Standing
    from schemas.following import Predecessor

app = typer.Typer(no_args_is_help=True, help="The ledger: what it is called, which ledgers it follows; its successor.")


@command(app, "show")
def show() -> None:
    """What the ledger is called, how far it is signed, which ledgers it follows, and how much of each is here.

    Example: unefois ledger show --json
    """
    from broker.services import ledgers

    told = _told(at_home(ledgers.standing))

    def text() -> None:
        pairs(
            [
                (say("registre", "ledger"), told["origin"]),
                (say("entrées", "entries"), told["size"]),
                (say("signé jusqu'à", "signed up to"), told["signed"]),
                (say("clé", "key"), told["key"]),
            ]
        )
        for one in told["follows"]:
            line(followed(one))
        if told["stands_still"] is not None:
            line(f"✗ {told['stands_still']['code']}\n    {told['stands_still']['message']}")
            line(f"    {told['stands_still']['remedy']}")

    answer(told, text)


def _told(standing: "Standing") -> dict[str, Any]:
    from broker.cli.shapes import coded

    still = standing.stands_still
    return {
        "origin": standing.key.name,
        "key": standing.key.text,
        "size": standing.size,
        "signed": standing.signed,
        "follows": shapes(standing.follows),
        "stands_still": None if still is None else coded(still, "", chosen().language),
    }


@command(app, "succeed")
def succeed(
    origin: Annotated[
        str,
        typer.Option("--origin", metavar="NAME", help="The successor's name for ever: a host and path, no https://."),
    ],
) -> None:
    """Open the successor of a ledger whose end was lost (`unefois restore --ledger-lost`). Stop every process first.

    Its first entry names the last checkpoint that was signed; behind it stands every entry that the database knows.
    Write the new name into the settings as `ledger_origin`. Killed anywhere, call it again with the same name.

    Example: unefois ledger succeed --origin log.nantes.example/unefois-2
    """
    from broker.services.succeeding import succeed as open_successor
    from broker.settings.choices import load

    here = settings(ledger_origin=origin)
    if not here.keys_folder.is_dir():
        raise Refused("cli.no-home", file=str(here.home))
    with named(here):
        done = asyncio.run(open_successor(here))
    written = load(home=chosen().home).ledger_origin == origin
    told: dict[str, Any] = {
        "origin": done.tree.origin,
        "key": done.key.text,
        "size": done.tree.size,
        "root": done.tree.root.hex(),
        "follows": shapes(done.follows),
        "done": done.fresh,
        "settings_agree": written,
    }

    def text() -> None:
        if done.fresh:
            line(say("Fait : le registre continue sous un nouveau nom.", "Done: the ledger goes on under a new name."))
        else:
            line(say("Rien à faire : c'était fait.", "Nothing to do: it was done."))
        pairs(
            [
                (say("registre", "ledger"), told["origin"]),
                (say("entrées", "entries"), told["size"]),
                (say("clé", "key"), told["key"]),
            ]
        )
        for one in told["follows"]:
            line(followed(one))
        if not written:
            line(say("Écrivez dans les réglages :", "Write into the settings:"))
            line(f'    ledger_origin = "{origin}"')

    answer(told, text)


def shapes(chain: "Sequence[Predecessor]") -> list[dict[str, Any]]:
    """The ledgers that one follows, the newest first."""
    return [
        {
            "origin": one.tree.origin,
            "size": one.tree.size,
            "root": one.tree.root.hex(),
            "kept": one.kept,
            "lost": one.lost,
        }
        for one in chain
    ]


def followed(told: dict[str, Any]) -> str:
    """One of them, in words."""
    name, size, kept, lost = (told[each] for each in ("origin", "size", "kept", "lost"))
    if kept is None:
        return say(
            f"suite de {name} : {size} entrées ; ce qui en vit est inscrit de nouveau",
            f"follows {name}: {size} entries; what lives of it was entered anew",
        )
    return say(
        f"suite de {name} : {size} entrées, dont {kept} ici de nouveau et {lost} perdues",
        f"follows {name}: {size} entries, of which {kept} stand here again and {lost} are lost",
    )
