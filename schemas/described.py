"""Described: an event type as plain data, and as lines of text: every field by its path, with all that limits it.

Refuses: a name or a version that the catalogue does not have.
Keeps: what is told is what `avro_check` and `values` hold a record to: types and symbols are read from the schema,
    limits from its properties or their defaults, patterns from `formats`. A path is the JSON pointer that a fault would
    name, with `*` for the number of an item.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from schemas.avro_types import Kind, Properties, Type
from schemas.catalogue import Catalogue, EventSchema
from schemas.errors import Refused
from schemas.formats import PATTERNS, REFUSALS
from schemas.messages import Language, table
from schemas.names import EventType, event_name
from schemas.values import MAX_ITEMS, MAX_LENGTH, PAST

Json = dict[str, Any]

_INT: Final = 1 << 31
_AGREEMENTS: Final = ("equals", "counts", "differs", "sector_of", "only_with", "streetless_with")
"""How a field agrees with another place of the record, by the names that are told."""


def find(catalogue: Catalogue, word: str) -> EventSchema:
    """The schema that a word names: `address.changed` or the full name, the newest; with `/1` the type's first.

    Raises Refused `name.event-type`, `catalogue.unknown-type`, `catalogue.unknown-version`.
    """
    name, slash, version = word.partition("/")
    newest = catalogue.by_type(EventType(event_name(name)))
    if not slash:
        return newest
    known = catalogue.versions(newest.event_type)
    number = int(version) if version.isascii() and version.isdigit() and len(version) <= 10 else 0
    if not 0 < number <= len(known):
        raise Refused("catalogue.unknown-version", type=newest.event_type, count=len(known))
    return known[number - 1]


def describe(catalogue: Catalogue, event: EventSchema) -> Json:
    """An event type with every field, nested ones within `fields`. What does not apply is null, not absent.

    A field has `path`, `name`, `label`, `doc`, `iri`, `sensitivity` (of a whole field of the declaration, which is what
    a citizen allows), `optional`, `equals`, `counts`, `differs` and `sector_of` (the path that it has to agree with),
    `only_with` and `streetless_with` (a path and its symbols, `/new_housing=boat`), `past` (may not lie ahead), and
    what every type has: `type`, `format`, `pattern`, `min_length`, `max_length`, `minimum`, `maximum`,
    `precision`, `scale`, `min_items`, `max_items`, `symbols`, `items`, `fields`.
    """
    known = catalogue.versions(event.event_type)
    properties = {each.name: each for each in event.fields}
    return {
        "event_type": event.event_type,
        "version": known.index(event) + 1,
        "versions": len(known),
        "schema": event.schema.id.hex(),
        "label": dict(event.label),
        "doc": event.doc,
        "uses_territories": event.uses_territories,
        "fields": [
            _field(each.name, each.type, each.properties, "") | {"sensitivity": properties[each.name].sensitivity.value}
            for each in event.schema.fields
        ],
    }


def _field(name: str, kind: Type, properties: Properties, above: str) -> Json:
    path = f"{above}/{name}"
    return {
        "path": path,
        "name": name,
        "label": dict(properties["label"]),
        "doc": properties["doc"],
        "iri": properties.get("iri"),
        "sensitivity": None,
        "optional": kind.nullable,
        "equals": properties.get("equals"),
        "counts": properties.get("counts"),
        "differs": properties.get("differs"),
        "sector_of": properties.get("sectorOf"),
        "only_with": properties.get("onlyWith"),
        "streetless_with": properties.get("streetlessWith"),
        "past": name in PAST,  # only texts have these names
        **_type(kind, path),
    }


def _type(kind: Type, path: str) -> Json:
    if kind.kind is Kind.UNION:
        kind = next(part for part in kind.parts if part.kind is not Kind.NULL)  # the catalogue has no other unions
    told = kind.properties
    text, number, items = kind.kind is Kind.STRING, kind.kind is Kind.INT, kind.kind is Kind.ARRAY
    named = told.get("format", "text") if text else told.get("format")
    labels = told.get("labels", {})
    weighed = text or (kind.kind is Kind.BYTES and kind.logical is None)
    return {
        "type": kind.logical.value if kind.logical is not None else kind.kind.value,
        "format": named,
        "pattern": PATTERNS.get(str(named)),
        "min_length": 1 if text else None,
        "max_length": told.get("maxLength", MAX_LENGTH) if weighed else None,
        "minimum": told.get("minimum", -_INT) if number else None,
        "maximum": told.get("maximum", _INT - 1) if number else None,
        "precision": kind.precision or None,
        "scale": kind.scale if kind.precision else None,
        "min_items": told.get("minItems", 0) if items else None,
        "max_items": told.get("maxItems", MAX_ITEMS) if items else None,
        "symbols": [{"symbol": each, "label": dict(labels[each])} for each in kind.symbols] or None,
        "items": _type(kind.parts[0], f"{path}/*") if items else None,
        "fields": [_field(each.name, each.type, each.properties, path) for each in kind.fields] or None,
    }


def lines(told: Json, language: Language) -> Iterator[str]:
    """What `describe` gave, for a person: a head, a line for each field, and what each format asks for."""
    say = _WORDS[language]
    head = [
        (say["type"], told["event_type"]),
        (say["name"], told["label"][language]),
        (say["meaning"], told["doc"]),
        (say["version"], f"{told['version']}/{told['versions']}"),
        (say["schema"], told["schema"]),
        *([(say["territories"], say["places"])] if told["uses_territories"] else []),
    ]
    yield from _aligned(head)
    yield ""
    columns = (say["field"], say["type"], say["optional"], say["sensitivity"], say["name"])
    yield from _aligned([columns, *(each for field in told["fields"] for each in _rows(field, language, ""))])
    formats = dict.fromkeys(each for field in told["fields"] for each in _formats(field))
    if formats:
        yield ""
        rules = [(name, PATTERNS.get(name, ""), table()[REFUSALS[name]][f"do_{language}"]) for name in formats]
        yield from _aligned([(say["format"], say["pattern"], say["rule"]), *rules])


def _rows(field: Json, language: Language, indent: str) -> Iterator[tuple[str, ...]]:
    """A field, its symbols and its fields, each further in than what it belongs to."""
    say = _WORDS[language]
    what = say_type(field, language)
    for name in _AGREEMENTS:
        what += f", {say[name]} {field[name]}" if field[name] else ""
    what += f", {say['past']}" if field["past"] else ""
    absent = say["yes"] if field["optional"] else ""
    yield f"{indent}{field['path']}", what, absent, field["sensitivity"] or "", field["label"][language]
    for kind in _within(field):
        for each in kind["symbols"] or ():
            yield "", f"  {each['symbol']}", "", "", f"  {each['label'][language]}"
        for each in kind["fields"] or ():
            yield from _rows(each, language, f"{indent}  ")


def say_type(kind: Json, language: Language) -> str:
    """A type of `describe` and its limits in words: `text (date), 1 to 10 characters`."""
    say = _WORDS[language]
    if kind["items"] is not None:
        return say["array"].format(say_type(kind["items"], language), **kind)
    if kind["symbols"] is not None:
        return say["enum"].format(len(kind["symbols"]))
    word = say.get(kind["type"], kind["type"])
    if kind["format"] not in (None, "text") and kind["fields"] is None:
        word += f" ({kind['format']})"
    limits = {"precision": "digits", "minimum": "range", "max_length": "length" if kind["min_length"] else "size"}
    limit = next((of for name, of in limits.items() if kind[name] is not None), None)
    return word if limit is None else f"{word}, {say[limit].format(**kind)}"


def _within(field: Json) -> Iterator[Json]:
    """A field's type, and what its items are."""
    kind: Json | None = field
    while kind is not None:
        yield kind
        kind = kind["items"]


def _formats(field: Json) -> Iterator[str]:
    for kind in _within(field):
        if kind["format"] in REFUSALS:
            yield kind["format"]
        for each in kind["fields"] or ():
            yield from _formats(each)


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Columns below one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


_WORDS: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "type": "type",
        "name": "name",
        "meaning": "meaning",
        "version": "version",
        "schema": "schema",
        "territories": "territories",
        "places": "yes, communes in clear",
        "field": "field",
        "optional": "optional",
        "sensitivity": "sensitivity",
        "yes": "yes",
        "format": "format",
        "pattern": "pattern",
        "rule": "rule",
        "equals": "equal to",
        "counts": "the number of",
        "differs": "not equal to",
        "sector_of": "the military sector of",
        "only_with": "only with",
        "streetless_with": "no street with",
        "past": "not in the future",
        "array": "list of {min_items} to {max_items}: {0}",
        "enum": "one of {0} words",
        "digits": "{precision} digits, {scale} of them after the point",
        "range": "{minimum} to {maximum}",
        "length": "{min_length} to {max_length} characters",
        "size": "at most {max_length} bytes",
        "string": "text",
        "int": "whole number",
        "long": "whole number",
        "boolean": "true or false",
        "decimal": "decimal number",
    },
    "fr": {
        "type": "type",
        "name": "nom",
        "meaning": "sens",
        "version": "version",
        "schema": "schéma",
        "territories": "territoires",
        "places": "oui, communes en clair",
        "field": "champ",
        "optional": "facultatif",
        "sensitivity": "sensibilité",
        "yes": "oui",
        "format": "format",
        "pattern": "motif",
        "rule": "règle",
        "equals": "égal à",
        "counts": "le nombre de",
        "differs": "différent de",
        "sector_of": "le secteur militaire de",
        "only_with": "seulement avec",
        "streetless_with": "sans voie avec",
        "past": "pas dans le futur",
        "array": "liste de {min_items} à {max_items} : {0}",
        "enum": "un mot parmi {0}",
        "digits": "{precision} chiffres, dont {scale} après la virgule",
        "range": "{minimum} à {maximum}",
        "length": "{min_length} à {max_length} caractères",
        "size": "{max_length} octets au plus",
        "string": "texte",
        "int": "nombre entier",
        "long": "nombre entier",
        "boolean": "vrai ou faux",
        "decimal": "nombre décimal",
        "record": "enregistrement",
    },
}
