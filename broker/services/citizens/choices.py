"""Choices: what a citizen may allow, what they have allowed, and giving, pausing, narrowing and ending it.

    offers ──► preview (the exact text, its SHA-256) ──► give, with that SHA-256 ──► a grant, its receipt
    mine   ──► a grant and its version               ──► pause, resume, narrow of that version; end, end_all of any

Refuses: what no approved subscription asks for; agreement to another text than the one that would count now; a change
of a version that is not the newest (`citizens.changed-meanwhile`); another's grant, as unknown as one that never was.
Keeps: an end always counts, whichever version was read. The same said twice is one grant, one end. Each answer says
what it means next time, and each change is told to the citizen on their own channels (`broker.messages.news`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from broker.citizens import levels
from broker.citizens.citizen import Citizen
from broker.citizens.levels import Act
from broker.consents.consents import GrantRequest
from broker.services import consents
from broker.services.citizens.granted import action_text, book, grant_shape
from broker.services.citizens.outlook import labelled, party, purpose_label
from broker.services.citizens.texts import check_text, day, digest
from broker.services.citizens.words import NEXT
from broker.services.consent_receipts import receipt_of, text_shown
from broker.services.consents import Signed
from broker.setup.wiring import Home
from broker.shapes import Json, time_of, uuid_of
from consent import registry
from consent.basis import CONSENT, MAX_ARTICLE, choice, longest_end
from consent.grant import Grant, Scope, Voice
from consent.policy import ADDRESSED, Subscription, SubscriptionStatus
from consent.purposes import PurposeEntry, by_id
from schemas.errors import Refused
from schemas.names import EventType, GrantId, Instant, PartyId, Purpose

PAGE: Final = 50
"""Offers of one page, and the most that can be asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a citizen means to allow. `until`: the end, as `preview` told it; None: it proposes the longest.
    `by_choice`: where a text of law lets them choose who hears. `include_latest`: the latest one of before goes, too.
    """

    recipient: PartyId
    event_type: EventType
    purpose: Purpose
    fields: frozenset[str]
    until: Instant | None = None
    once: bool = False
    by_choice: bool = False
    include_latest: bool = False


async def offers(
    home: Home,
    citizen: Citizen,
    event_type: EventType,
    *,
    territories: Sequence[str] = (),
    after: bytes | None = None,
    limit: int = PAGE,
) -> Json:
    """What may be allowed of one type: approved subscriptions whose purpose rests on a consent or a choice, by
    recipient. `territories`: codes of communes; with them, only those who hear of these. `after`: the last id before.

    `{offers: [{id, recipient, event_type, event_label, purpose, purpose_label, sentence, fields, bases, article,
    territories, grants}], next}`; `grants`: ids of the citizen's own that live for it. Raises Refused
    `catalogue.unknown-type`.
    """
    wanted = max(1, min(limit, PAGE))
    event = home.catalogue.by_type(event_type)
    theirs = [one for one in await home.consents.of(citizen.subject) if not one.status.over]
    async with home.store.read() as tx:
        if territories:
            there = await home.lookup.candidates(tx, event_type, list(territories))
        else:
            there = [
                one for one in (await home.lookup.subscriptions_by_id(tx)).values() if one.event_type == event_type
            ]
        parties = {one.id: one for one in await home.lookup.parties(tx)}
        named = await home.lookup.purposes(tx)
    open_ = [one for one in there if _bases(one, named.get(one.purpose))]
    ordered = sorted((one for one in open_ if after is None or one.id > after), key=lambda one: one.id)
    found = []
    for one in ordered[:wanted]:
        purpose = by_id(one.purpose, named)
        found.append(
            {
                "id": uuid_of(one.id),
                "recipient": party(parties, one.recipient),
                "event_type": one.event_type,
                "event_label": dict(event.label),
                "purpose": one.purpose,
                "purpose_label": purpose_label(one.purpose, named),
                "sentence": {"fr": purpose.sentence["fr"], "en": purpose.sentence["en"]},
                "fields": labelled(event, one.fields),
                "bases": _bases(one, purpose),
                "article": one.legal_reference or None,
                "territories": None if one.territories is None else sorted(one.territories),
                "grants": [uuid_of(each.id) for each in theirs if _is_for(each, one)],
            }
        )
    last = ordered[wanted - 1].id if len(ordered) > wanted else None
    return {"offers": found, "next": uuid_of(last)}


async def preview(home: Home, citizen: Citizen, wish: Wish) -> Json:
    """What would be agreed to, in the exact words, in the citizen's language. Nothing is written.

    `{text, text_sha256, until, basis, article, next}`: `give` takes `text_sha256` and `until` back. Raises Refused
    `citizens.not-offered`, `citizens.until`, `purposes.*`, `grant.*`.
    """
    made, text = await _made(home, citizen, wish)
    return {
        "text": text,
        "text_sha256": digest(text),
        "until": time_of(made.expires_at),
        "basis": made.basis.kind.value,
        "article": made.basis.article,
        "next": dict(NEXT["given-once" if wish.once else "given"]),
    }


async def give(home: Home, citizen: Citizen, wish: Wish, text_sha256: str) -> Json:
    """Allow it, under the text that was shown. The same again answers with the grant that there is.

    `{grant, repeated, text, text_sha256, entry, receipt, next}`. Raises Refused as `preview`, and
    `citizens.other-text`.
    """
    levels.check(citizen, Act.CONSENT)
    made, text = await _made(home, citizen, wish)
    check_text(text, text_sha256)
    given = await home.consents.give_unless(made)
    if isinstance(given, Grant):
        return await _answered(home, citizen, given, None, "given-once" if wish.once else "given", repeated=True)
    signed = Signed(given, await receipt_of(home, given))
    # Crash here: the grant stands; sent again, it is found, and its receipt can be had from `history`.
    return await _answered(home, citizen, given.grant, signed, "given-once" if wish.once else "given")


async def mine(home: Home, citizen: Citizen, *, ended: bool = False) -> list[Json]:
    """The citizen's grants, oldest first, those by law too; `ended`: with those that are over. Shape:
    `granted.grant_shape`.
    """
    found = [one for one in await home.consents.of(citizen.subject) if ended or not one.status.over]
    there = await book(home)
    return [grant_shape(home, there, one, citizen.language) for one in found]


async def one(home: Home, citizen: Citizen, grant: GrantId) -> Json:
    """One grant with `versions`, the oldest first: `[{version, status, fields, at, given_by, channel, text_sha256}]`.
    Raises Refused `consents.unknown-grant`.
    """
    head = await _own(home, citizen, grant)
    async with home.store.read() as tx:
        versions = await registry.history(tx.conn, grant)
    event = home.catalogue.by_id(head.schema)
    told = [
        {
            "version": each.version,
            "status": each.status.value,
            "fields": labelled(event, each.fields),
            "at": time_of(each.changed_at),
            "given_by": each.given_by,
            "channel": each.channel.value,
            "text_sha256": each.text_hash.hex(),
        }
        for each in versions
    ]
    return {**grant_shape(home, await book(home), head, citizen.language), "versions": told}


async def pause(home: Home, citizen: Citizen, grant: GrantId, version: int) -> Json:
    """Hold everything back. `version`: the one that was shown. As `give`; raises Refused `consents.unknown-grant`,
    `citizens.changed-meanwhile`, `grant.*`.
    """
    levels.check(citizen, Act.END_CONSENT)
    voice = await _voice(home, citizen, grant, "paused")
    done = await consents.pause(home, grant, voice, whose=citizen.subject, version=version)
    return await _answered(home, citizen, done.recorded.grant, done, "paused")


async def resume(home: Home, citizen: Citizen, grant: GrantId, version: int) -> Json:
    """End a pause; what waited goes out. As `pause`."""
    levels.check(citizen, Act.CONSENT)
    voice = await _voice(home, citizen, grant, "resumed")
    done = await consents.resume(home, grant, voice, whose=citizen.subject, version=version)
    return await _answered(home, citizen, done.recorded.grant, done, "resumed")


async def narrow(home: Home, citizen: Citizen, grant: GrantId, version: int, fields: frozenset[str]) -> Json:
    """Keep only these fields. As `pause`."""
    levels.check(citizen, Act.END_CONSENT)
    voice = await _voice(home, citizen, grant, "narrowed")
    done = await consents.narrow(home, grant, fields, voice, whose=citizen.subject, version=version)
    return await _answered(home, citizen, done.recorded.grant, done, "narrowed")


async def end(home: Home, citizen: Citizen, grant: GrantId) -> Json:
    """End it for good, whichever version was read; when this returns nothing more goes out under it. Again, it answers
    that it is over. As `pause`.
    """
    levels.check(citizen, Act.END_CONSENT)
    voice = await _voice(home, citizen, grant, "ended")
    try:
        done = await consents.revoke(home, grant, voice, whose=citizen.subject)
    except Refused as fault:
        if fault.code != "grant.over":
            raise
        return await _answered(home, citizen, await _own(home, citizen, grant), None, "ended", repeated=True)
    return await _answered(home, citizen, done.recorded.grant, done, "ended")


async def end_all(home: Home, citizen: Citizen) -> list[Json]:
    """End every consent and choice that stands; what rests on a law stays, and can be objected to. Each as `end`."""
    levels.check(citizen, Act.END_CONSENT)
    there = [one for one in await home.consents.of(citizen.subject) if not (one.by_law or one.status.over)]
    if not there:
        return []
    text = NEXT["ended"][citizen.language]
    done = await consents.revoke_all(home, citizen.subject, citizen.voice(sha256(text.encode()).digest()))
    return [await _answered(home, citizen, each.recorded.grant, each, "ended") for each in done]


# ── what they are made of ───────────────────────────────────────────────────────────────────────────────────────────


def _bases(one: Subscription, purpose: PurposeEntry | None) -> list[str]:
    """On what a citizen can base a grant for a subscription; none where the law alone decides, or nobody approved."""
    if one.status is not SubscriptionStatus.APPROVED or one.event_type in ADDRESSED or purpose is None:
        return []
    chosen = purpose.allows_choice and len(one.legal_reference.encode()) <= MAX_ARTICLE
    return ["consent"] * purpose.allows_consent + ["choice"] * chosen


def _is_for(one: Grant, subscription: Subscription) -> bool:
    theirs = (subscription.recipient, subscription.event_type, subscription.purpose)
    return (one.recipient, one.event_type, one.purpose) == theirs


async def _made(home: Home, citizen: Citizen, wish: Wish) -> tuple[GrantRequest, str]:
    """The request, and the text that goes with it."""
    at = home.clock()
    async with home.store.read() as tx:
        known = await home.lookup.purposes(tx)
        there = [
            one
            for one in (await home.lookup.subscriptions_by_id(tx)).values()
            if (one.recipient, one.event_type, one.purpose) == (wish.recipient, wish.event_type, wish.purpose)
            and one.status is SubscriptionStatus.APPROVED
        ]
        asked = frozenset[str]().union(*(one.fields for one in there))
        purpose = known.get(wish.purpose)
        if purpose is None or not there or not wish.fields <= asked or wish.event_type in ADDRESSED:
            raise Refused("citizens.not-offered", "/fields" if there and purpose is not None else "/recipient")
        recipient = await home.lookup.party(tx, wish.recipient)
    basis = choice(there[0].legal_reference) if wish.by_choice else CONSENT
    latest = longest_end(at)
    until = day(latest) if wish.until is None else wish.until
    if not at < until <= latest:
        raise Refused("citizens.until", "/until", latest=time_of(latest) or "")
    scope = Scope.ONCE if wish.once else Scope.STANDING
    text = text_shown(
        citizen.language,
        recipient,
        home.catalogue.by_type(wish.event_type),
        fields=wish.fields,
        purpose=purpose,
        basis=basis,
        scope=scope,
        until=until,
    )
    made = GrantRequest(
        subject=citizen.subject,
        recipient=wish.recipient,
        event_type=wish.event_type,
        purpose=wish.purpose,
        fields=wish.fields,
        basis=basis,
        voice=citizen.voice(sha256(text.encode()).digest()),
        expires_at=until,
        scope=scope,
        include_latest=wish.include_latest,
    )
    return made, text


async def _own(home: Home, citizen: Citizen, grant: GrantId) -> Grant:
    """Raises Refused `consents.unknown-grant`."""
    for one in await home.consents.of(citizen.subject):
        if one.id == grant:
            return one
    raise Refused("consents.unknown-grant", "/grant")


async def _voice(home: Home, citizen: Citizen, grant: GrantId, what: str) -> Voice:
    """Who speaks, under the sentence that says what a change of this grant means."""
    head, there = await _own(home, citizen, grant), await book(home)
    text = action_text(home, there, head, what, citizen.language)
    return citizen.voice(sha256(text.encode()).digest())


async def _answered(
    home: Home, citizen: Citizen, grant: Grant, signed: Signed | None, what: str, *, repeated: bool = False
) -> Json:
    told = grant_shape(home, await book(home), grant, citizen.language)
    return {
        "grant": told,
        "repeated": repeated,
        "text": told["text"],
        "text_sha256": grant.text_hash.hex(),
        "entry": None if signed is None else signed.recorded.entry.hex(),
        "receipt": None if signed is None else signed.receipt.decode(),
        "next": dict(NEXT[what]),
    }
