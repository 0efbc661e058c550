"""Commands about people whose identity changed: `unefois identity link`, `confirm`, `list`, `refuse`, `unlink`.

Refuses: a citizen's name as a word of the command line.
Keeps: nothing of its own; `broker.services.identities` does it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import command, say
from broker.cli.grants import PersonOption, document_of
from broker.cli.session import at_home
from broker.cli.show import answer, each, line, pairs

if TYPE_CHECKING:
    from broker.consents.linking import Parted
    from broker.directory.kin import Link

app = typer.Typer(no_args_is_help=True, help="People whose name changed: who they were, and who they are.")

LinkArgument = Annotated[str, typer.Argument(metavar="LINK", help="As `unefois identity list` shows it.")]


def register(root: typer.Typer) -> None:
    """Add the commands to the root."""
    root.add_typer(app, name="identity")


@command(app, "link")
def link(
    *,
    old: Annotated[Path, typer.Option("--old", metavar="FILE", help="The identity as it was, as for --person.")],
    new: Annotated[Path, typer.Option("--new", metavar="FILE", help="The identity as it is now.")],
    evidence: Annotated[
        str, typer.Option("--evidence", metavar="NUMBER", help="The number of the act or decision; no name.")
    ],
) -> None:
    """Ask that a person who has another name now be known as the one of before. It joins nothing yet.

    The two files have the same date of birth. Two persons confirm it: `unefois identity confirm`.

    Example: unefois identity link --old elise-martin.yaml --new elise-moreau.yaml --evidence "Rennes 2026/123"
    """
    from broker.services import identities

    before, after = document_of(old), document_of(new)
    _show_one(at_home(lambda home: identities.link(home, before, after, evidence=evidence)))


@command(app, "confirm")
def confirm(link: LinkArgument) -> None:
    """Say that the act is seen. Both identities are told; the link acts `link_delay_hours` from now.

    Example: unefois identity confirm 0192f3a1-...
    """
    from broker.services import identities
    from schemas.names import LinkId

    of = LinkId.parse(link)
    _show_one(at_home(lambda home: identities.confirm(home, of)))


@command(app, "list")
def list_links(
    *,
    person: Annotated[
        Path | None, typer.Option("--person", metavar="FILE", help="One person's alone; the look is in the ledger.")
    ] = None,
) -> None:
    """The links of identities, ended ones too. No name is in them.

    Example: unefois identity list
    """
    from broker.services import identities
    from broker.services.viewing import for_person

    document = None if person is None else document_of(person)
    found = at_home(
        lambda home: (
            identities.every(home)
            if document is None
            else for_person(home, document, lambda whose: identities.of_person(home, whose))
        )
    )
    told = [_shape(one) for one in found]
    answer({"links": told}, lambda: each(told, _show))


@command(app, "refuse")
def refuse(link: LinkArgument, *, person: PersonOption) -> None:
    """Refuse a link in a person's name, before it acts: the other identity is somebody else's.

    Example: unefois identity refuse 0192f3a1-... --person me.yaml
    """
    from broker.services import identities
    from broker.services.viewing import for_person
    from schemas.names import LinkId

    of, document = LinkId.parse(link), document_of(person)
    _parted(at_home(lambda home: for_person(home, document, lambda whose: identities.refuse(home, whose, of))))


@command(app, "unlink")
def unlink(link: LinkArgument) -> None:
    """End a link: each identity has its own again, and what was on its way by it is closed.

    What recipients have got by it is told: recall it where it was wrong.

    Example: unefois identity unlink 0192f3a1-...
    """
    from broker.services import identities
    from schemas.names import LinkId

    of = LinkId.parse(link)
    _parted(at_home(lambda home: identities.unlink(home, of)))


def _show_one(made: "Link") -> None:
    told = _shape(made)
    answer(told, lambda: _show(told))


def _parted(done: "Parted") -> None:
    from broker.shapes import uuid_of

    told = _shape(done.link)
    delivered = [
        {"declaration": uuid_of(one.declaration_id), "recipient": one.recipient, "event_type": one.event_type}
        for one in done.delivered
    ]

    def text() -> None:
        _show(told)
        for one in delivered:
            line(
                say(
                    f"Déjà remise par ce rapprochement : {one['declaration']} à {one['recipient']}. À rappeler si elle "
                    "était fausse : `unefois recall`.",
                    f"Handed over by this link: {one['declaration']} to {one['recipient']}. Recall it if it was wrong: "
                    "`unefois recall`.",
                )
            )

    answer({**told, "delivered": delivered}, text)


def _shape(one: "Link") -> dict[str, Any]:
    from broker.shapes import time_of, uuid_of

    def when(at: Any) -> str | None:
        return None if at is None else time_of(at)

    return {
        "id": uuid_of(one.id),
        "status": one.status,
        "ground": one.ground.value,
        "evidence": one.evidence,
        "asked_by": one.asked_by,
        "asked_at": when(one.asked_at),
        "confirmed_at": when(one.confirmed_at),
        "acts_from": when(one.acts_from),
        "ended_at": when(one.ended_at),
        "ended_by": one.ended_by,
    }


def _show(told: dict[str, Any]) -> None:
    pairs(
        [
            (say("rapprochement", "link"), told["id"]),
            (say("état", "status"), told["status"]),
            (say("fondement", "ground"), told["ground"]),
            (say("acte", "evidence"), told["evidence"]),
            (say("demandé par", "asked by"), told["asked_by"]),
            (say("demandé le", "asked at"), told["asked_at"]),
            (say("confirmé le", "confirmed at"), told["confirmed_at"]),
            (say("agit depuis", "acts from"), told["acts_from"]),
            (say("fini le", "ended at"), told["ended_at"]),
            (say("par", "by"), told["ended_by"]),
        ]
    )
