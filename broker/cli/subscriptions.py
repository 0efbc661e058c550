"""Commands about subscriptions: `unefois subscribe ...`.

Refuses: nothing of its own.
Keeps: nothing of its own; `broker.services.subscriptions` does it.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import command, say, with_choices
from broker.cli.parties import full_type
from broker.cli.session import at_home
from broker.cli.show import answer, each, pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from broker.services.subscriptions import Standing
    from broker.setup.wiring import Home

app = typer.Typer()

Subscription = Annotated[str, typer.Argument(metavar="ID", help="As `unefois subscribe list` shows it.")]
LegalReference = Annotated[
    str | None, typer.Option("--legal-reference", help="The text that allows it. With it, the request is approved.")
]


@app.callback(invoke_without_command=True)
@with_choices
def subscribe(
    context: typer.Context,
    *,
    recipient: Annotated[str | None, typer.Option("--recipient", metavar="ID", help="Who wants to receive.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="address.changed, or the full name.")] = None,
    purpose: Annotated[str | None, typer.Option("--purpose", help="What for: family-benefits, income-tax ...")] = None,
    fields: Annotated[list[str] | None, typer.Option("--field", help="A field that it needs. Repeatable.")] = None,
    territories: Annotated[
        list[str] | None, typer.Option("--territory", help="An area: 35238, 35, R53. Repeatable. Default: everywhere.")
    ] = None,
    legal_reference: LegalReference = None,
    least_assurance: Annotated[
        str | None,
        typer.Option("--least-assurance", metavar="WORD", help="How the person must be known: low, substantial, high."),
    ] = None,
    least_quality: Annotated[
        str | None,
        typer.Option("--least-quality", metavar="WORD", help="What the fact must rest on: certified, authentic."),
    ] = None,
) -> None:
    """What administrations ask to receive, and on which legal ground.

    Without a further command: ask on an administration's behalf; with the legal reference, approve at once.

    Example: unefois subscribe --recipient urn:fr:siret:21440109300015 --type address.changed --purpose local-services
    --field subject --field new_address --territory 44109 --legal-reference "CGCT, art. L2121-29"
    """
    if context.invoked_subcommand is not None:
        return
    needed = {"--recipient": recipient, "--type": event_type, "--purpose": purpose, "--field": fields}
    for option, given in needed.items():
        if not given:
            raise typer.BadParameter("is needed", ctx=context, param_hint=option)
    from broker.services import subscriptions
    from schemas.assurance import least_of
    from schemas.names import EventType, PartyId, Purpose

    least = least_of(least_assurance or "none", least_quality or "declared")
    _tell(
        lambda home: subscriptions.ask(
            home,
            recipient=PartyId(recipient or ""),
            event_type=EventType(full_type(event_type or "")),
            purpose=Purpose(purpose or ""),
            fields=fields or [],
            territories=territories,
            legal_reference=legal_reference,
            least=least,
        )
    )


@command(app, "approve")
def approve(
    subscription: Subscription,
    legal_reference: Annotated[str, typer.Option("--legal-reference", help="The text that allows it.")],
) -> None:
    """Let an administration receive from now on.

    Example: unefois subscribe approve 0d9f5c1e-... --legal-reference "CSS, art. L583-3"
    """
    from broker.services import subscriptions

    of = subscription_id(subscription)
    _tell(lambda home: subscriptions.approve(home, of, legal_reference))


@command(app, "list")
def list_subscriptions() -> None:
    """Every subscription: asked for, approved, ended.

    Example: unefois subscribe list
    """
    from broker.services import subscriptions

    found = [_shaped(one) for one in at_home(subscriptions.every)]

    answer({"subscriptions": found}, lambda: each(found, _show))


@command(app, "end")
def end(subscription: Subscription) -> None:
    """No more deliveries from now on; what was not released stays closed.

    Example: unefois subscribe end 0d9f5c1e-...
    """
    from broker.services import subscriptions

    of = subscription_id(subscription)
    _tell(lambda home: subscriptions.end(home, of))


@command(app, "pause")
def pause(subscription: Subscription) -> None:
    """Hand out nothing of it for a while: what is planned waits. Its administration can resume it, too.

    Example: unefois subscribe pause 0d9f5c1e-...
    """
    from broker.services import subscriptions

    of = subscription_id(subscription)
    _tell(lambda home: subscriptions.pause(home, of))


@command(app, "resume")
def resume(subscription: Subscription) -> None:
    """Hand out what waited, the oldest first, and what comes.

    Example: unefois subscribe resume 0d9f5c1e-...
    """
    from broker.services import subscriptions

    of = subscription_id(subscription)
    _tell(lambda home: subscriptions.resume(home, of))


def _tell(work: "Callable[[Home], Coroutine[Any, Any, Standing]]") -> None:
    """One change of one subscription; then as it is now."""
    told = _shaped(at_home(work))
    answer(told, lambda: _show(told))


def _shaped(one: "Standing") -> dict[str, Any]:
    from broker import shapes

    return shapes.subscription(one.subscription) | {"paused_at": shapes.time_of(one.paused_at)}


def subscription_id(text: str) -> bytes:
    """As `subscribe list` shows it. Raises a usage error."""
    try:
        raw = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        raw = b""
    if len(raw) != 16:
        raise typer.BadParameter("32 hexadecimal digits are needed, as `unefois subscribe list` shows them")
    return raw


def _show(told: dict[str, Any]) -> None:
    everywhere = say("partout", "everywhere")
    pairs(
        [
            (say("abonnement", "subscription"), told["id"]),
            (say("destinataire", "recipient"), told["recipient"]),
            (say("type", "type"), told["event_type"]),
            (say("finalité", "purpose"), told["purpose"]),
            (say("champs", "fields"), ", ".join(told["fields"])),
            (say("territoires", "territories"), ", ".join(told["territories"] or [everywhere])),
            (say("état", "status"), told["status"]),
            *([(say("en pause depuis", "paused since"), told["paused_at"])] if told.get("paused_at") else []),
            (say("texte", "legal reference"), told["legal_reference"]),
            *([(say("au moins", "at least"), least)] if (least := _least(told)) else []),
        ]
    )


def _least(told: dict[str, Any]) -> str:
    """How sure a declaration has to be, where every one is not."""
    words = [told["least_assurance"], told["least_quality"]]
    return ", ".join(word for word in words if word not in ("none", "declared"))
