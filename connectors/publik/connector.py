"""The publik connector: a delivery becomes a form of Publik, or moves one forward; once, although w.c.s. knows no once.

    1 look      has Publik our reference already?     a call that was lost, another machine's, a journal that is gone
    2 wait      was it asked less than 150 s ago?     a worker of w.c.s. may work for 120 s, and nobody sees it before
    3 note      in the journal, before it is asked
    4 ask       submit, trigger or hook, signed anew  one at a time: w.c.s. does not lock what comes together
    5 look      what was stored, beside what was sent

Refuses: what the form's schema does not take, before it is sent; a second process on the same journal.
Keeps: for one delivery there is one formdata, which has its reference (`UF-` and the delivery's id) in a field of its
own; a workflow is moved once, which a mark of the delivery's in the workflow data says. What w.c.s. dropped in silence
is told (`publik.dropped`), and comes again until an agent has completed it there.

Who is trusted: Publik's administrator, whose site sees what the mapping sends, and nothing else of the delivery.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import httpx2
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from connectors.contract import Applied, Ground, Reject, Retry, Row, Settings, checked, reference_token
from connectors.description import Case, Description, Words
from connectors.memory import Asked, Memory
from connectors.peers import caller, endpoint, trust
from connectors.publik.api import Access, Api
from connectors.publik.form import REFERENCE, Form, dropped, plain
from connectors.source_serve import secret
from schemas.delivery import VerifiedDelivery
from schemas.errors import Fault, Refused, Unavailable, together
from schemas.names import DeclarationId, DeliveryId, Instant, ManifestDigest, PartyId, uuid_text

OVER_MS: Final = 150_000
"""How long after it was asked a call is surely over: 120 seconds of a worker's, and what clocks differ by."""
SCHEMA_MS: Final = 60_000
"""How long a schema is believed: an administrator may change the form at any time."""
_ROLES: Final = frozenset({"no-backoffice-submission-role", "user-not-allowed-backoffice-submission"})
_LISTED: Final = "20"
_MARK: Final = re.compile("unefois_[0-9a-f]{32}")
_Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$")]
_Varname = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]


_AGENTS_LOOK: Words = {
    "en": "It looks for no person: whose file it is, is for the agents who handle the form.",
    "fr": "Il ne cherche personne : à qui est le dossier, ce sont les agents qui traitent la demande qui le voient.",
}


class PublikSettings(Settings):
    """Settings of a `publik` connector."""

    url: Annotated[str, AfterValidator(endpoint)]
    """The address of the site: https://demarches.ville.example"""
    form: _Slug
    """The form's identifier in its address: `changement-d-adresse`."""
    access: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,100}$")]
    """Identifier of the API access."""
    key_file: Path
    """The access key, in a file that nobody else may read."""
    way: Literal["signature", "basic"] = "signature"
    """`signature`: the key signs each call and is not sent; `basic`: it is sent with each."""
    action: Literal["submit", "trigger", "hook"] = "submit"
    """`submit` a form, or move one forward: by the trigger of its status, or by a global hook."""
    name: _Slug | None = None
    """Of the trigger or of the hook, as its workflow has it."""
    field: _Varname
    """To submit: a text field of the form for our reference. To move: the text field by which the form is found."""
    journal: Path
    """A file of this connector's; one process has it at a time."""
    timeout_s: Annotated[float, Field(gt=0, le=150)] = 60
    """How long an answer is waited for, in seconds; a shorter `deadline_s` of the route (30) ends the wait."""
    ca_file: str | None = None
    """Certificates of the agency's own authority (PEM), where the system's store lacks it."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.name is None) is not (self.action == "submit"):
            raise ValueError("a trigger and a hook have a name, a submission has none")
        return self


class PublikConnector:
    """One form of one site. Made by `open`."""

    about: ClassVar = Description(
        settings=PublikSettings,
        guarantee={
            "en": "One delivery is one form of Publik, or moves one forward once, whatever answer is lost.",
            "fr": "Une livraison est une demande de Publik, ou en fait avancer une, une seule fois, même si une réponse"
            " se perd.",
        },
        other_side={
            "en": "The form keeps our reference in a text field that nobody edits, and this access may list the form.",
            "fr": "La démarche garde notre référence dans un champ texte que personne ne modifie, et cet accès peut"
            " lister ses demandes.",
        },
        spared=dict.fromkeys((Case.UNKNOWN_PERSON, Case.SEVERAL_PERSONS), _AGENTS_LOOK),
    )

    def __init__(self, settings: PublikSettings, targets: Sequence[str], ground: Ground, api: Api) -> None:
        self._settings = settings
        self._targets = tuple(targets)
        self._clock = ground.clock
        self._api = api
        self._memory: Memory
        self._form: tuple[Form, Instant] | None = None
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> Self:
        """Ask Publik for the form, and tell everything that is missing at once; nothing is written there.

        Raises Refused: "connector.settings", "source.no-file" and its kin (the key), "publik.not-let-in", ".no-form",
        ".disabled", ".reference", ".reference-filled", ".find-by", ".unknown-field", ".field-type", ".may-not-list",
        ".role", "journal.unreadable"; Retry "publik.away", ".certificate", ".clock", ".answer"; Unavailable
        "journal.in-use".
        """
        made = await cls._made(settings, targets, ground)
        try:
            if found := await made._problems():
                raise together(found)
            made._memory = await asyncio.to_thread(Memory.open, made._settings.journal)
        except BaseException:
            await made._api.close()
            raise
        return made

    @classmethod
    async def check(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> tuple[Fault, ...]:
        """Asks Publik for the form, and whether this access may list it and submit it; nothing is sent or written."""
        try:
            made = await cls._made(settings, targets, ground)
        except Refused as fault:
            return (fault,)
        try:
            return tuple(await made._problems())
        except (Refused, Unavailable) as fault:
            return (fault,)
        finally:
            await made._api.close()

    @classmethod
    async def _made(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> Self:
        """Ready to ask; nothing was asked yet. Raises Refused "connector.settings", "source.no-file" and its kin."""
        chosen = checked(PublikSettings, settings)
        key = await asyncio.to_thread(secret, chosen.key_file)
        http = caller(chosen.url, chosen.timeout_s, trust(chosen.ca_file), "publik")
        return cls(chosen, targets, ground, Api(http, Access(chosen.access, key, chosen.way), ground))

    async def find(self, delivery_id: DeliveryId) -> Applied | None:
        """From the journal: the number that Publik gave."""
        asked = await asyncio.to_thread(self._memory.of, delivery_id)
        return Applied(asked.number) if asked is not None and asked.done else None

    async def write(self, delivery: VerifiedDelivery, row: Row) -> str | None:
        """One formdata, or one step of one; durable and visible on return. Returns the number that Publik gave.

        Raises Reject "publik.value", ".unknown-field", ".too-large", ".refused", ".no-formdata", ".several-formdata";
        Retry "publik.*" (`may-arrive`: nobody knows yet; `dropped`: it is there, with a hole); Unknown.
        """
        async with self._turn:
            asked = await asyncio.to_thread(self._memory.of, delivery.delivery_id)
            if asked is not None and asked.done:
                return asked.number
            if self._settings.action == "submit":
                return await self._submit(delivery, row, asked)
            return await self._move(delivery, row, asked)

    async def flush(self) -> None:
        """Nothing is left to do: each write is there, and noted."""

    async def seen(self, source: PartyId, declaration_id: DeclarationId) -> ManifestDigest | None:
        """From the journal."""
        return await asyncio.to_thread(self._memory.seen, source, declaration_id)

    async def close(self) -> None:
        """Let go of the journal and of the connections."""
        await self._api.close()
        await asyncio.to_thread(self._memory.close)

    async def _submit(self, delivery: VerifiedDelivery, row: Row, asked: Asked | None) -> str:
        reference = f"UF-{uuid_text(delivery.delivery_id)}"
        # 1 before anything is sent: what is there is not made again (an answer that was lost)
        found = await self._listed(reference)
        number = None if asked is None else asked.number
        if number is None and not found:
            await self._over(delivery, asked)  # 2
            sent = (await self._schema()).data(row) | {self._settings.field: reference}
            number = _number(await self._posted(sent, delivery))  # 3 and 4
            # Crash here: Publik has it, and 1 finds it.
            await asyncio.to_thread(self._memory.answered, delivery, number, self._clock(), done=False)
            found = await self._listed(reference)
        # 5 what was dropped in silence: the reference itself, or a value
        lacking = dropped(row, found[0]["fields"]) if found else [self._settings.field]
        if found and number is None:
            number = str(found[0].get("id"))[:100]
        if number is not None:
            await asyncio.to_thread(self._memory.answered, delivery, number, self._clock(), done=not lacking)
        if lacking or number is None:
            self._form = None  # it has changed since it was read: the next one is held to what it is now
            raise Retry("publik.dropped", f"/{reference_token(lacking[0])}")
        return number

    async def _posted(self, sent: Mapping[str, Any], delivery: VerifiedDelivery) -> Any:
        try:
            return await self._ask(f"/api/formdefs/{self._settings.form}/submit", {"data": sent}, delivery, None)
        except Retry as fault:
            if fault.details.get("told") in _ROLES:
                raise Retry("publik.role") from None
            raise

    async def _move(self, delivery: VerifiedDelivery, row: Row, asked: Asked | None) -> str:
        field, mark = self._settings.field, f"unefois_{delivery.delivery_id.hex()}"
        value = row.get(field)
        if not isinstance(value, str) or not value:
            raise Reject("publik.value", f"/{field}", kind="text")
        found = await self._listed(value)
        if len(found) != 1:
            refused = Reject if asked is None else Retry  # what may have been done is not refused
            raise refused("publik.several-formdata" if found else "publik.no-formdata", f"/{field}")
        entry, number = found[0], str(found[0].get("internal_id"))
        workflow = entry.get("workflow")
        if not isinstance(workflow, Mapping):
            raise Retry("publik.answer", status=200)  # without it nobody knows whether it has moved
        marks = _marks(workflow)
        # 1 its own mark: the trigger may be gone because it was pulled, by us
        if mark not in marks:
            await self._over(delivery, asked)
            since = Instant(self._clock() - OVER_MS)
            if await asyncio.to_thread(self._memory.is_open, number, since):
                raise Retry("publik.may-arrive", after_ms=OVER_MS)  # another delivery's: one at a time
            told = {name: plain(each, f"/{reference_token(name)}") for name, each in row.items() if name != field}
            told |= dict.fromkeys([*sorted(marks), mark], True)  # a hook's body is written over the one before
            await self._pull(self._address(entry, number), told, delivery, number)
        # Crash here: it has moved, and 1 finds the mark.
        await asyncio.to_thread(self._memory.answered, delivery, number, self._clock(), done=True)
        return number

    async def _pull(self, path: str, body: Mapping[str, Any], delivery: VerifiedDelivery, formdata: str) -> None:
        try:
            await self._ask(path, body, delivery, formdata)
        except Retry as fault:
            if fault.code == "publik.not-let-in":  # the same answer while the workflow is at work
                raise Retry("publik.busy") from None
            if fault.details.get("status") == 404:
                raise Retry("publik.not-now") from None
            raise

    def _address(self, entry: Mapping[str, Any], number: str) -> str:
        """Where the trigger or hook of a formdata is. The form's own address may hold a category."""
        if self._settings.action == "hook":
            return f"/api/forms/{self._settings.form}/{number}/hooks/{self._settings.name}/"
        above = httpx2.URL(str(entry.get("url"))).path.rstrip("/").rpartition("/")[0]
        return f"{above}/{number}/jump/trigger/{self._settings.name}"

    async def _over(self, delivery: VerifiedDelivery, asked: Asked | None) -> None:
        """Step 2, of what is not in Publik: a call that may be at work is waited for; one that is over did nothing.

        Before anything else is looked at: what may have been done must not be refused for a mapping that has changed.
        """
        if asked is None:
            return
        wait = asked.at + OVER_MS - self._clock()
        if wait > 0:
            raise Retry("publik.may-arrive", after_ms=wait)
        await asyncio.to_thread(self._memory.forget, delivery.delivery_id)

    async def _ask(self, path: str, body: Mapping[str, Any], delivery: VerifiedDelivery, formdata: str | None) -> Any:
        """Steps 3 and 4: note, and ask."""
        await asyncio.to_thread(self._memory.ask, delivery, formdata, self._clock())
        try:
            return await self._api.act(path, body)
        except (Reject, Retry):
            await asyncio.to_thread(self._memory.forget, delivery.delivery_id)
            raise

    async def _listed(self, value: str, limit: str = _LISTED) -> list[Mapping[str, Any]]:
        """The formdata whose field is exactly this, with their fields and workflow. A text of digits is compared as a
        number by w.c.s., so what comes is compared again.
        """
        field = self._settings.field
        query = {"filter": "all", f"filter-{field}": value, "full": "on", "limit": limit}
        told = await self._api.read(f"/api/forms/{self._settings.form}/list", query)
        entries = told.get("data") if isinstance(told, Mapping) else told
        if not isinstance(entries, list) or not all(_has_fields(one) for one in entries):
            raise Retry("publik.answer", status=200)
        return [one for one in entries if one["fields"].get(field) == value]

    async def _schema(self) -> Form:
        """The form as it is now, or was a minute ago. Raises Retry where the mapping does not fit it any more."""
        if self._form is None or self._clock() - self._form[1] > SCHEMA_MS:
            found = Form.of(await self._api.read(f"/api/formdefs/{self._settings.form}/schema"))
            for fault in self._unfit(found):
                raise Retry(fault.code, fault.pointer, **fault.details)
            self._form = found, self._clock()
        return self._form[0]

    def _unfit(self, form: Form) -> list[Refused]:
        found = (
            []
            if form.kind(self._settings.field) in REFERENCE
            else [Refused("publik.reference", "/field", field=self._settings.field)]
        )
        if self._settings.action != "submit":
            missing = bool(self._targets) and self._settings.field not in self._targets
            return [*found, *([Refused("publik.find-by", "/field", field=self._settings.field)] if missing else [])]
        if self._settings.field in self._targets:
            place = f"/fields/{reference_token(self._settings.field)}"
            found.append(Refused("publik.reference-filled", place, field=self._settings.field))
        disabled = [Refused("publik.disabled", "/form")] if form.disabled else []
        return [*disabled, *found, *form.problems(self._targets)]

    async def _problems(self) -> list[Refused]:
        """What an administrator has to mend, here or in Publik."""
        try:
            schema = await self._api.read(f"/api/formdefs/{self._settings.form}/schema")
        except Retry as fault:
            if fault.code == "publik.not-let-in":
                return [Refused(fault.code, "/access", **fault.details)]
            if fault.code == "publik.refused":
                return [Refused("publik.no-form", "/form")]
            raise
        form = Form.of(schema)
        found, self._form = self._unfit(form), (form, self._clock())
        if not any(fault.code == "publik.reference" for fault in found):
            try:
                await self._listed("-", "1")
            except Retry as fault:
                if fault.code != "publik.not-let-in":
                    raise
                found.append(Refused("publik.may-not-list", "/access"))
        if self._settings.way == "basic" and self._settings.action == "submit":
            told = await self._api.read("/api/formdefs/", {"backoffice-submission": "on"})
            entries = told.get("data") if isinstance(told, Mapping) else told
            known = entries if isinstance(entries, list) else []
            if self._settings.form not in [one.get("slug") for one in known if isinstance(one, Mapping)]:
                found.append(Refused("publik.role", "/access"))
        return found


def _has_fields(entry: object) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("fields"), Mapping)


def _number(told: Any) -> str:
    """What Publik calls what it has just made; an answer without it is a good one, too."""
    data = told.get("data") if isinstance(told, Mapping) else None
    number = data.get("id") if isinstance(data, Mapping) else None
    return str(number)[:100] if isinstance(number, str | int) else "-"


def _marks(told: object) -> frozenset[str]:
    """The marks of deliveries, wherever they stand in a workflow's data."""
    if isinstance(told, Mapping):
        mine = frozenset(name for name in told if isinstance(name, str) and _MARK.fullmatch(name))
        return mine.union(*(_marks(one) for one in told.values()))
    return frozenset().union(*(_marks(one) for one in told)) if isinstance(told, list) else frozenset()
