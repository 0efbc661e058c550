"""Commands about webhooks: `unefois webhook ...`.

Refuses: nothing of its own.
Keeps: nothing of its own; `broker.services.webhooks` does it, `unefois serve` and `unefois run` send. A shared secret
is printed where it is new and never again.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import command, say
from broker.cli.session import at_home
from broker.cli.show import answer, each, pairs, table

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from broker.services.webhooks import Endpoint
    from broker.setup.wiring import Home

app = typer.Typer(no_args_is_help=True, help="Where administrations are told that deliveries wait for them.")

HookArgument = Annotated[str, typer.Argument(metavar="ID", help="As `unefois webhook list` shows it.")]


@command(app, "add")
def add(
    party: Annotated[str, typer.Argument(metavar="PARTY", help="Who is told.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="Its endpoint, https.")],
    *,
    symmetric: Annotated[bool, typer.Option("--symmetric", help="Sign with a shared secret, too; shown now.")] = False,
) -> None:
    """Register an endpoint. It is told that deliveries wait once it has echoed a challenge.

    Example: unefois webhook add urn:fr:siret:21440109300015 https://nantes.example/unefois
    """

    from broker.services import webhooks
    from schemas.names import PartyId

    _tell(lambda home: webhooks.add(home, PartyId(party), url, symmetric=symmetric))


@command(app, "list")
def list_webhooks(
    party: Annotated[str | None, typer.Option("--party", metavar="ID", help="Those of one administration.")] = None,
) -> None:
    """Every webhook, with its status and the keys to verify with; ended ones too.

    Example: unefois webhook list --party urn:fr:siret:21440109300015
    """

    from broker.services import webhooks
    from schemas.names import PartyId

    of = None if party is None else PartyId(party)
    found = [_told(one) for one in at_home(lambda home: webhooks.every(home, of))]
    answer({"webhooks": found}, lambda: each(found, _show))


@command(app, "attempts")
def attempts(
    webhook: HookArgument,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="How many, newest first.")] = 20,
) -> None:
    """What was sent to a webhook, and what came of it.

    Example: unefois webhook attempts 0d9f5c1e-...
    """

    from broker.services import webhooks
    from schemas.names import rfc3339

    found = [
        {
            "at": rfc3339(one.at),
            "type": one.kind.value,
            "status": one.status,
            "code": one.code,
            "duration_ms": one.duration_ms,
        }
        for one in at_home(lambda home: webhooks.attempts(home, webhook, limit))
    ]
    columns = [say("instant", "at"), "type", say("statut", "status"), "code", "ms"]
    answer({"attempts": found}, lambda: table(columns, [list(one.values()) for one in found]))


@command(app, "prove")
def prove(webhook: HookArgument) -> None:
    """Challenge an endpoint anew, when it was disabled and mended since.

    Example: unefois webhook prove 0d9f5c1e-...
    """
    from broker.services import webhooks

    _tell(lambda home: webhooks.prove(home, webhook))


@command(app, "rotate")
def rotate(
    webhook: HookArgument,
    *,
    hours: Annotated[int, typer.Option("--overlap-hours", min=0, max=168, help="The old keys sign, too.")] = 24,
) -> None:
    """New keys from now on; the old ones sign beside them for a while.

    Example: unefois webhook rotate 0d9f5c1e-... --overlap-hours 48
    """

    from broker.services import webhooks

    _tell(lambda home: webhooks.rotate(home, webhook, hours))


@command(app, "end")
def end(webhook: HookArgument) -> None:
    """Tell an endpoint nothing more.

    Example: unefois webhook end 0d9f5c1e-...
    """
    from broker.services import webhooks

    _tell(lambda home: webhooks.end(home, webhook))


def _tell(work: "Callable[[Home], Coroutine[Any, Any, Endpoint]]") -> None:
    told = _told(at_home(work))
    answer(told, lambda: _show(told))


def _told(endpoint: "Endpoint") -> dict[str, Any]:
    from broker.shapes import uuid_of
    from schemas.names import rfc3339

    one, keys = endpoint.webhook, endpoint.keys
    return {
        "id": uuid_of(one.id),
        "party": one.party,
        "url": one.url,
        "status": one.status.value,
        "reason": one.reason,
        "changed_at": rfc3339(one.changed_at),
        "attempts": one.attempts,
        "next_at": None if one.next_at is None else rfc3339(one.next_at),
        "mailed_at": None if one.mailed_at is None else rfc3339(one.mailed_at),
        "mail_code": one.mail_code,
        "public_keys": list(keys.public),
        **({"secret": keys.secret} if keys.secret is not None else {}),
    }


def _show(told: dict[str, Any]) -> None:
    pairs(
        [
            ("webhook", told["id"]),
            (say("administration", "party"), told["party"]),
            (say("adresse", "address"), told["url"]),
            (say("état", "status"), told["status"]),
            (say("raison", "reason"), told["reason"]),
            (say("essais sans succès", "failed attempts"), told["attempts"] or None),
            (say("prochain essai", "next attempt"), told["next_at"]),
            (say("prévenu par courriel", "told by mail"), told["mailed_at"] or told["mail_code"]),
            *((say("clé publique", "public key"), key) for key in told["public_keys"]),
            (say("secret, montré une seule fois", "secret, shown once"), told.get("secret")),
        ]
    )
