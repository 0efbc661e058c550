"""Commands about where a citizen is told: `unefois channel ...`.

Refuses: a citizen's name, e-mail address or number as a word of the command line, where the shell's history and other
processes could read it.
Keeps: nothing of its own; `broker.services.channels` does it, `unefois serve` and `unefois run` send.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from broker.cli.frame import command, say
from broker.cli.grants import PersonOption, document_of
from broker.cli.session import at_home, read_file
from broker.cli.show import answer, each, pairs

if TYPE_CHECKING:
    from broker.services.channels import Done, Shown

app = typer.Typer(no_args_is_help=True, help="Where a citizen is told that there is news: e-mail addresses, numbers.")

ADDRESS_BYTES = 1024


@command(app, "add")
def add(
    kind: Annotated[Literal["email", "mobile"], typer.Argument(help="How they are told.")],
    *,
    person: PersonOption,
    address: Annotated[
        Path | None,
        typer.Option("--address", metavar="FILE", help="A file with the address alone; without it, it is asked for."),
    ] = None,
    language: Annotated[Literal["fr", "en"], typer.Option("--language", help="In which language.")] = "fr",
) -> None:
    """Tell a citizen at this address from now on. Every address held before is told that this one was added.

    The address is asked for, or read from what is piped in.

    Example: unefois channel add email --person me.yaml
    """
    from broker.services import channels
    from broker.services.viewing import for_person

    document = document_of(person)
    told = _address(address)
    done = at_home(
        lambda home: for_person(home, document, lambda whose: channels.add(home, whose, kind, told, language))
    )
    _tell(done)


@command(app, "list")
def list_channels(*, person: PersonOption) -> None:
    """Where a citizen is told, and what came of it. The look is written into the ledger; no address is shown whole.

    Example: unefois channel list --person me.yaml
    """
    from broker.services import channels
    from broker.services.viewing import for_person

    document = document_of(person)
    there = at_home(lambda home: for_person(home, document, lambda whose: channels.of(home, whose)))
    found = [_shape(one) for one in there]
    answer({"channels": found}, lambda: each(found, _show))


@command(app, "remove")
def remove(
    channel: Annotated[str, typer.Argument(metavar="ID", help="As `unefois channel list` shows it.")],
    *,
    person: PersonOption,
) -> None:
    """Tell a citizen nothing more at an address. That one and the others are told so.

    Example: unefois channel remove 0192f3a1-... --person me.yaml
    """
    from broker.services import channels
    from broker.services.viewing import for_person
    from schemas.names import ChannelId

    of, document = ChannelId.parse(channel), document_of(person)
    _tell(at_home(lambda home: for_person(home, document, lambda whose: channels.end(home, whose, of))))


def _address(file: Path | None) -> str:
    if file is not None:
        return read_file(file, ADDRESS_BYTES).decode("utf-8", "replace").strip()
    if sys.stdin.isatty():
        told: str = typer.prompt(say("adresse ou numéro", "address or number"), err=True)
        return told
    return read_file(Path("-"), ADDRESS_BYTES).decode("utf-8", "replace").strip()


def _tell(done: "Done") -> None:
    shape, entry = _shape(done.shown), done.entry.hex()

    def text() -> None:
        _show(shape)
        pairs([(say("entrée du registre", "ledger entry"), entry)])

    answer({"channel": shape, "entry": entry}, text)


def _shape(shown: "Shown") -> dict[str, Any]:
    from broker.shapes import time_of, uuid_of

    one = shown.channel
    return {
        "id": uuid_of(one.id),
        "kind": one.kind.value,
        "address": shown.hint,
        "language": one.language,
        "held_since": time_of(one.held_since),
        "ended_at": None if one.ended_at is None else time_of(one.ended_at),
        "sent_at": None if shown.sent_at is None else time_of(shown.sent_at),
        "failing": shown.failing,
        "given_up": shown.given_up,
    }


def _show(told: dict[str, Any]) -> None:
    kinds = {"email": say("courriel", "e-mail"), "mobile": say("mobile", "mobile")}
    pairs(
        [
            (say("canal", "channel"), told["id"]),
            (say("type", "kind"), kinds[told["kind"]]),
            (say("adresse", "address"), told["address"]),
            (say("langue", "language"), told["language"]),
            (say("depuis", "since"), told["held_since"]),
            (say("jusqu'à", "until"), told["ended_at"]),
            (say("dernier message", "last message"), told["sent_at"]),
            (say("échec", "failing"), told["failing"]),
            (say("abandonnés", "given up"), told["given_up"] or None),
        ]
    )
