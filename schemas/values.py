"""Values: is this record, which Avro would take, one that a recipient can rely on?

Refuses: texts not in NFC, with control characters, empty, padded or too long, with symbols where words are meant;
    formats not met; parts that disagree, such as a commune told apart that is not the one in the address; a fact that
    is told before it has happened, or generations after; a move of another decade. Always with the pointer, never with
    the value; all that is wrong at once.
Keeps: what is doubtful but may be right (a former commune code, a move of two years ago) passes with a warning. No
    clock: which day it is is told by whoever asks, and what is planned may lie in the future.
Source: the properties in the event schemas: `format`, `maxLength`, `maxItems`, `minItems`, `minimum`, `maximum`;
    and those of `agreements`.
"""

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from schemas import areas, avro, places
from schemas.agreements import AGREEMENTS, OF_TYPE, streetless
from schemas.avro_faults import faults
from schemas.avro_types import Kind, Type
from schemas.catalogue import BANK_ACCOUNT, RECORD_FORMATS, EventSchema
from schemas.errors import MOST, Refused, together
from schemas.formats import FORMATS, Warning
from schemas.names import INSTANT_MAX, Capacity, EventType, Instant, rfc3339

MAX_LENGTH = 1_000
"""Characters of a text whose schema sets no limit; bytes of a value that is bytes and no number."""
MAX_ITEMS = 1_000
"""Items of an array whose schema sets no limit."""

_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Unicode categories that no name or address needs: controls, direction marks, private use, line separators."""

_WORDS = frozenset("LMNP")
"""First letters of the Unicode categories (Unicode Standard, 4.5) that a text consists of, beside spaces (Zs): letters,
marks, numbers and punctuation."""
_WORDS_TOO = frozenset("°№+")
"""Symbols that French addresses and names are written with: n° 5, bâtiment A+."""
_EMOJI_MARKS = frozenset("\u20dd\u20de\u20df\u20e0\u20e2\u20e3\u20e4\ufe0e\ufe0f")
"""Marks that make a picture of a letter or digit: enclosing ones, and the choice of an emoji's shape."""

PAST = frozenset({"birthdate", "death_date", "drawn_up_on", "date"})
"""Dates of facts, by their names in our schemas; an `effective_date` or a `from_date` may be planned."""
_EAST_MS = 14 * 3_600_000
"""Where the day begins first, UTC+14: a child born there is born."""
_DAY_MS = 86_400_000
LONG_YEARS = 130
"""Nobody tells news of what happened longer ago: a marriage in 1823 is a slip of the pen."""
REPRESENTING = frozenset({Capacity.PARENT.value, Capacity.GUARDIAN.value})
"""Whose account may be told for whom they speak for."""
MOVED = EventType("fr.unefois.address.changed.v1")
MOVE_DAYS, MOVE_YEARS = 366, 10
"""So far from its declaration, before or after, a move is looked at twice; and so far it is refused."""


def check(event: EventSchema, record: Mapping[str, Any], at: Instant | None = None) -> tuple[Warning, ...]:
    """Whether a record may be declared, at this instant where it is told. Returns what to look at; raises Refused
    (`avro.*`, `values.*`): the first fault of the record, with the others in `also`.
    """
    found = _Found(_not_of_their_type(event.schema, record), streetless(event, record))
    _visit(event.schema.type, record, "", found)
    for each in event.schema.fields:
        for name, agree in AGREEMENTS.items():
            if name in each.properties:
                agree(record, each.name, each.properties[name], found)
    if event.event_type in OF_TYPE:
        OF_TYPE[event.event_type](record, found)
    if at is not None:
        _check_past(event.schema.type, record, "", _Days.at(at), found)
        if event.event_type == MOVED:
            _check_move(record, at, found)
    if event.event_type == BANK_ACCOUNT:
        _check_holder(record, found)
    if found.faults:
        raise together(found.faults)
    return tuple(found.warnings)


def _not_of_their_type(schema: avro.Schema, record: Mapping[str, Any]) -> list[Refused]:
    """Each place at which the record is not of its type, so that everything else may rely on types and fields.

    Raises Refused where it is the whole that cannot be: no record, or one that is too large.
    """
    try:
        avro.encode(schema, record)
    except Refused as first:
        found = list(islice(faults(schema.type, record), MOST + 1))
        if not isinstance(record, Mapping) or (first.code, first.pointer) not in {(f.code, f.pointer) for f in found}:
            raise
        return found
    return []


class _Found:
    """What is found in one record: faults in their order, and what is only to look at."""

    def __init__(self, unfit: list[Refused], streetless: frozenset[str]) -> None:
        self.faults = unfit
        self.streetless = streetless
        """Where an address needs no street: its record says why."""
        self.warnings: list[Warning] = []
        self._unfit = frozenset(each.pointer for each in unfit if each.code != "avro.unknown-field")

    def fits(self, pointer: str) -> bool:
        """Whether a value is there and of its type; more is not looked for once there is more than is told."""
        return pointer not in self._unfit and len(self.faults) <= MOST

    def sound(self, pointer: str) -> bool:
        """Whether nothing was found at a place or inside."""
        inside = f"{pointer}/"
        return self.fits(pointer) and not any(
            each.pointer == pointer or each.pointer.startswith(inside) for each in self.faults
        )


def _visit(kind: Type, value: Any, pointer: str, found: _Found) -> None:
    if value is None or (found.faults and not found.fits(pointer)):
        return
    if kind.kind is Kind.UNION:
        kind = kind.parts[kind.parts[0].kind is Kind.NULL]  # the catalogue knows only null with one other
    visitor = _VISITORS.get(kind.kind)
    if visitor is not None:
        try:
            visitor(kind, value, pointer, found)
        except Refused as fault:
            found.faults.append(fault)


def _visit_record(kind: Type, value: Any, pointer: str, found: _Found) -> None:
    for each in kind.fields:
        _visit(each.type, value.get(each.name), f"{pointer}/{each.name}", found)
    named = kind.properties.get("format", "")
    if named in _RULES and not (found.faults and _touched(found, pointer, RECORD_FORMATS[named])):
        _RULES[named](value, pointer, found)


def _touched(found: _Found, pointer: str, names: Iterable[str]) -> bool:
    """Whether something was found in one of these fields of a record."""
    return not all(found.sound(f"{pointer}/{name}") for name in names)


def _visit_array(kind: Type, value: Any, pointer: str, found: _Found) -> None:
    most, least = kind.properties.get("maxItems", MAX_ITEMS), kind.properties.get("minItems", 0)
    if len(value) > most:
        found.faults.append(Refused("values.too-many", pointer, count=len(value), limit=most))
    if len(value) < least:
        found.faults.append(Refused("values.too-few", pointer, count=len(value), limit=least))
    for number, each in enumerate(value[:most]):
        _visit(kind.parts[0], each, f"{pointer}/{number}", found)


def _visit_int(kind: Type, value: Any, pointer: str, found: _Found) -> None:
    least, most = kind.properties.get("minimum", value), kind.properties.get("maximum", value)
    if not least <= value <= most:
        raise Refused("values.out-of-range", pointer)


def _visit_bytes(kind: Type, value: Any, pointer: str, found: _Found) -> None:
    if kind.logical is None and len(value) > MAX_LENGTH:
        raise Refused("values.too-long", pointer, length=len(value), limit=MAX_LENGTH)


def _visit_text(kind: Type, value: Any, pointer: str, found: _Found) -> None:
    limit = kind.properties.get("maxLength", MAX_LENGTH)
    if not value:
        raise Refused("values.empty", pointer)
    if len(value) > limit:
        raise Refused("values.too-long", pointer, length=len(value), limit=limit)
    if not value.isascii() and not unicodedata.is_normalized("NFC", value):
        raise Refused("values.not-nfc", pointer)
    if any(unicodedata.category(character) in _UNSEEN for character in value):
        raise Refused("values.control-character", pointer)
    if value != value.strip() or "  " in value:
        raise Refused("values.padded", pointer)
    named = kind.properties.get("format", "text")
    if named == "text" and not value.isascii():
        _check_words(value, pointer)
    try:
        warning = FORMATS[named](value)
    except Refused as fault:
        raise fault.under(pointer) from None
    if warning is not None:
        found.warnings.append(replace(warning, pointer=pointer))


def _check_words(text: str, pointer: str) -> None:
    for position, character in enumerate(text, 1):
        category = unicodedata.category(character)
        word = category[0] in _WORDS or category == "Zs" or character.isascii() or character in _WORDS_TOO
        if not word or character in _EMOJI_MARKS:
            raise Refused("values.symbol", pointer, position=position)


@dataclass(frozen=True, slots=True)
class _Days:
    """Between which days a fact may have happened: `first` and `today`, each as 2026-11-24."""

    first: str
    today: str

    @classmethod
    def at(cls, at: Instant) -> "_Days":
        """Those of an instant."""
        today = _day(at + _EAST_MS)
        return cls(f"{max(int(today[:4]) - LONG_YEARS, 1):04}{today[4:]}", today)


def _day(at: int) -> str:
    return rfc3339(Instant(min(max(at, 0), INSTANT_MAX)))[:10]


def _check_move(record: Mapping[str, Any], at: Instant, found: _Found) -> None:
    """A move is news, or a plan: not of another decade."""
    told, place = record.get("effective_date"), "/effective_date"
    if not isinstance(told, str) or not found.sound(place):
        return
    early, late = (_day(at + days * _DAY_MS) for days in (-366 * MOVE_YEARS, 366 * MOVE_YEARS))
    if not early <= told <= late:
        found.faults.append(Refused("values.far-date", place, years=MOVE_YEARS))
    elif not _day(at - MOVE_DAYS * _DAY_MS) <= told <= _day(at + MOVE_DAYS * _DAY_MS):
        found.warnings.append(Warning("values.distant-date", place))


def _check_holder(record: Mapping[str, Any], found: _Found) -> None:
    """An account of somebody of another name is refused, unless the record states why it may be right: it is a joint
    one, or that of the parent or guardian who declares; or the bank writes an initial and a name that is used. Then it
    is looked at twice.
    """
    if not all(found.sound(place) for place in ("/holder", "/subject", "/joint", "/declarant", "/capacity")):
        return
    holder, declarant = _words(record["holder"]), record["declarant"]
    if not _named(record["subject"]).isdisjoint(holder):
        return
    # The first part of what a bank writes is a title: M is a man, and no initial.
    initials = {each for text in record["subject"]["given_names"] for each in _plain(text)[:1]}
    theirs = declarant is not None and record["capacity"] in REPRESENTING and not _named(declarant).isdisjoint(holder)
    if record["joint"] or theirs or not initials.isdisjoint(_parts(record["holder"])[1:]):
        found.warnings.append(Warning("values.other-holder", "/holder"))
    else:
        found.faults.append(Refused("values.not-the-holder", "/holder"))


def _named(person: Mapping[str, Any]) -> set[str]:
    return {word for text in (person["family_name"], *person["given_names"]) for word in _words(text)}


def _words(text: str) -> set[str]:
    """The words of a name of two letters or more, without accents, as banks write them."""
    return {part for part in _parts(text) if len(part) > 1}


def _parts(text: str) -> list[str]:
    return "".join(one if one.isalpha() else " " for one in _plain(text)).split()


def _plain(text: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFKD", text).upper() if not unicodedata.combining(one))


def _check_past(kind: Type, value: Any, pointer: str, days: _Days, found: _Found) -> None:
    """A date of which a part is told counts from the first day that it may be, and to the last."""
    if value is None or (found.faults and not found.fits(pointer)):
        return
    if kind.kind is Kind.UNION:
        kind = kind.parts[kind.parts[0].kind is Kind.NULL]
    if kind.kind is Kind.RECORD:
        for each in kind.fields:
            told, place = value.get(each.name), f"{pointer}/{each.name}"
            if each.name in PAST and isinstance(told, str) and found.sound(place):
                if told > days.today[: len(told)]:
                    found.faults.append(Refused("values.future", place))
                elif told < days.first[: len(told)]:
                    found.faults.append(Refused("values.long-past", place, years=LONG_YEARS))
            _check_past(each.type, told, place, days, found)
    elif kind.kind is Kind.ARRAY:
        for number, one in enumerate(value):
            _check_past(kind.parts[0], one, f"{pointer}/{number}", days, found)


_Visitor = Callable[[Type, Any, str, _Found], None]
_VISITORS: Mapping[Kind, _Visitor] = {
    Kind.RECORD: _visit_record,
    Kind.ARRAY: _visit_array,
    Kind.INT: _visit_int,
    Kind.BYTES: _visit_bytes,
    Kind.STRING: _visit_text,
}


def _check_identity(value: Any, pointer: str, found: _Found) -> None:
    """Born in France: with a commune. Born elsewhere: without."""
    in_france = value["birthcountry"] == places.FRANCE
    if value["birthplace"] is not None and not in_france:
        raise Refused("values.birthplace-abroad", f"{pointer}/birthplace")
    if value["birthplace"] is None and in_france:
        found.warnings.append(Warning("values.no-birthplace", f"{pointer}/birthplace"))


def _check_address(value: Any, pointer: str, found: _Found) -> None:
    """In France: a postcode of five digits and a commune; a military postal sector has none. Abroad: lines, and no
    commune.
    """
    if value["country"] != places.FRANCE:
        if value["commune"] is not None:
            raise Refused("values.commune-abroad", f"{pointer}/commune")
        if not value["lines"]:
            raise Refused("values.no-address-lines", f"{pointer}/lines")
        return
    postcode = value["postcode"]
    military = postcode is not None and areas.is_military_sector(postcode)
    if value["commune"] is not None and military:
        raise Refused("values.military-commune", f"{pointer}/commune")
    if value["commune"] is None and not military:
        raise Refused("values.no-commune", f"{pointer}/commune")
    if postcode is None or len(postcode) != 5 or not postcode.isdigit():
        raise Refused("values.french-postcode", f"{pointer}/postcode")
    placed = any(value[part] is not None for part in ("street", "locality", "po_box")) or value["lines"]
    if not placed and pointer not in found.streetless:
        raise Refused("values.no-street", f"{pointer}/street")


def _check_declaration(value: Any, pointer: str, found: _Found) -> None:
    """Somebody who speaks for himself is no declarant; a parent, guardian or next of kin is one, by name."""
    alone, capacity = value["declarant"] is None, value["capacity"]
    if alone and capacity not in (Capacity.SELF.value, Capacity.AGENT.value):
        raise Refused("values.no-declarant", f"{pointer}/declarant")
    if not alone and capacity == Capacity.SELF.value:
        raise Refused("values.declarant-and-self", f"{pointer}/capacity")


_RULES: Mapping[str, Callable[[Any, str, _Found], None]] = {
    "identity": _check_identity,
    "address": _check_address,
    "declaration": _check_declaration,
}
"""Rules for a whole record, by its `format`; `catalogue.RECORD_FORMATS` says which fields each of them needs."""
