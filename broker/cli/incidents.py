"""Commands for when something went wrong: `unefois party signed`, `party busiest`, `subscribe released`.

Refuses: nothing of its own.
Keeps: they look and change nothing; no citizen is named. `broker.services.incidents` does it.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.declarations import progress_word
from broker.cli.frame import command, say
from broker.cli.session import at_home, instant
from broker.cli.show import answer, line, pairs, table
from broker.cli.subscriptions import Subscription, subscription_id

if TYPE_CHECKING:
    from broker.directory.reading import Party

SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="WHEN", help="2026-11-24T08:00:00Z. Default: ever since.")
]


def register(parties: typer.Typer, subscriptions: typer.Typer) -> None:
    """Add the commands to their groups."""
    command(parties, "busiest")(busiest)
    command(parties, "signed")(signed)
    command(subscriptions, "released")(released)


def signed(
    kid: Annotated[str, typer.Argument(metavar="KID", help="64 hexadecimal digits, as `party list` shows them.")],
    since: SinceOption = None,
) -> None:
    """What a signing key has signed, and who was told: for when somebody else has it.

    Tell those who could open it; the source corrects what is false with its next key (`declare --corrects`).

    Example: unefois party signed 5c0f... --since 2026-11-24T08:00:00Z
    """
    from broker.services import incidents
    from broker.shapes import time_of, uuid_of
    from schemas.names import Kid

    parsed, start = Kid.parse(kid), None if since is None else instant(since, end_of_day=False)
    found = at_home(lambda home: incidents.signed_by(home, parsed, start))
    told = {
        "kid": kid,
        "party": found.party,
        "persons": found.persons,
        "not_routed": found.waiting,
        "opened_by": _counted(found.opened_by),
        "declarations": [
            {
                "declaration": uuid_of(one.declaration),
                "event_type": one.event_type,
                "received_at": time_of(one.received_at),
                "told": [
                    {
                        "recipient": each.recipient,
                        "progress": each.progress.value,
                        "released_at": time_of(each.released_at),
                    }
                    for each in one.told
                ],
            }
            for one in found.declarations
        ],
    }
    answer(told, lambda: _show_signed(told))


def busiest(
    last: Annotated[
        int, typer.Option("--last", min=1, max=100_000, help="How many of the newest declarations are counted.")
    ] = 1000,
) -> None:
    """Which sources the newest declarations come from: who floods is at the top. What waits to be routed is not in it.

    Example: unefois party busiest --last 5000
    """
    from broker.services import incidents
    from broker.shapes import time_of

    found = at_home(lambda home: incidents.busiest(home, last))
    sources, since = _counted(found.sources), time_of(found.since)

    def text() -> None:
        pairs([(say("depuis", "since"), since)])
        _show_counted(sources)

    answer({"since": since, "sources": sources}, text)


def released(subscription: Subscription, since: SinceOption = None) -> None:
    """What its administration could open under a subscription: for when its approval was a mistake.

    Example: unefois subscribe released 0d9f5c1e-... --since 2026-11-24T08:00:00Z
    """
    from broker.services import incidents
    from broker.shapes import time_of, uuid_of

    of, start = subscription_id(subscription), None if since is None else instant(since, end_of_day=False)
    found = at_home(lambda home: incidents.released_under(home, of, start))
    told: dict[str, Any] = {
        "recipient": found.recipient.id,
        "contact": found.recipient.contact,
        "persons": found.persons,
        "deliveries": [
            {
                "delivery": uuid_of(one.delivery),
                "declaration": uuid_of(one.declaration),
                "source": one.source,
                "fields": list(one.fields),
                "released_at": time_of(one.released_at),
                "progress": one.progress.value,
            }
            for one in found.deliveries
        ],
    }

    def text() -> None:
        pairs(
            [
                (say("destinataire", "recipient"), f"{told['recipient']}; {told['contact']}"),
                (say("personnes concernées", "persons concerned"), told["persons"]),
                (say("livraisons ouvertes", "deliveries opened"), len(found.deliveries)),
            ]
        )
        columns = [say("ouverte", "opened"), say("déclaration", "declaration"), say("état", "progress")]
        rows = [
            (one["released_at"], one["declaration"], progress_word(one["progress"]), ", ".join(one["fields"]))
            for one in told["deliveries"]
        ]
        if rows:
            table([*columns, say("champs", "fields")], rows)

    answer(told, text)


def _counted(found: "tuple[tuple[Party, int], ...]") -> list[dict[str, Any]]:
    return [{"party": one.id, "name": one.name, "contact": one.contact, "declarations": count} for one, count in found]


def _show_counted(told: list[dict[str, Any]]) -> None:
    columns = [say("administration", "party"), say("déclarations", "declarations"), "contact"]
    if told:
        table(columns, [(one["party"], one["declarations"], one["contact"]) for one in told])


def _show_signed(told: dict[str, Any]) -> None:
    pairs(
        [
            (say("source", "source"), told["party"]),
            (say("déclarations", "declarations"), len(told["declarations"])),
            (say("personnes concernées", "persons concerned"), told["persons"]),
            (say("pas encore routées, toutes clés", "not routed yet, by any key"), told["not_routed"]),
        ]
    )
    columns = [say("reçue", "received"), say("déclaration", "declaration"), say("type", "type")]
    columns += [say("destinataire", "recipient"), say("état", "progress"), say("ouverte", "opened")]
    rows = [
        (one["received_at"], one["declaration"], one["event_type"], *_of(each))
        for one in told["declarations"]
        for each in one["told"] or [None]
    ]
    if rows:
        line("")
        table(columns, rows)
    if told["opened_by"]:
        line(f"\n{say('Qui a pu en ouvrir :', 'Who could open some of them:')}")
        _show_counted(told["opened_by"])


def _of(told: dict[str, Any] | None) -> tuple[object, object, object]:
    return (
        (None, None, None)
        if told is None
        else (
            told["recipient"],
            progress_word(told["progress"]),
            told["released_at"],
        )
    )
