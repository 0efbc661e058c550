"""Commands about webhooks: `unefois webhook ...`.

Refuses: nothing of its own.
Keeps: nothing of its own; `broker.webhooks` decides, `unefois serve` and `unefois run` send. A shared secret is printed
where it is new and never again.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import command, say
from broker.cli.session import at_home
from broker.cli.show import answer, each, pairs, table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broker.setup.wiring import Home
    from broker.store.engine import Transaction
    from broker.webhooks.endpoints import Webhook

app = typer.Typer(no_args_is_help=True, help="Where administrations are told that deliveries wait for them.")

HookArgument = Annotated[str, typer.Argument(metavar="ID", help="As `unefois webhook list` shows it.")]
HOUR_MS = 3_600_000


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

    async def work(home: "Home") -> dict[str, Any]:
        from schemas.names import PartyId

        async with home.store.begin() as tx:
            made = await home.webhooks.add(tx, PartyId(party), url, home.clock(), symmetric=symmetric)
        return _told(home, made, show_secret=True)

    told = at_home(work)
    answer(told, lambda: _show(told))


@command(app, "list")
def list_webhooks(
    party: Annotated[str | None, typer.Option("--party", metavar="ID", help="Those of one administration.")] = None,
) -> None:
    """Every webhook, with its status and the keys to verify with; ended ones too.

    Example: unefois webhook list --party urn:fr:siret:21440109300015
    """

    async def work(home: "Home") -> list[dict[str, Any]]:
        from schemas.names import PartyId

        async with home.store.read() as tx:
            found = await home.webhooks.list(tx, None if party is None else PartyId(party))
        return [_told(home, one) for one in found]

    found = at_home(work)
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

    async def work(home: "Home") -> list[dict[str, Any]]:
        from schemas.instants import rfc3339

        async with home.store.read() as tx:
            one = await _one(home, tx, webhook)
            found = await home.webhooks.attempts(tx, one.party, one.id, limit=limit)
        return [
            {
                "at": rfc3339(each.at),
                "type": each.kind.value,
                "status": each.status,
                "code": each.code,
                "duration_ms": each.duration_ms,
            }
            for each in found
        ]

    found = at_home(work)
    columns = [say("instant", "at"), "type", say("statut", "status"), "code", "ms"]
    answer({"attempts": found}, lambda: table(columns, [list(one.values()) for one in found]))


@command(app, "prove")
def prove(webhook: HookArgument) -> None:
    """Challenge an endpoint anew, when it was disabled and mended since.

    Example: unefois webhook prove 0d9f5c1e-...
    """
    _change(webhook, lambda home, tx, of: home.webhooks.prove(tx, of.party, of.id, home.clock()))


@command(app, "rotate")
def rotate(
    webhook: HookArgument,
    *,
    hours: Annotated[int, typer.Option("--overlap-hours", min=0, max=168, help="The old keys sign, too.")] = 24,
) -> None:
    """New keys from now on; the old ones sign beside them for a while.

    Example: unefois webhook rotate 0d9f5c1e-... --overlap-hours 48
    """

    def renew(home: "Home", tx: "Transaction", of: "Webhook") -> "Awaitable[Webhook]":
        return home.webhooks.rotate(tx, of.party, of.id, home.clock(), hours * HOUR_MS)

    _change(webhook, renew, show_secret=True)


@command(app, "end")
def end(webhook: HookArgument) -> None:
    """Tell an endpoint nothing more.

    Example: unefois webhook end 0d9f5c1e-...
    """
    _change(webhook, lambda home, tx, of: home.webhooks.end(tx, of.party, of.id, home.clock()))


def _change(
    webhook: str, change: "Callable[[Home, Transaction, Webhook], Awaitable[Webhook]]", *, show_secret: bool = False
) -> None:
    """One change of one webhook, in a transaction of its own; then as it is now."""

    async def changed(home: "Home") -> dict[str, Any]:
        async with home.store.begin() as tx:
            made = await change(home, tx, await _one(home, tx, webhook))
        return _told(home, made, show_secret=show_secret)

    told = at_home(changed)
    answer(told, lambda: _show(told))


async def _one(home: "Home", tx: "Transaction", text: str) -> "Webhook":
    """Whosever it is. Raises Refused `webhooks.unknown`."""
    from schemas.errors import Refused

    wanted = text.replace("-", "")
    for one in await home.webhooks.list(tx):
        if one.id.hex() == wanted:
            return one
    raise Refused("webhooks.unknown", "/webhook")


def _told(home: "Home", one: "Webhook", *, show_secret: bool = False) -> dict[str, Any]:
    from broker.webhooks.telling import uuid_text
    from schemas.instants import rfc3339

    keys = home.webhooks.keys(one, home.clock(), show_secret=show_secret)
    return {
        "id": uuid_text(one.id),
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
