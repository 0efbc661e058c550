"""Mapping drafts: from a sample of an agency's own file, a mapping file to go on from.

    sample (CSV with a header, or JSON) ──► columns ──► targets recognised by their names, the others as comments

Refuses: a sample without columns. It guesses by the names of columns and by the form of dates, and leaves the rest to a
         person, with candidates.
Keeps: the draft loads. No value of the sample stands in it: the test of an outbound draft is of the catalogue's
       invented person. A whole name in one column is never split; a date that reads in two ways is not guessed.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import yaml

from connectors import strict_yaml
from connectors.dates import LAYOUTS, date_from
from connectors.mapping import fields_read, load
from connectors.mapping_check import invented
from schemas.catalogue import EventSchema
from schemas.errors import Refused
from schemas.places import plain
from schemas.samples import as_json, sample

MAX_COLUMNS = 200
"""Most columns of a sample."""
_LOOKED_AT = 200
"""Rows in which the form of dates is looked at."""


@dataclass(frozen=True, slots=True)
class _Thing:
    """What a column may hold: its names, its place in the record, how it is read out of it and made for it."""

    names: tuple[str, ...]
    path: str
    out: str = "{path}"
    back: str = "{given}"


_SUBJECT = "subject."
_THINGS: Final = (
    _Thing(("NOM", "NOM NAISSANCE", "NOM DE NAISSANCE", "NOM FAMILLE", "NOM DE FAMILLE", "LAST NAME", "FAMILY NAME"),
           _SUBJECT + "family_name"),
    _Thing(("PRENOM", "PRENOMS", "FIRST NAME", "GIVEN NAMES"), _SUBJECT + "given_names", "join(' ', {path})",
           "words({given})"),
    _Thing(("NOM USAGE", "NOM D USAGE", "USUAL NAME"), "usual_name"),
    _Thing(("DATE NAISSANCE", "DATE DE NAISSANCE", "NAISSANCE", "NE LE", "DDN", "BIRTHDATE", "DATE OF BIRTH"),
           _SUBJECT + "birthdate"),
    _Thing(("SEXE", "SEX", "GENRE", "GENDER"), _SUBJECT + "gender", "code('sexe', {path})",
           "code_back('sexe', {given})"),
    _Thing(("COMMUNE NAISSANCE", "COMMUNE DE NAISSANCE", "INSEE NAISSANCE", "BIRTHPLACE"), _SUBJECT + "birthplace"),
    _Thing(("PAYS NAISSANCE", "PAYS DE NAISSANCE", "BIRTHCOUNTRY"), _SUBJECT + "birthcountry"),
    _Thing(("DATE EFFET", "DATE D EFFET", "DATE DEMENAGEMENT", "EFFECTIVE DATE"), "effective_date"),
    _Thing(("NUMERO VOIE", "NUM VOIE", "HOUSENUMBER"), "@.housenumber"),
    _Thing(("VOIE", "RUE", "LIBELLE VOIE", "NOM VOIE", "STREET"), "@.street"),
    _Thing(("LIEU DIT", "LIEUDIT", "LOCALITY"), "@.locality"),
    _Thing(("CODE POSTAL", "CP", "POSTCODE"), "@.postcode"),
    _Thing(("VILLE", "COMMUNE", "LOCALITE", "CITY"), "@.city"),
    _Thing(("CODE INSEE", "INSEE", "CODE COMMUNE", "COG"), "@.commune"),
    _Thing(("TELEPHONE", "TEL", "PHONE"), "phone"),
    _Thing(("COURRIEL", "EMAIL", "E MAIL", "MEL"), "email"),
    _Thing(("OCCUPANTS", "NB OCCUPANTS", "NOMBRE OCCUPANTS", "NB PERSONNES"), "occupants"),
)  # fmt: skip
_WHOLE_NAMES: Final = ("NOM PRENOM", "NOM PRENOMS", "PRENOM NOM", "NOM COMPLET", "IDENTITE", "FULL NAME", "NAME")
_LINE: Final = re.compile(r"(?:LIGNE|L|ADRESSE|ADR|LIGNE ADRESSE|ADDRESS) ?([1-7])")
_FACTS: Final = {
    "REFERENCE": "pseudonym",
    "REF USAGER": "pseudonym",
    "LIVRAISON": "id",
    "DECLARATION": "declaration_id",
}
_DATES: Final = tuple(layout for layout in LAYOUTS if "dd" in layout)


def columns(raw: bytes) -> dict[str, list[str]]:
    """The columns of a sample with the texts of their first rows. JSON: an object, or a list of them; inner objects'
    members are `outer.inner`. Raises Refused("mapping.sample"), `yaml.too-large`.
    """
    if len(raw) > strict_yaml.MAX_BYTES:
        raise Refused("yaml.too-large", bytes=len(raw), limit=strict_yaml.MAX_BYTES)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")  # the names of columns; no value is kept
    found: dict[str, list[str]] = {}
    for row in _rows(text):
        for name, value in row:
            found.setdefault(name, []).append(value)
    names = [name for name in found if name and name.isprintable() and len(name) <= 63]
    if not 0 < len(found) <= MAX_COLUMNS or len(names) != len(found):
        raise Refused("mapping.sample", limit=MAX_COLUMNS)
    return found


def _rows(text: str) -> Iterator[list[tuple[str, str]]]:
    if text.lstrip()[:1] in {"{", "["}:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        items = document if isinstance(document, list) else [document]
        for item in items[:_LOOKED_AT]:
            yield list(_members(item, "", 0))
        return
    first = text.split("\n", 1)[0]
    delimiter = max((";", ",", "\t", "|"), key=first.count)
    try:
        header, *rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)) or [[]]
    except csv.Error:
        header, rows = [], []
    if len(set(header)) != len(header):
        raise Refused("mapping.sample", limit=MAX_COLUMNS)
    yield [(name.strip(), "") for name in header]
    for row in rows[:_LOOKED_AT]:
        yield [(name.strip(), cell) for name, cell in zip(header, row, strict=False)]


def _members(item: object, above: str, depth: int) -> Iterator[tuple[str, str]]:
    if not isinstance(item, dict) or depth > 5:
        return
    for name, value in item.items():
        if isinstance(value, dict):
            yield from _members(value, f"{above}{name}.", depth + 1)
        else:
            yield f"{above}{name}", value if isinstance(value, str) else ""


def drafted(name: str, raw: bytes, event: EventSchema, *, inbound: bool) -> str:
    """The text of a mapping file. Raises what `columns` raises."""
    found, made = columns(raw), _Draft(event, inbound)
    for column, values in found.items():
        made.add(column, [value for value in values if value])
    text = made.text(name)
    load(text.encode())
    return text


class _Draft:
    """One draft while its columns are looked at."""

    def __init__(self, event: EventSchema, inbound: bool) -> None:
        self._event, self._inbound = event, inbound
        names = set(event.names)
        self._address = next((each for each in ("new_address", "address") if each in names), None)
        self._fields: dict[str, Any] = {}
        self._open: list[str] = []
        self._gendered: list[str] = []

    def add(self, column: str, values: list[str]) -> None:
        """Guess it, or leave it open."""
        word = plain(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column.rpartition(".")[2]))
        made = None if word in _WHOLE_NAMES else self._guess(column, word, values)
        if made is None:
            self._open.append(self._comment(column, word))
        elif not self._inbound:
            self._fields[column] = made[1]
        else:
            place = self._fields
            *outer, last = made[0].split(".")
            for each in outer:
                place = place.setdefault(each, {})
            if last in place:
                self._open.append(self._comment(column, word))
            place.setdefault(last, made[1])

    def _guess(self, column: str, word: str, values: list[str]) -> tuple[str, str] | None:
        """The path in the record, and the expression."""
        if not self._inbound and word in _FACTS:
            return "", f"delivery.{_FACTS[word]}"
        line = _LINE.fullmatch(word)
        if line is not None and self._address and not self._inbound:
            who = ", addressee(record.subject.given_names, record.subject.family_name)"
            who = who if line[1] == "1" and "subject" in self._event.names else ""
            return "", f"postal_columns(record.{self._address}{who}).l{line[1]}"
        thing = next((one for one in _THINGS if word in one.names and self._has(one.path)), None)
        if thing is None:
            return None
        path = thing.path.replace("@", self._address or "")
        given = "given." + ".".join(json.dumps(part) for part in column.split("."))
        if "date" in path:
            layout = _layout(values)
            if layout is None:
                return None
            dates = {"": ("{path}", "{given}")}
            out, back = dates.get(layout, (f"date_zeros({{path}}, '{layout}')", f"date_from({{given}}, '{layout}')"))
        else:
            out, back = thing.out, thing.back
        if "'sexe'" in out:
            if set(values) - {"F", "M"}:
                return None
            self._gendered.append(column)
        return path, (back.format(given=given) if self._inbound else out.format(path=f"record.{path}"))

    def _has(self, path: str) -> bool:
        top = path.partition(".")[0]
        return self._address is not None if top == "@" else top in self._event.names

    def _comment(self, column: str, word: str) -> str:
        if word in _WHOLE_NAMES and self._inbound:
            return f"{column}: a whole name is not split; the family name needs a column of its own"
        if word in _WHOLE_NAMES and "subject" in self._event.names:
            return f"{column}: full_name(record.subject.given_names, record.subject.family_name) for the subject"
        near = self._near(word)
        return f"{column}: ?" + (f"   candidates: {', '.join(near)}" if near else "")

    def _near(self, word: str) -> list[str]:
        known = {plain(text): each.name for each in self._event.fields for text in (each.name, *each.label.values())}
        known |= {name: thing.path.replace("@", self._address or "") for thing in _THINGS for name in thing.names
                  if self._has(thing.path)}  # fmt: skip
        return list(dict.fromkeys(known[one] for one in get_close_matches(word, known, 3, 0.5)))

    def text(self, name: str) -> str:
        """The file."""
        missing = [each.name for each in self._event.fields if not each.nullable and each.name not in self._fields]
        if not self._fields:
            self._fields = {"subject": "given.subject"} if self._inbound else {"LIVRAISON": "delivery.id"}
            self._open.insert(0, "no column was recognised; this one only keeps the file whole")
        head: dict[str, Any] = {
            "name": name,
            "version": 1,
            "event_type": str(self._event.event_type),
            "direction": "in" if self._inbound else "out",
        }
        if self._gendered:
            head["codes"] = {"sexe": {"female": "F", "male": "M"} | ({} if self._inbound else {"unspecified": ""})}
        whole = _dump(head) + "\n" + _dump({"fields": self._fields})
        if self._open:
            whole += "  # Left to you:\n" + "".join(f"  #   {line}\n" for line in self._open)
        if self._inbound and missing:
            whole += "  # The event type demands as well: " + ", ".join(missing) + "\n"
        return whole + "\n" + self._test(whole)

    def _test(self, whole: str) -> str:
        if self._inbound:
            return "# Invented people only; `unefois mapping test` runs them.\ntests: []\n"
        mapping = load(whole.encode())
        record = sample(self._event.event_type)
        told = {name: record[name] for name in self._event.names if name in fields_read(mapping)}
        given = as_json({name: told.get(name) for name in fields_read(mapping)}, nulls=True)
        try:
            expect: Mapping[str, Any] = {"expect": dict(mapping.apply(invented(mapping, given)))}
        except Refused as fault:
            expect = {"error": fault.code}
        return _dump({"tests": [{"name": "the catalogue's sample", "given": {"record": given}, **expect}]})


def _layout(values: list[str]) -> str | None:
    """The one layout in which all values are dates; "" for ISO dates, or where there is no value; None for several."""
    if not values or all(re.fullmatch(r"[0-9]{4}(-[0-9]{2}){0,2}", value) for value in values):
        return ""
    fitting = [layout for layout in _DATES if all(_reads(value, layout) for value in values)]
    return fitting[0] if len(fitting) == 1 else None


def _reads(value: str, layout: str) -> bool:
    try:
        date_from(value, layout)
    except Refused:
        return False
    return True


def _dump(document: Mapping[str, Any]) -> str:
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=110, default_flow_style=False)
