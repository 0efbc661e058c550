"""The rest connector: a delivery is one call to an HTTP API of the agency's own system, with JSON in it.

    1 look      was an earlier call lost? the system is looked into (`find`), where it can be
    2 wait      where looking is all there is: a call that may be at work is waited for (`settles_s`)
    3 note      in the journal, before it is asked
    4 ask       always under the delivery's id (`Idempotency-Key`)
    5 note      what it was, before it is acknowledged

Refuses: settings under which a lost answer would be done twice, unless they say that this is accepted; a column that
the mapping does not fill; a value that would lead out of its part of the address.
Keeps: what may have been done is not refused: where a second try is turned down and the first one's end is unknown,
somebody looks (`rest.doubt`). No value is in an error.

Who is trusted: the API, which sees what the mapping sends, and its answers. Who holds the journal learns which
declarations came from whom, by number.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Self

from connectors.contract import Applied, Ground, Otherwise, Reject, Retry, Row, checked
from connectors.description import Description, Weaker
from connectors.memory import Asked, Memory
from connectors.peers import caller, show, trust
from connectors.rest.access import Access
from connectors.rest.answers import is_there, judged
from connectors.rest.api import Api
from connectors.rest.settings import RestSettings
from connectors.rest.template import DELIVERY, body_of, cells_of, path_of, problems
from schemas.delivery import VerifiedDelivery
from schemas.errors import Fault, Refused, Unavailable, together
from schemas.names import DeclarationId, DeliveryId, ManifestDigest, PartyId, uuid_text

NOBODY = "00000000-0000-0000-0000-000000000000"
"""Looked for by `check`: the id of no delivery."""


class RestConnector:
    """One kind of call to one API. Made by `open`."""

    about: ClassVar = Description(
        settings=RestSettings,
        guarantee={
            "en": "A delivery is done once in the system, whatever answer is lost: it is asked under one key, or looked"
            " for first.",
            "fr": "Une livraison est enregistrée une seule fois dans le système, même si une réponse se perd : elle est"
            " demandée sous une même clé, ou recherchée d'abord.",
        },
        weaker=Weaker(
            words={
                "en": "At least once: the system offers nothing against it (`at_least_once`), so a delivery whose"
                " answer is lost is asked for again, and may be there twice.",
                "fr": "Au moins une fois : le système n'offre rien pour l'éviter (`at_least_once`), donc une livraison"
                " dont la réponse se perd est redemandée, et peut s'y trouver deux fois.",
            },
            when=lambda settings: not settings.once,
        ),
        other_side={
            "en": "The system keeps the delivery's id: as the key of each call, or as a number by which it is found.",
            "fr": "Le système garde l'identifiant de la livraison : comme clé de chaque appel, ou comme numéro qui"
            " permet de la retrouver.",
        },
        at_once=8,
    )

    def __init__(self, settings: RestSettings, targets: Sequence[str], ground: Ground, api: Api) -> None:
        self._settings = settings
        self._targets = tuple(targets)
        self._clock = ground.clock
        self._api = api
        self._memory: Memory
        self._at_work: dict[DeliveryId, asyncio.Event] = {}

    @classmethod
    async def open(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> Self:
        """Check the settings and open the journal; nothing is asked.

        Raises Refused: "connector.settings", "webhook.ca-file", "rest.certificate-file", ".unknown-column",
        ".reserved", ".at-least-once", "journal.unreadable"; Unavailable "journal.in-use", ".disk".
        """
        made = cls._made(settings, targets, ground)
        try:
            if found := made._problems():
                raise together(found)
            made._memory = await asyncio.to_thread(Memory.open, made._settings.journal)
        except BaseException:
            await made._api.close()
            raise
        return made

    @classmethod
    async def check(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> tuple[Fault, ...]:
        """Fetches a token, and looks for a delivery that there is not, where the settings have them; else it only asks
        for the address itself. Each is a GET, or the token's POST: nothing is written.
        """
        try:
            made = cls._made(settings, targets, ground)
        except Refused as fault:
            return (fault,)
        try:
            found = made._problems()
            find = made._settings.find
            answer = await made._api.read("/" if find is None else path_of(find.path, {DELIVERY: NOBODY}))
            if find is not None:
                is_there(made._settings, answer, ground.clock())
            elif answer.status == 401:
                raise Retry("rest.not-let-in", "/auth", status=401)
            return tuple(found)
        except Unavailable as fault:
            return (*found, fault)
        finally:
            await made._api.close()

    @classmethod
    def _made(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> Self:
        chosen = checked(RestSettings, settings)
        context = trust(chosen.ca_file)
        if chosen.certificate_file is not None and chosen.key_file is not None:
            show(context, chosen.certificate_file, chosen.key_file)
        http = caller(chosen.url, chosen.timeout_s, context, "rest")
        headers = {name: value.get_secret_value() for name, value in chosen.headers.items()}
        access = Access(chosen.auth, http, ground.clock)
        return cls(chosen, targets, ground, Api(http, chosen.url, access, headers))

    async def find(self, delivery_id: DeliveryId) -> Applied | None:
        """From the journal; where a call was lost, from the system. Raises Retry `rest.*`."""
        asked = await asyncio.to_thread(self._memory.of, delivery_id)
        if asked is None:
            return None
        number = asked.number if asked.done else await self._found(delivery_id)
        return None if number is None else Applied(number or None)

    async def write(self, delivery: VerifiedDelivery, row: Row) -> str | None:
        """One call; what it did is there, and noted, on return. Returns the number that `reference` finds.

        Raises Reject "rest.refused", ".path-value", ".number", "connector.cell"; Otherwise; Retry, Unknown, Late
        "rest.*".
        """
        async with self._turn(delivery.delivery_id):
            asked = await asyncio.to_thread(self._memory.of, delivery.delivery_id)
            if asked is not None and asked.done:
                return asked.number or None
            if asked is not None and self._settings.find is not None:
                number = await self._found(delivery.delivery_id)  # 1
                asked = asked if number is not None else await self._over(delivery.delivery_id, asked)  # 2
            else:
                number = None
            if number is None:
                number = await self._asked(delivery, row, asked)  # 3 and 4
            # Crash here: it is done, and noted as asked: it is looked for, or asked again under the same key.
            await asyncio.to_thread(self._memory.answered, delivery, number, self._clock(), done=True)  # 5
            return number or None

    async def flush(self) -> None:
        """Nothing is left to do: each write is there, and noted."""

    async def seen(self, source: PartyId, declaration_id: DeclarationId) -> ManifestDigest | None:
        """From the journal."""
        return await asyncio.to_thread(self._memory.seen, source, declaration_id)

    async def close(self) -> None:
        """Let go of the journal and of the connections."""
        await self._api.close()
        await asyncio.to_thread(self._memory.close)

    @asynccontextmanager
    async def _turn(self, delivery_id: DeliveryId) -> AsyncIterator[None]:
        """Of two writes of one delivery at once the second waits, and finds what the first has noted."""
        while (other := self._at_work.get(delivery_id)) is not None:
            await other.wait()
        self._at_work[delivery_id] = mine = asyncio.Event()
        try:
            yield
        finally:
            del self._at_work[delivery_id]
            mine.set()

    async def _found(self, delivery_id: DeliveryId) -> str | None:
        """The system's number for it, by looking there; None where it is not there or cannot be looked for."""
        find = self._settings.find
        if find is None:
            return None
        answer = await self._api.read(path_of(find.path, {DELIVERY: uuid_text(delivery_id)}))
        return is_there(self._settings, answer, self._clock())

    async def _over(self, delivery_id: DeliveryId, asked: Asked) -> Asked | None:
        """It is not there. Where a second call would be done as well, the first has to be over."""
        if not self._settings.by_looking_alone:
            return asked
        wait = asked.at + self._settings.settles_s * 1000 - self._clock()
        if wait > 0:
            raise Retry("rest.may-arrive", after_ms=wait)
        await asyncio.to_thread(self._memory.forget, delivery_id)
        return None

    async def _asked(self, delivery: VerifiedDelivery, row: Row, asked: Asked | None) -> str:
        """Note, ask, and judge; what is surely not done is not noted any longer."""
        delivery_id, doubtful = delivery.delivery_id, asked is not None
        try:
            path, body = self._call(row, uuid_text(delivery_id))
        except Reject as fault:
            raise self._unless_done(fault, doubtful) from None
        await asyncio.to_thread(self._memory.ask, delivery, None, self._clock())
        # Crash here, or cut off by the deadline: nobody knows whether it was asked.
        try:
            key = {self._settings.key_header: uuid_text(delivery_id)}
            answer = await self._api.act(self._settings.method, path, body, key)
            return judged(self._settings, answer, self._clock())
        except (Reject, Otherwise) as fault:
            # An API that remembers keys answers for the first call, too; but one that was asked for something else.
            authority = self._settings.remembers_key and fault.details.get("status") != 422
            told = self._unless_done(fault, doubtful and not authority)
            if not isinstance(told, Retry):
                await asyncio.to_thread(self._memory.forget, delivery_id)
            raise told from None
        except Retry:
            if not doubtful:
                await asyncio.to_thread(self._memory.forget, delivery_id)
            raise

    def _call(self, row: Row, delivery: str) -> tuple[str, bytes]:
        cells = cells_of(row, self._settings.nested)
        path = path_of(self._settings.path, {**row, DELIVERY: delivery})
        return path, body_of(self._settings.body, cells, delivery)

    def _unless_done(self, fault: Refused, doubtful: bool) -> Fault:
        """A no to what may have been done already is for somebody to look at."""
        return Retry("rest.doubt", told=fault.code) if doubtful else fault

    def _problems(self) -> list[Refused]:
        """What is wrong without asking anybody."""
        chosen, found = self._settings, []
        if not chosen.once and not chosen.at_least_once:
            found.append(Refused("rest.at-least-once", "/at_least_once"))
        if DELIVERY in self._targets:
            found.append(Refused("rest.reserved", f"/fields/{DELIVERY}"))
        if self._targets:
            found += problems(chosen.path, self._targets, "/path")
            found += problems(chosen.body, self._targets, "/body")
        return found
