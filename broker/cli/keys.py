"""Commands about the key store: `unefois keys ...`: its passphrase, and keys that no book knows.

Refuses: to destroy a key without asking, unless told not to ask; a passphrase on the command line, where it is seen.
Keeps: nothing of its own; `broker.keys` and `broker.epochs.epochs` do it.
"""

from pathlib import Path
from typing import Annotated

import typer

from broker.cli.acting import named
from broker.cli.frame import command, say
from broker.cli.session import at_home, settings
from broker.cli.show import answer, line, table
from schemas.errors import Refused

app = typer.Typer(no_args_is_help=True, help="The key store: its passphrase, and keys that no book knows.")
unknown = typer.Typer(no_args_is_help=True, help="Epoch keys in the store that the database does not know.")
app.add_typer(unknown, name="unknown")


@command(app, "lock")
def lock(
    new: Annotated[
        Path, typer.Option("--passphrase-file", metavar="FILE", help="Holds the new passphrase, and only it.")
    ],
    old: Annotated[
        Path | None,
        typer.Option(
            "--old-passphrase-file", metavar="FILE", help="Holds the one of now. Default: that of the settings, if any."
        ),
    ] = None,
) -> None:
    """Lock the key store with a passphrase, or change the one it has. Stop every process of the home first.

    Killed anywhere, call it again with the same new passphrase. Afterwards name the new file in
    UNEFOIS_KEYS_PASSPHRASE_FILE. Copies of the folder that were made before still open as they did.

    Example: unefois keys lock --passphrase-file /run/credentials/new
    """
    from broker.services import keeping
    from broker.settings.sources import secret_in

    here = settings()
    if not here.keys_folder.is_dir():
        raise Refused("cli.no-home", file=str(here.home))
    was = here.secret_passphrase() if old is None else secret_in(old, "keys_passphrase")
    wanted = secret_in(new, "keys_passphrase")
    with named(here, was):
        written = keeping.lock_keys(here, was, wanted)

    def text() -> None:
        line(say(f"{written} clés scellées de nouveau.", f"{written} keys sealed anew."))
        line(say(f"À présent : UNEFOIS_KEYS_PASSPHRASE_FILE={new}", f"From now on: UNEFOIS_KEYS_PASSPHRASE_FILE={new}"))

    answer({"sealed": written}, text)


@command(unknown, "list")
def list_unknown() -> None:
    """Epoch keys that the database does not know: they are kept, and count as living. An empty list is the rule.

    Example: unefois keys unknown list
    """

    from broker.services import keeping

    found = [{"kind": kind.value, "name": name} for kind, name in at_home(keeping.unknown_keys)]

    def text() -> None:
        if not found:
            line(say("Aucune.", "None."))
            return
        table([say("genre", "kind"), say("nom", "name")], [(one["kind"], one["name"]) for one in found])

    answer({"unknown": found}, text)


@command(unknown, "destroy")
def destroy_unknown(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `unefois keys unknown list` shows it.")],
    confirmed: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Destroy a key that the database does not know, for good: whatever was sealed to it is noise from now on.

    Be sure first that this is the right database: a wrong one, or an old backup, knows few of the right keys.

    Example: unefois keys unknown destroy 7 --yes
    """
    if not confirmed:
        typer.confirm(say("Détruire pour toujours ?", "Destroy for ever?"), abort=True, err=True)

    from broker.services import keeping

    kind = at_home(lambda home: keeping.destroy_unknown(home, name)).value
    answer({"destroyed": name, "kind": kind}, lambda: line(say("Détruite.", "Destroyed.")))
