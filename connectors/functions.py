"""The closed library: every function that a mapping may call, and no other.

Refuses: an argument of another kind than the table says, texts and lists over their limits, a code that the file's
         own table does not list. Nothing here loops without bound, reads a clock, or reaches outside its arguments.
Keeps: null in, null out, for every function that does not say otherwise, so that an absent value stays absent; and a
       withheld value is never turned into null unless the mapping says so by name.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum, auto

from connectors import addresses, dates, text
from connectors.code_tables import CodeTable
from connectors.contract import Reject
from schemas.errors import Refused
from schemas.text import is_unicode

MAX_TEXT = 4_096
"""Longest text that a function may take or give, in characters."""
MAX_ITEMS = 1_000
"""Longest list that a function may take or give."""
_MOST = Decimal(10) ** 15
"""Above it, `number_fr` would have to round what it was told."""
IDS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:unefois:stable-id:v1")
"""Namespace of `stable_id`, so that anybody can compute the same identifier (RFC 9562, 5.5)."""


class Kind(Enum):
    """What a parameter takes."""

    TEXT = auto()
    NUMBER = auto()
    LIST = auto()
    RECORD = auto()
    ANY = auto()
    TABLE = auto()
    """A literal name of a table of the file; the function gets the table."""
    LATER = auto()
    """Any expression, evaluated only when the function asks."""
    EACH = auto()
    """`&expression`, evaluated once for each item."""


class FieldWithheld(Reject):
    """A mapping read a field that this delivery does not disclose."""


class Absent(Enum):
    """The target is left out of the row altogether: an update leaves the agency's column as it is."""

    LEFT_OUT = auto()


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the library. `optional`: how many of the last arguments may be missing."""

    run: Callable[..., object]
    takes: tuple[Kind, ...]
    says: str
    optional: int = 0


def _join(separator: str, items: list[object]) -> str | None:
    return separator.join(_as_text(item) for item in items if item is not None and item != "") or None


def _split(whole: str, separator: str) -> list[str]:
    if not separator:
        raise Refused("mapping.width")
    return whole.split(separator)


def _default(given: object, fallback: object) -> object:
    return fallback if given is None or given in ("", []) else given


def _when(condition: Callable[[], object], then: Callable[[], object], otherwise: Callable[[], object]) -> object:
    # JMESPath's own truth: null, false, "", [] and {} are false; 0 is true.
    verdict = condition()
    return otherwise() if verdict is None or verdict is False or verdict in ("", [], {}) else then()


def _code(table: CodeTable, key: object) -> object:
    return None if key is None else table.code(_as_text(key))


def _code_or(table: CodeTable, key: object, fallback: object) -> object:
    return fallback if key is None else table.codes.get(_as_text(key), fallback)


def _code_back(table: CodeTable, code: object) -> str | None:
    return None if code is None else table.value(_as_text(code))


def _pack(separator: str, items: list[object]) -> str | None:
    cells = [_as_text(item) for item in items if item is not None]
    whole = separator.join(cells)
    if not separator or not all(cells) or whole.split(separator) != (cells or [""]):
        raise Refused("mapping.separator")
    return whole or None


def _unpack(separator: str, whole: object) -> list[str]:
    if whole is None or whole == "":
        return []
    if not separator or not isinstance(whole, str):
        raise Refused("mapping.separator")
    return whole.split(separator)


def _as_text(given: object) -> str:
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, str | int | Decimal):
        return str(given)
    raise Refused("mapping.argument", function="to_text", wanted="text")


def _to_text(given: object) -> str | None:
    return None if given is None else _as_text(given)


def _to_number(digits: str) -> int:
    if re.fullmatch(r"-?[0-9]{1,18}", digits) is None:
        raise Refused("mapping.argument", function="to_number", wanted="digits")
    return int(digits)


def _number_fr(given: object, decimals: object) -> str:
    if not isinstance(decimals, int) or not 0 <= decimals <= 12:
        raise Refused("mapping.width")
    told = Decimal(str(given))
    if not told.is_finite() or abs(told) >= _MOST:
        raise Refused("mapping.argument", function="number_fr", wanted="number")
    exact = told.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)
    return f"{exact:f}".replace(".", ",")


def _first(items: list[object]) -> object:
    return items[0] if items else None


def _last(items: list[object]) -> object:
    return items[-1] if items else None


def _each(expression: Callable[[object], object], items: list[object]) -> list[object]:
    return [expression(item) for item in items]


def _one_of(given: object, items: list[object]) -> bool:
    return any(type(item) is type(given) and item == given for item in items)


def _full_name(given: object, family: str) -> str:
    names = given if isinstance(given, list) else [given]
    return text.squeeze(" ".join(str(name) for name in (*names, family) if name))


def _withheld_or(read: Callable[[], object], fallback: Callable[[], object]) -> object:
    try:
        return read()
    except FieldWithheld:
        pass
    return fallback()


def _is_withheld(read: Callable[[], object]) -> bool:
    try:
        read()
    except FieldWithheld:
        return True
    return False


def _stable_id(label: str, seed: str) -> str:
    if not is_unicode(label + seed):
        raise Refused("mapping.argument", function="stable_id", wanted="text")
    return str(uuid.uuid5(IDS, f"{label}\x00{seed}"))


def _pad_left(given: str, width: object, fill: str = " ") -> str:
    return text.pad(given, width, fill, right=False)


def _pad_right(given: str, width: object, fill: str = " ") -> str:
    return text.pad(given, width, fill, right=True)


def _date_fr(day: str) -> str:
    return dates.date_as(day, "dd/mm/yyyy")


def _null_if_withheld(read: Callable[[], object]) -> object:
    return _withheld_or(read, lambda: None)


def _keep_if_withheld(read: Callable[[], object]) -> object:
    return _withheld_or(read, lambda: Absent.LEFT_OUT)


_T, _N, _L, _R, _A, _LATER = Kind.TEXT, Kind.NUMBER, Kind.LIST, Kind.RECORD, Kind.ANY, Kind.LATER

LIBRARY: Mapping[str, Function] = {
    # letters
    "upper": Function(str.upper, (_T,), "In capitals."),
    "lower": Function(str.lower, (_T,), "In small letters."),
    "title": Function(str.title, (_T,), "Each word with a capital: `Jean-Pierre D'Arcy`."),
    "strip_accents": Function(text.strip_accents, (_T,), "`Élodie` as `Elodie`."),
    "ascii": Function(text.ascii_letters, (_T,), "Without accents, ligatures, typographic signs; refuses the rest."),
    "squeeze": Function(text.squeeze, (_T,), "One space between words, none at the ends."),
    "words": Function(text.words, (_T,), "The words as a list."),
    "split": Function(_split, (_T, _T), "split(text, separator): a list."),
    "join": Function(_join, (_T, _L), "join(separator, list): without null and empty items; null if none is left."),
    "replace": Function(str.replace, (_T, _T, _T), "replace(text, old, new)."),
    "starts_with": Function(str.startswith, (_T, _T), "Whether a text starts with another."),
    "ends_with": Function(str.endswith, (_T, _T), "Whether a text ends with another."),
    "pad_left": Function(_pad_left, (_T, _N, _T), "pad_left(text, width, fill); too long is refused.", 1),
    "pad_right": Function(_pad_right, (_T, _N, _T), "pad_right(text, width, fill); too long is refused.", 1),
    "full_name": Function(_full_name, (_A, _T), "full_name(given names, family name): `Jean Pierre DUPONT`."),
    "to_text": Function(_to_text, (_A,), "A number or a boolean as text."),
    "to_number": Function(_to_number, (_T,), "Digits as a whole number."),
    "number_fr": Function(_number_fr, (_N, _N), "number_fr(number, decimals): `1234,50`, rounded half up."),
    # lists and choices
    "length": Function(len, (_L,), "How many items."),
    "first": Function(_first, (_L,), "The first item, or null."),
    "last": Function(_last, (_L,), "The last item, or null."),
    "map": Function(_each, (Kind.EACH, _L), "map(&expression, list): one result for each item, nulls kept."),
    "one_of": Function(_one_of, (_A, _L), "Whether a value is in a list."),
    "default": Function(_default, (_A, _A), "default(value, other): the other where the value is null or empty."),
    "when": Function(_when, (_LATER, _LATER, _LATER), "when(condition, then, otherwise)."),
    "code": Function(
        _code,
        (Kind.TABLE, _A),
        "code('table', value): of a table here or of the catalogue; refuses what is not listed.",
    ),
    "code_or": Function(_code_or, (Kind.TABLE, _A, _A), "code_or('table', value, other): the other where not listed."),
    "code_back": Function(
        _code_back, (Kind.TABLE, _A), "code_back('table', code): the one value with this code; refuses several."
    ),
    "pack": Function(_pack, (_T, _L), "pack(separator, list): one cell; refuses an item that has the separator in it."),
    "unpack": Function(_unpack, (_T, _A), "unpack(separator, cell): the list again; none of an empty cell."),
    # dates
    "date_fr": Function(_date_fr, (_T,), "`24/08/1962`; a partial date as `08/1962` or `1962`."),
    "date_as": Function(dates.date_as, (_T, _T), "date_as(ISO date, 'yyyymmdd')."),
    "date_zeros": Function(dates.date_zeros, (_T, _T), "Like date_as, zeros for unknown parts: `00/08/1962`."),
    "date_from": Function(dates.date_from, (_T, _T), "date_from(text, 'ddmmyyyy'): an ISO date."),
    "date_day": Function(dates.date_day, (_T,), "`24` of an ISO date; null where the day is not known."),
    "date_month": Function(dates.date_month, (_T,), "`08` of an ISO date; null where the month is not known."),
    "date_year": Function(dates.date_year, (_T,), "`1962` of an ISO date."),
    "date_of": Function(
        dates.date_of,
        (_A, _A, _A),
        "date_of(day, month, year): an ISO date; null, empty or zero is not known.",
    ),
    "paris_day": Function(dates.paris_day, (_T,), "The calendar day in France of an instant."),
    # addresses
    "address_lines": Function(addresses.address_lines, (_R,), "NF Z10-011: at most six lines of 38, none blank."),
    "address_slots": Function(addresses.address_slots, (_R,), "NF Z10-011: six fixed places, null where empty."),
    "postal_lines": Function(addresses.postal_lines, (_R, _A, _A), "The lines to print, as postal_slots has them.", 2),
    "postal_slots": Function(
        addresses.postal_slots,
        (_R, _A, _A),
        "postal_slots(record.new_address, addressee, care of): six fixed places, a seventh abroad; the last two may be"
        " left out or null.",
        2,
    ),
    "postal_columns": Function(
        addresses.postal_columns, (_R, _A, _A), "The same as `l1` to `l7`: `postal_columns(record.new_address).l4`.", 2
    ),
    "addressee": Function(
        addresses.addressee,
        (_A, _T),
        "addressee(given names, family name): line 1; one given name or its initial where 38 characters are too few.",
    ),
    "commune_name": Function(addresses.commune_name, (_T,), "The name of the commune with this INSEE code."),
    "commune_code": Function(
        addresses.commune_code,
        (_T, _A),
        "commune_code(name, postcode): the code of the one commune of today that is meant, also by a former name.",
        1,
    ),
    "commune_today": Function(addresses.commune_today, (_T,), "The code of the commune that a code belongs to now."),
    "country_name": Function(addresses.country_name, (_T,), "The name of the country with this INSEE code."),
    "country_code": Function(addresses.country_code, (_T,), "The INSEE code of the country of today with this name."),
    "postcode_of": Function(addresses.postcode_of, (_T,), "`44000` of `44000 NANTES`."),
    "city_of": Function(addresses.city_of, (_T,), "`NANTES` of `44000 NANTES`."),
    "number_of": Function(addresses.number_of, (_T,), "`42` of `42 BIS RUE DE LA PAIX`; null without a number."),
    "repetition_of": Function(addresses.repetition_of, (_T,), "`BIS` of `42 BIS RUE DE LA PAIX`; null without one."),
    "street_of": Function(addresses.street_of, (_T,), "`RUE DE LA PAIX` of `42 BIS RUE DE LA PAIX`."),
    # identifiers
    "stable_id": Function(_stable_id, (_T, _T), "stable_id('label', seed): the same UUID for the same seed, for ever."),
    # withheld values
    "withheld_or": Function(_withheld_or, (_LATER, _LATER), "withheld_or(value, other): the other where withheld."),
    "null_if_withheld": Function(_null_if_withheld, (_LATER,), "Null where it is withheld."),
    "keep_if_withheld": Function(_keep_if_withheld, (_LATER,), "Where it is withheld, the column is left as it is."),
    "is_withheld": Function(_is_withheld, (_LATER,), "Whether a value is withheld."),
}

COSTS: Mapping[str, int] = {
    **dict.fromkeys(("address_lines", "address_slots", "postal_lines", "postal_slots", "postal_columns"), 50),
    "commune_code": 2_000,  # a name that nobody knows is looked for among 35,000
}
"""What a call costs, in steps of an expression, where it is more than one; a step takes about a microsecond."""

WITHHELD_AWARE = frozenset({"withheld_or", "null_if_withheld", "keep_if_withheld", "is_withheld"})
"""Functions whose first argument may read a withheld field."""

_NULL_PASSES = frozenset({Kind.TEXT, Kind.NUMBER, Kind.LIST, Kind.RECORD})


def call(name: str, arguments: list[object]) -> object:
    """Run a function of the library on arguments whose count was checked when the file was read.

    Raises Refused("mapping.argument") for a wrong kind, "mapping.too-long" and "mapping.too-many" over the limits.
    """
    function = LIBRARY[name]
    for kind, argument in zip(function.takes, arguments, strict=False):
        if argument is None and kind in _NULL_PASSES:
            return None
        if not _is(kind, argument):
            raise Refused("mapping.argument", function=name, wanted=kind.name.lower())
    return bounded(function.run(*arguments))


def bounded(result: object) -> object:
    """The result, if it keeps to the limits of one text or one list."""
    if isinstance(result, str) and len(result) > MAX_TEXT:
        raise Refused("mapping.too-long", length=len(result), limit=MAX_TEXT)
    if isinstance(result, list) and len(result) > MAX_ITEMS:
        raise Refused("mapping.too-many", count=len(result), limit=MAX_ITEMS)
    return result


def _is(kind: Kind, argument: object) -> bool:
    if kind is Kind.TEXT:
        return isinstance(argument, str)
    if kind is Kind.NUMBER:
        return isinstance(argument, int | float | Decimal) and not isinstance(argument, bool)
    if kind is Kind.LIST:
        return isinstance(argument, list)
    if kind is Kind.RECORD:
        return isinstance(argument, dict)
    return True
