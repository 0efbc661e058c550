"""The law as this broker applies it, for everybody who asks: the rules by law and the purposes, one exact document.

    directory   who holds which key, who may publish what   (`schemas.directory`)
    law         who hears of everybody, by which article; what each purpose says, word for word

Each version of the directory has its document of the law, under a note of its own (`unefois-law/v1`), in a chain as the
directory's notes are (`schemas.directory_note`): whoever reads only the directory goes on as before.

Refuses: another spelling than the one exact form (`law.not-exact`), what is no such document (`law.malformed`).
Keeps: equal documents are equal bytes. `detail` of a rule or an added purpose is what an open entry of the ledger
commits to, so a rule that is shown here and stands in no ledger is found by whoever compares.
Source: docs/protocol.md, section 13; docs/adr/0055.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, Self

from schemas import directory_note
from schemas.directory_note import Pinned
from schemas.errors import Refused
from schemas.names import EventType, Instant, PartyId, Purpose, RuleId, uuid_text
from schemas.note import Note, VerifierKey

KIND: Final = "unefois-law/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LawPurpose:
    """One version of a purpose, in both languages. `detail`: SHA-256 of its row, hexadecimal, as the entry
    `purpose_approved` has it; None for those that come with the program.
    """

    id: Purpose
    version: int
    families: tuple[str, ...]
    label_fr: str
    label_en: str
    sentence_fr: str
    sentence_en: str
    legal_fr: str
    legal_en: str
    retention_fr: str
    retention_en: str
    contact: str
    detail: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LawRule:
    """One rule that was approved: by `article` the recipient hears of everybody. `territories` None: those of its
    subscription. It acts from `acts_from` until `ends_at`, or `ended_at`. `detail`: SHA-256 of its row, hexadecimal, as
    the newest of its entries has it.
    """

    id: RuleId
    recipient: PartyId
    event_type: EventType
    purpose: Purpose
    fields: tuple[str, ...]
    territories: tuple[str, ...] | None
    least_assurance: str
    least_quality: str
    article: str
    objection: bool
    approved_at: Instant
    acts_from: Instant
    narrowed_at: Instant | None
    ends_at: Instant | None
    ended_at: Instant | None
    detail: str

    def acts(self, at: Instant) -> bool:
        """Whether it allows anything at this instant."""
        over = [one for one in (self.ends_at, self.ended_at) if one is not None]
        return self.acts_from <= at and all(at < one for one in over)


@dataclass(frozen=True, slots=True)
class Law:
    """Every purpose that can be named and every rule that was ever approved; made by `Law.of`."""

    purposes: tuple[LawPurpose, ...]
    rules: tuple[LawRule, ...]

    @classmethod
    def of(cls, purposes: Iterable[LawPurpose], rules: Iterable[LawRule]) -> Self:
        """A document of these, in any order. Raises Refused `law.malformed` where one is there twice."""
        found = cls(tuple(sorted(purposes, key=attrgetter("id"))), tuple(sorted(rules, key=attrgetter("id"))))
        for some in (found.purposes, found.rules):
            if len({one.id for one in some}) != len(some):
                raise Refused("law.malformed")
        return found

    def to_json(self) -> str:
        """As JSON text: sorted, indented by one space, ends with a newline."""
        told = {"purposes": [_written(one) for one in self.purposes], "rules": [_written(one) for one in self.rules]}
        return json.dumps(told, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote, byte for byte. Raises Refused `law.malformed`, `law.not-exact`."""
        try:
            whole = json.loads(text)
            purposes = [_read(LawPurpose, raw) for raw in whole["purposes"]]
            rules = [_read(LawRule, raw) for raw in whole["rules"]]
        except (ValueError, TypeError, KeyError, RecursionError, Refused):
            raise Refused("law.malformed") from None
        law = cls.of(purposes, rules)
        if law.to_json() != text:
            raise Refused("law.not-exact")
        return law

    def acting(self, recipient: PartyId, at: Instant) -> tuple[LawRule, ...]:
        """The rules under which this administration hears of everybody at this instant."""
        return tuple(one for one in self.rules if one.recipient == recipient and one.acts(at))


def text_of(origin: str, version: int, content: str, previous: bytes = directory_note.FIRST) -> str:
    """What is signed for a document; `previous`: the digest of the one before."""
    return directory_note.text_of(origin, version, content, previous, kind=KIND)


def verify(content: str, signed: Note, log: VerifierKey, pinned: Pinned | None) -> tuple[Law, Pinned]:
    """The law of this exact JSON, and what to pin: a pin of its own, beside that of the directory.

    Raises Refused as `directory_note.verify` does, `law.malformed`, `law.not-exact`.
    """
    now = directory_note.check(content, signed, log, pinned, kind=KIND)
    return Law.from_json(content), now


def follow(signed: Note, log: VerifierKey, pinned: Pinned) -> Pinned:
    """What to pin after one more link, as `directory_note.follow`."""
    return directory_note.follow(signed, log, pinned, kind=KIND)


def _written(one: LawPurpose | LawRule) -> dict[str, Any]:
    told = {member.name: getattr(one, member.name) for member in fields(one)}
    return {name: uuid_text(value) if isinstance(value, bytes) else value for name, value in told.items()}


def _read(kind: type[Any], raw: Mapping[str, Any]) -> Any:
    if set(raw) != {member.name for member in fields(kind)}:
        raise ValueError
    own = _RULE if kind is LawRule else _PURPOSE
    return kind(**{name: own.get(name, _text)(value) for name, value in raw.items()})


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError
    return raw


def _whole(raw: object) -> int:
    if type(raw) is not int:  # a bool is an int too, and would be written back as it was read
        raise ValueError
    return raw


def _instant(raw: object) -> Instant:
    return Instant(_whole(raw))


def _yes(raw: object) -> bool:
    if not isinstance(raw, bool):
        raise ValueError
    return raw


def _sorted(raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(one, str) for one in raw) or raw != sorted(set(raw)):
        raise ValueError
    return tuple(raw)


def _maybe(read: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda raw: None if raw is None else read(raw)


_PURPOSE: Final[Mapping[str, Callable[[Any], Any]]] = MappingProxyType(
    {"id": Purpose, "version": _whole, "families": _sorted, "detail": _maybe(_text)}
)
_RULE: Final[Mapping[str, Callable[[Any], Any]]] = MappingProxyType(
    {
        "id": RuleId.parse,
        "recipient": PartyId,
        "event_type": EventType,
        "purpose": Purpose,
        "fields": _sorted,
        "territories": _maybe(_sorted),
        "objection": _yes,
        "approved_at": _instant,
        "acts_from": _instant,
        "narrowed_at": _maybe(_instant),
        "ends_at": _maybe(_instant),
        "ended_at": _maybe(_instant),
    }
)
