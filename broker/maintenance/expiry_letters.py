"""Expiry letters: an administration hears by mail that a key or a token of its own is about to end, before it ends.

    ends in 30 days ──► due ──claimed──► sent ──noted──► mailed          again at 14 days, and at 3
                         └────────── not taken: later, ever more seldom, ten times in all ──► given up, with the code

Refuses: to write about what something else outlasts (`expiring`), or while the clock is not believed; to warn of a
token's end before a third letter could be its first: one that lives for two weeks is told of at three days alone.
Keeps: one letter for each end and each of BEFORE_DAYS, whatever crashes: its row is written before it is sent, and
what a crash interrupts after the sending is sent once more, under the same `Message-ID`. Scopes or algorithms that end
together are one letter. A row goes once it has ended, or something outlasts it. Without a mail server nothing is
written; metrics, `unefois top` and `unefois doctor` tell of it all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Row, and_, delete, select, update

from broker.access.credentials import Credentials
from broker.directory.lookup import Lookup
from broker.maintenance.expiring import DAY_MS, What, expiring
from broker.messages.mail import Letter, Mail, address_in
from broker.observability.crashpoints import mark
from broker.ports import Clock
from broker.store.access_tables import expiry_notices
from broker.store.engine import Store, Transaction
from broker.timekeeping import Timekeeping
from broker.webhooks.notices import AT_ONCE, LEASE_MS, WAITS, Noticed
from schemas.errors import Fault, Refused
from schemas.messages import Language
from schemas.names import Instant, PartyId, rfc3339

BEFORE_DAYS: Final = (30, 14, 3)
"""Before its end, when a letter is due."""
LOOK_MS: Final = 3_600_000
"""How long a process waits from one look at all ends to the next."""


@dataclass(frozen=True, slots=True, order=True)
class End:
    """Of all that a party can do one thing with, at this instant."""

    party: PartyId
    what: str
    at: Instant


Ends = Mapping[End, tuple[str, int | None]]
"""To its kinds (algorithms or scopes, separated by commas), and the days of the letter that is due now, if one is."""


class ExpiryLetters:
    """Sends what is due. `step` may be called by many processes at once."""

    def __init__(
        self,
        *,
        store: Store,
        lookup: Lookup,
        credentials: Credentials,
        time: Timekeeping,
        mail: Mail | None,
        name: str,
        contact: str,
        clock: Clock,
    ) -> None:
        """`name`, `contact`: who runs this broker, as the letter is signed."""
        self._store = store
        self._lookup = lookup
        self._credentials = credentials
        self._time = time
        self._mail = mail
        self._signed = f"{name}\n{contact}"
        self._clock = clock
        self._looked_at: Instant | None = None

    async def step(self) -> Sequence[Noticed]:
        """Send what is due. Raises Unavailable, for the database alone: a mail server that is away is an outcome."""
        if self._mail is None:
            return []
        await self._look()
        found: list[Noticed] = []
        while len(found) < AT_ONCE:
            claimed = await self._claimed()
            if claimed is None:
                break
            row, to = claimed
            found.append(Noticed(PartyId(row.party), await self._sent(self._mail, row, to)))
        return found

    async def _look(self) -> None:
        """Once an hour: write down which letters are due, and take away those that are about nothing any more."""
        at = self._clock()
        if self._looked_at is not None and 0 <= at - self._looked_at < LOOK_MS:
            return
        if not (await self._time.look()).believed:
            return
        async with self._store.read() as tx:
            ends = await self._ends(tx, at)
            rows = {(*_end(row), row.days): row for row in await tx.execute(select(expiry_notices))}
        wanted = {(*_key(end), days): kinds for end, (kinds, days) in ends.items() if days is not None}
        new = {key: kinds for key, kinds in wanted.items() if key not in rows}
        over = [key for key, row in rows.items() if _is_over(row, ends)]
        if new or over:
            async with self._store.begin() as tx:
                for key in over:
                    await tx.execute(delete(expiry_notices).where(_is(key)))
                for key, kinds in new.items():
                    row = dict(zip(_COLUMNS, key, strict=True))
                    await tx.insert_new(expiry_notices, row | {"kinds": kinds, "attempts": 0, "next_at": at})
                mark("expiry.planned")
                # Crash here: nothing was written; the next process that looks finds the same.
        self._looked_at = at

    async def _ends(self, tx: Transaction, at: Instant) -> Ends:
        tokens = await self._credentials.list(tx)
        born = {(one.party, one.expires_at): one.issued_at for one in tokens}
        kinds: dict[End, list[str]] = {}
        for one in expiring(await self._lookup.directory(tx), tokens, at, max(BEFORE_DAYS)):
            kinds.setdefault(End(one.party, one.what, one.at), []).append(one.kind)
        found = {}
        for end, named in kinds.items():
            since = born.get((end.party, end.at), Instant(0)) if end.what == What.TOKEN.value else Instant(0)
            due = [days for days in BEFORE_DAYS if end.at - at <= days * DAY_MS < end.at - since]
            found[end] = ", ".join(sorted(named)), min(due, default=None)
        return found

    async def _claimed(self) -> tuple[Row[Any], str | None] | None:
        """The next one that is due, under a lease: `next_at` is when another may have it. And where it goes: None where
        there is no address.
        """
        at = self._clock()
        due = select(expiry_notices).where(expiry_notices.c.next_at <= at).order_by(expiry_notices.c.next_at)
        async with self._store.read() as tx:
            row = (await tx.execute(due.limit(1))).one_or_none()
            if row is None:
                return None
            ends = await self._ends(tx, at)
            to = await self._address(tx, PartyId(row.party))
        mine = and_(_is((*_end(row), row.days)), expiry_notices.c.next_at == row.next_at)
        if _is_over(row, ends):  # renewed while it waited
            async with self._store.begin() as tx:
                await tx.execute(delete(expiry_notices).where(mine))
            return await self._claimed()
        async with self._store.begin() as tx:
            done = await tx.execute(update(expiry_notices).where(mine).values(next_at=at + LEASE_MS))
            mark("expiry.claimed")
            # Crash here, or after the commit: nothing was sent; it is due again when the lease is over.
            if done.rowcount == 0:  # another was faster
                return None
            claimed = (await tx.execute(select(expiry_notices).where(_is((*_end(row), row.days))))).one()
        return claimed, to

    async def _address(self, tx: Transaction, party: PartyId) -> str | None:
        """None where the contact has none, or stands in a row that does not count (`broker.store.rows`)."""
        try:
            return address_in((await self._lookup.party(tx, party)).contact)
        except Refused:
            return None

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
        mine = and_(_is((*_end(row), row.days)), expiry_notices.c.next_at == row.next_at)
        async with self._store.begin() as tx:
            values = {"attempts": row.attempts + 1, "code": code, **told}
            await tx.execute(update(expiry_notices).where(mine).values(**values))
            mark("expiry.noted")
            # Crash here: sent and not noted; when the lease is over the same letter goes once more, with the same id.
        return code

    def _letter(self, to: str, row: Row[Any], at: Instant) -> Letter:
        when, what = rfc3339(Instant(row.ends_at)), What(row.what)
        told = []
        for language in _LANGUAGES:
            name = _NAMES[language][what].format(kinds=row.kinds)
            told.append(_TEXT[language].format(name=name, party=row.party, when=when, do=_DO[language][what]))
        about = sha256("\x00".join(map(str, _end(row))).encode()).hexdigest()[:32]
        text = "\n\n— — —\n\n".join(told) + f"\n\n-- \n{self._signed}\n"
        return Letter(to, _SUBJECT[what], text, f"expiry-{about}-{row.days}", at)


_COLUMNS: Final = ("party", "what", "ends_at", "days")


def _key(end: End) -> tuple[str, str, int]:
    return end.party, end.what, end.at


def _end(row: Row[Any]) -> tuple[str, str, int]:
    return row.party, row.what, row.ends_at


def _is(key: Sequence[object]) -> Any:
    return and_(*(expiry_notices.c[name] == one for name, one in zip(_COLUMNS, key, strict=True)))


def _is_over(row: Row[Any], ends: Ends) -> bool:
    """Whether it has ended, was renewed, or a later letter says the same before this one was sent."""
    found = ends.get(End(PartyId(row.party), row.what, Instant(row.ends_at)))
    if found is None:
        return True
    days = found[1]
    return row.next_at is not None and days is not None and days < row.days


_LANGUAGES: Final[tuple[Language, ...]] = ("fr", "en")
_SUBJECT: Final = {
    What.SIGNING: "Unefois : votre clé de signature expire bientôt / your signing key ends soon",
    What.SEALING: "Unefois : votre clé de chiffrement expire bientôt / your sealing key ends soon",
    What.TOKEN: "Unefois : votre jeton expire bientôt / your token ends soon",
}
_NAMES: Final[Mapping[Language, Mapping[What, str]]] = {
    "fr": {
        What.SIGNING: "la dernière clé de signature ({kinds})",
        What.SEALING: "la dernière clé de chiffrement",
        What.TOKEN: "le dernier jeton ({kinds})",
    },
    "en": {
        What.SIGNING: "the last signing key ({kinds})",
        What.SEALING: "the last sealing key",
        What.TOKEN: "the last token ({kinds})",
    },
}
_KEYS: Final[Mapping[Language, str]] = {
    "fr": (
        "Déclarez votre prochaine clé avant cette date : POST /v1/keys. Si c'est nous qui tenons vos clés, c'est à nous"
        " de les renouveler : rappelez-le-nous."
    ),
    "en": (
        "List your next key before that day: POST /v1/keys. If we hold your keys for you, it is ours to renew them:"
        " remind us."
    ),
}
_DO: Final[Mapping[Language, Mapping[What, str]]] = {
    "fr": {
        What.SIGNING: f"Ensuite, plus rien de ce que vous signez n'est accepté.\n{_KEYS['fr']}",
        What.SEALING: (
            f"Ensuite, plus rien ne peut vous être remis ; ce qui attend reste dans votre boîte.\n{_KEYS['fr']}"
        ),
        What.TOKEN: (
            "Ensuite, vos requêtes sont refusées ; ce qui attend reste dans votre boîte.\n"
            "Demandez-nous-en un nouveau avant cette date ; l'ancien reste valable jusque-là."
        ),
    },
    "en": {
        What.SIGNING: f"After that, nothing that you sign is accepted.\n{_KEYS['en']}",
        What.SEALING: f"After that, nothing can be handed to you; what waits stays in your mailbox.\n{_KEYS['en']}",
        What.TOKEN: (
            "After that, your requests are refused; what waits stays in your mailbox.\n"
            "Ask us for a new one before that day; the old one stays good until then."
        ),
    },
}
_TEXT: Final[Mapping[Language, str]] = {
    "fr": "Bonjour,\n\n{name} de {party} expire le {when}, et aucun autre élément ne prend sa suite.\n{do}",
    "en": "Hello,\n\n{name} of {party} ends on {when}, and nothing of the same kind outlasts it.\n{do}",
}
