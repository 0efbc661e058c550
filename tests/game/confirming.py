"""Guess confirmation: everything that could be computed from what a party holds is tried against every entry.

A party knows who may have heard what, and when; it guesses the facts, and every blind, tag or digest that it could have
come by: its own, hashes of its own, hashes with a recipient's name, zeros. An entry that fits tells whose it is.
"""

from collections.abc import Iterator
from hashlib import sha256
from itertools import product

from schemas.entry import Entry, EntryKind
from schemas.facts import FactKind, Facts
from schemas.locked import delivery_id_of
from schemas.names import PartyId, Reason
from tests.game.playing import Held, Round
from tests.game.scenes import ASKED
from tests.world import CAF, CPAM, MOVED

BROKER = PartyId("urn:unefois:broker")
ASKING = (CAF, CPAM)
_FACTS, _PLAN = b"unefois/ledger-facts/v2\x00", b"unefois/ledger-plan/v2\x00"
Story = tuple[str, PartyId]
"""Who (A or B) has to do with whom."""


def confirmed(game: Round, held: Held) -> int | None:
    """The bit, if any guess is confirmed by an entry that is not the party's own; else None."""
    own = {one.leaf for _, one in held.own}
    told = zip(game.entries, game.leaves, strict=True)
    others = [entry for entry, leaf in told if leaf not in own and entry.kind is not EntryKind.OPEN]
    for who, recipient in _found(game, held, others):
        return int((who == "A") is not (recipient == CAF))
    return None


def _found(game: Round, held: Held, others: list[Entry]) -> Iterator[Story]:
    tags = {entry.tag for entry in others if entry.tag}
    for tag, story in _tags(held):
        if tag in tags:
            yield story
    sealed = {entry.facts for entry in others}
    plans = {entry.content for entry in others if entry.content}
    blinds = _blinds(held)
    for facts, story in _guesses(game, held):
        if _fits(_FACTS, facts.encode(), blinds, sealed):
            yield story
        if facts.kind is FactKind.PLANNED and _fits(_PLAN, facts.plan(), blinds, plans):
            yield story


def _fits(label: bytes, said: bytes, blinds: set[bytes], sealed: set[bytes | None]) -> bool:
    """Whether a commitment to these bytes, under any of these blinds, stands in an entry."""
    return any(sha256(label + blind + said).digest() in sealed for blind in blinds)


def strings(held: Held, who: str) -> set[bytes]:
    """Every number that a party has about one of the two: of manifests, openings, entries and statements."""
    found: set[bytes] = {bytes(one) for one in (held.digests.get(who), held.ids.get(who)) if one is not None}
    for whose, one in held.own:
        if whose != who:
            continue
        facts, entry = one.facts, one.entry
        for value in (
            *(one.leaf, one.opening.blind, one.opening.plan_blind, entry.tag, entry.content, entry.facts),
            *(facts.subject, facts.grant, facts.delivery, facts.declaration, facts.detail, facts.sealed_to),
        ):
            if value is not None:
                found.add(bytes(value))
    return found


def _tags(held: Held) -> Iterator[tuple[bytes, Story]]:
    for who, recipient in product("AB", ASKING):
        name = recipient.encode()
        for known in strings(held, who):
            for made in (sha256(known + name), sha256(name + known), sha256(known + b"\x00" + name)):
                yield made.digest()[:16], (who, recipient)


def _blinds(held: Held) -> set[bytes]:
    known = strings(held, "A") | strings(held, "B") | strings(held, "C")
    known |= {sha256(one).digest() for one in known}
    known |= {bytes(32), b"\xff" * 32}
    return {one for one in known if len(one) == 32} | {one * 2 for one in known if len(one) == 16}


def _guesses(game: Round, held: Held) -> Iterator[tuple[Facts, Story]]:
    """What an entry may say of A or of B with CAF or CPAM, with every subject's commitment and grant that is known."""
    for who, recipient in product("AB", ASKING):
        declaration = held.digests.get(who)
        if declaration is None:
            continue
        mine = [one.facts for whose, one in held.own if whose == who]
        subjects = {facts.subject for facts in mine}
        for at, subject in product({game.declared[who], game.acted[who]}, subjects):
            told = {"at": at, "actor": BROKER, "recipient": recipient, "event_type": MOVED, "subject": subject}
            told |= {"purpose": ASKED[recipient], "declaration": declaration}
            for reason in (Reason.PAUSED, Reason.NO_GRANT, Reason.REVOKED):
                yield Facts(kind=FactKind.WITHHELD, reason=reason, **told), (who, recipient)
            for facts in mine:  # under a grant that it knows, if it were one for both
                if facts.grant is not None and facts.fields is not None and facts.basis is not None:
                    delivery = delivery_id_of(held.ids[who], recipient, facts.grant)
                    plan = {"grant": facts.grant, "grant_version": 1, "fields": facts.fields, "basis": facts.basis}
                    yield Facts(kind=FactKind.PLANNED, delivery=delivery, **told, **plan), (who, recipient)
