"""Notices: an administration hears by mail that its webhook was given up, for the webhook itself cannot say so.

    disabled ──► due ──claimed──► sent ──noted──► mailed
                  └────────── not taken: later, ever more seldom, ten times in all ──► given up, with the code

Refuses: to say more than whose endpoint, since when and why; nothing of a citizen, no path or query of the endpoint's
address, which may hold a secret.
Keeps: the notice is written in the transaction that disables the webhook, and is gone when it is proven anew or ended.
One process sends it, under a lease; what a crash interrupts after the sending is sent once more, under the same
`Message-ID`. Without a mail server notices wait, and the API and the metrics tell of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import Row, select, update

from broker.messages.mail import Letter, Mail, address_in
from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.access_tables import webhook_notices, webhooks
from broker.store.engine import Store
from broker.store.rows.seals import RowReader
from broker.store.tables import parties
from schemas.errors import Fault, Refused
from schemas.messages import Language, table
from schemas.names import Instant, PartyId, rfc3339

_MINUTE, _HOUR = 60_000, 3_600_000
WAITS: Final = (_MINUTE, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 6 * _HOUR, *(24 * _HOUR,) * 4)
"""Milliseconds between one try and the next: ten in five days."""
LEASE_MS: Final = 80_000
"""Longer than a letter may take."""
AT_ONCE: Final = 20
"""Letters of one step."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """What came of one try. `code` is None where the mail server took the letter."""

    party: PartyId
    code: str | None


class Notices:
    """Sends what is due. `step` may be called by many processes at once."""

    def __init__(
        self, *, store: Store, rows: RowReader, mail: Mail | None, name: str, contact: str, clock: Clock
    ) -> None:
        """`name`, `contact`: who runs this broker, as the letter is signed."""
        self._store = store
        self._rows = rows
        self._mail = mail
        self._signed = f"{name}\n{contact}"
        self._clock = clock

    async def step(self) -> Sequence[Noticed]:
        """Send what is due. Raises Unavailable, for the database alone: a mail server that is away is an outcome."""
        found: list[Noticed] = []
        while self._mail is not None and len(found) < AT_ONCE:
            claimed = await self._claimed()
            if claimed is None:
                break
            row, to = claimed
            found.append(Noticed(PartyId(row.party), await self._sent(self._mail, row, to)))
        return found

    async def _claimed(self) -> tuple[Row[Any], str | None] | None:
        """The next one that is due, under a lease: `next_at` is when another may have it. And where it goes: None where
        there is no address, or it stands in a row that does not count (`broker.store.rows`).
        """
        at = self._clock()
        due = select(webhook_notices.c.webhook, webhook_notices.c.next_at).where(webhook_notices.c.next_at <= at)
        async with self._store.read() as tx:
            first = (await tx.execute(due.order_by(webhook_notices.c.next_at).limit(1))).one_or_none()
        if first is None:
            return None
        mine = (webhook_notices.c.webhook == first.webhook, webhook_notices.c.next_at == first.next_at)
        async with self._store.begin() as tx:
            done = await tx.execute(update(webhook_notices).where(*mine).values(next_at=at + LEASE_MS))
            mark("notices.claimed")
            # Crash here, or after the commit: nothing was sent; it is due again when the lease is over.
            if done.rowcount == 0:  # another was faster, or the webhook was mended
                return None
            joined = webhook_notices.join(webhooks)
            columns = (webhook_notices, webhooks.c.party, webhooks.c.url)
            query = select(*columns).select_from(joined).where(webhook_notices.c.webhook == first.webhook)
            row = (await tx.execute(query)).one()
            hook = (await tx.execute(select(webhooks).where(webhooks.c.id == first.webhook))).one()
            there = (await tx.execute(select(parties).where(parties.c.id == row.party))).one_or_none()
            party = self._rows.one(parties.name, there)
            if party is None or self._rows.one(webhooks.name, hook) is None:
                return row, None
            return row, address_in(party.contact)

    async def _sent(self, mail: Mail, row: Row[Any], to: str | None) -> str | None:
        """Send, and note what came of it; returns the code of what was wrong."""
        at = self._clock()
        code: str | None = None
        try:
            if to is None:
                raise Refused("mail.no-address")
            await mail.send(self._letter(to, row, at))
        except Fault as fault:
            code = fault.code
        later = None if to is None or row.attempts >= len(WAITS) else at + WAITS[row.attempts]
        told = {"mailed_at": at, "next_at": None} if code is None else {"next_at": later}
        mine = (webhook_notices.c.webhook == row.webhook, webhook_notices.c.next_at == row.next_at)
        async with self._store.begin() as tx:
            values = {"attempts": row.attempts + 1, "code": code, **told}
            await tx.execute(update(webhook_notices).where(*mine).values(**values))
            mark("notices.noted")
            # Crash here: sent and not noted; when the lease is over the same letter goes once more, with the same id.
        return code

    def _letter(self, to: str, row: Row[Any], at: Instant) -> Letter:
        of, since = UUID(bytes=bytes(row.webhook)), rfc3339(Instant(row.disabled_at))
        host = urlsplit(row.url).hostname
        told = [_TEXT[language].format(host=host, of=of, since=since, why=table()[row.reason][language])
                for language in _LANGUAGES]  # fmt: skip
        text = "\n\n— — —\n\n".join(told) + f"\n\n-- \n{self._signed}\n"
        return Letter(to, _SUBJECT, text, f"webhook-{of}-{row.disabled_at}", at)


_LANGUAGES: Final[tuple[Language, ...]] = ("fr", "en")
_SUBJECT: Final = "Unefois : votre webhook ne répond plus / your webhook does not answer"
_TEXT: Final = {
    "fr": (
        "Bonjour,\n\nVotre webhook {of}, chez {host}, est désactivé depuis le {since} : {why}\n\n"
        "Rien n'est perdu : ce qui attend reste dans votre boîte, et vous pouvez le relever à tout moment.\n"
        "Réparez votre point d'entrée, puis faites-le prouver à nouveau : POST /v1/webhooks/{of}:prove.\n"
        "Ce qui lui a été envoyé, et ce qu'il a répondu : GET /v1/webhooks/{of}/attempts."
    ),
    "en": (
        "Hello,\n\nYour webhook {of}, at {host}, is disabled since {since}: {why}\n\n"
        "Nothing is lost: what waits stays in your mailbox, and you can pull it at any time.\n"
        "Mend your endpoint, then have it proven anew: POST /v1/webhooks/{of}:prove.\n"
        "What was sent to it, and what it answered: GET /v1/webhooks/{of}/attempts."
    ),
}
