"""Commands about the keys that come in epochs: `unefois epoch ...`.

Refuses: to destroy a key without asking, unless told not to ask.
Keeps: nothing of its own; `broker.services.keeping` does it.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from broker.cli.frame import command, say
from broker.cli.session import at_home
from broker.cli.show import answer, line, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.epochs.epochs import ConsentEpoch, GateEpoch

app = typer.Typer(no_args_is_help=True, help="Epoch keys of the gate and of the consents: rotate them, destroy them.")

WhichArgument = Annotated[Literal["gate", "consent"], typer.Argument(metavar="gate|consent")]


@command(app, "list")
def list_epochs() -> None:
    """Every epoch of the gate (what sources seal to) and of the consents (what wraps their keys).

    Example: unefois epoch list
    """
    from broker.services import keeping

    told = _told(*at_home(keeping.epochs))

    def text() -> None:
        columns = [say("ouverte", "opened"), say("close", "closed"), say("détruite", "destroyed")]
        table(
            [say("clé du guichet", "gate key"), *columns],
            [(one["kid"], one["opened_at"], one["closed_at"], one["destroyed_at"]) for one in told["gate"]],
        )
        line("")
        table(
            [say("époque des consentements", "consent epoch"), columns[0], columns[2], say("clés", "keys")],
            [(one["epoch"], one["opened_at"], one["destroyed_at"], one["keys"]) for one in told["consent"]],
        )

    answer(told, text)


@command(app, "rotate")
def rotate(
    which: WhichArgument,
    overlap_days: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=400,
            help="gate: how long the old key is still taken; else `gate_overlap_days`. 0 if it was stolen.",
        ),
    ] = None,
) -> None:
    """Begin a new epoch.

    gate: sources seal to a new key from now on; the old one stays good for `gate_overlap_days`.

    consent: every living consent key is wrapped anew and the older epoch keys are destroyed, so that no backup from
    before opens what was revoked since.

    Example: unefois epoch rotate consent
    """

    from broker.services import keeping

    told: dict[str, Any]
    if which != "gate" and overlap_days is not None:
        raise typer.BadParameter("goes with gate", param_hint="--overlap-days")
    if which == "gate":
        kid = at_home(lambda home: keeping.rotate_gate(home, overlap_days))
        told = {"epoch": "gate", "kid": kid.hex()}
    else:
        told = {"epoch": "consent", "rewrapped": at_home(keeping.rotate_consents)}

    def text() -> None:
        if which == "gate":
            line(say(f"Nouvelle clé : {told['kid']}", f"New key: {told['kid']}"))
        else:
            count = told["rewrapped"]
            line(say(f"Clés enveloppées de nouveau : {count}", f"Keys wrapped anew: {count}"))

    answer(told, text)


@command(app, "destroy")
def destroy(
    kid: Annotated[str, typer.Argument(metavar="KID", help="A closed gate key, as `unefois epoch list` shows it.")],
    confirmed: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Destroy a closed key of the gate: whatever was sealed to it is noise from now on, in every copy and backup.

    Old consent epochs are destroyed by `unefois epoch rotate consent`.

    Example: unefois epoch destroy 5c0f... --yes
    """
    from broker.services import keeping
    from schemas.names import Kid

    parsed = Kid.parse(kid)
    if not confirmed:
        typer.confirm(say("Détruire pour toujours ?", "Destroy for ever?"), abort=True, err=True)

    at_home(lambda home: keeping.destroy_gate(home, parsed))
    answer({"destroyed": kid}, lambda: line(say("Détruite.", "Destroyed.")))


def _told(gate: "Sequence[GateEpoch]", consent: "Sequence[ConsentEpoch]") -> dict[str, Any]:
    from broker import shapes

    return {
        "gate": [
            {
                "kid": one.kid.hex(),
                "opened_at": shapes.time_of(one.opened_at),
                "closed_at": shapes.time_of(one.closed_at),
                "destroyed_at": shapes.time_of(one.destroyed_at),
            }
            for one in gate
        ],
        "consent": [
            {
                "epoch": one.epoch,
                "opened_at": shapes.time_of(one.opened_at),
                "destroyed_at": shapes.time_of(one.destroyed_at),
                "keys": one.keys,
            }
            for one in consent
        ],
    }
