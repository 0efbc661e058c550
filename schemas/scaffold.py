"""Scaffold: everything that a new event type needs in a checkout, ready to be filled in: `unefois type new`.

Texts in, texts out: what the files of a checkout say now, and what they say with the new type.

Refuses: a type that is there already (`scaffold.exists`); files in which the places to touch are not found
(`scaffold.no-checkout`).
Keeps: what it writes is a whole and valid type at once, so the program goes on; each text that a person still has to
write is marked with FILL, and `tests/unit/schemas/test_types_whole.py` is red until none is left.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from schemas.catalogue import builtin
from schemas.errors import Refused
from schemas.names import EventType, event_name

FILL: Final = "TO FILL IN"
CATALOGUE: Final = "schemas/catalogue.py"
PINS: Final = "tests/unit/schemas/test_catalogue.py"
SAMPLES: Final = "schemas/samples.json"
SDK: Final = "connectors/sdk.py"
PAGE: Final = "docs/event-types.md"
TOUCHED: Final = (CATALOGUE, PINS, SAMPLES, SDK, PAGE)
"""The files that a new type changes; beside them it gets a schema and a mapping of its own."""

_SHARED: Final = "fr.unefois.address.changed.v1"
"""The type whose first version defines what all of them share."""
_EFFECTIVE: Final = {
    "name": "effective_date",
    "type": {"type": "string", "format": "date", "maxLength": 10},
    "doc": f"Day from which it counts. {FILL}.",
    "label": {"fr": "Date d'effet", "en": "Effective date"},
    "sensitivity": "low",
}


def scaffold(word: str, french: str, english: str, checkout: Mapping[str, str]) -> dict[str, str]:
    """The files to write, by their paths: `word` is `vehicle.sold`, the labels are its names for a citizen.

    `checkout` has the texts of TOUCHED. Raises Refused `name.event-type`, `scaffold.*`.
    """
    event_type = EventType(event_name(word))
    if any(each.event_type == event_type for each in builtin()):
        raise Refused("scaffold.exists", type=event_type)
    missing = [path for path in TOUCHED if path not in checkout]
    if missing:
        raise Refused("scaffold.no-checkout", file=missing[0])
    name = event_type.removeprefix("fr.unefois.").removesuffix(".v1")
    made = class_name(event_type)
    return {
        f"schemas/events/{event_type.removeprefix('fr.unefois.')}.avsc": _schema(event_type, french, english),
        f"connectors/mappings/{name.replace('.', '-')}-table.out.yaml": _mapping(event_type, name),
        CATALOGUE: _before(checkout, CATALOGUE, r'(_ORDER = \(\n(?:    "[^"]+",\n)*)(?=\))', f'    "{name}",\n'),
        PINS: _before(
            checkout, PINS, r'(SCHEMAS = \{\n(?:    "[^"]+": "[^"]+",\n)*)(?=\})', f'    "{event_type}": "{FILL}",\n'
        ),
        SAMPLES: _before(checkout, SAMPLES, r"(\n  \})(?=\n\}\n\Z)", _sample_of(event_type)),
        SDK: _listed(_listed(checkout[SDK], "    {},\n", made), '    "{}",\n', made),
        PAGE: _before(
            checkout, PAGE, r"(<!-- who hears -->\n\n(?:\|.*\n)+)", f"| `{name}` | {FILL} | {FILL} | {FILL} |\n"
        ),
    }


def class_name(event_type: str) -> str:
    """`fr.unefois.bank-account.changed.v1` is BankAccountChanged; a second version would be BankAccountChangedV2."""
    told = event_type.removeprefix("fr.unefois.").removesuffix(".v1")
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[._-]", told))


def _schema(event_type: EventType, french: str, english: str) -> str:
    shared = json.loads(builtin().versions(EventType(_SHARED))[0].schema.raw)
    top: dict[str, Any] = {"type": "record", "name": event_type.replace("-", "_")}
    if top["name"] != event_type:
        top["eventType"] = event_type
    top |= {
        "doc": f"{FILL}: what has happened, in one sentence.",
        "label": {"fr": french, "en": english},
        "format": "declaration",
        "fields": [*shared["fields"][:3], _EFFECTIVE],
    }
    return json.dumps(top, indent=2, ensure_ascii=False) + "\n"


def _sample() -> dict[str, Any]:
    return {
        "subject": {
            "family_name": "Kerouédan",
            "given_names": ["Maïwenn", "Anne"],
            "birthdate": "1988-03-14",
            "gender": "female",
            "birthplace": "29232",
            "birthcountry": "99100",
        },
        "declarant": None,
        "capacity": "self",
        "effective_date": "2026-12-01",
    }


def _sample_of(event_type: EventType) -> str:
    text = json.dumps({event_type: _sample()}, indent=2, ensure_ascii=False)
    return "," + text.removeprefix("{").removesuffix("\n}")


def _mapping(event_type: EventType, name: str) -> str:
    lines = [
        f"# {FILL}: for whose table this is.",
        "# Needs subject and effective_date.",
        f"name: {name.replace('.', '-')}-table",
        "version: 1",
        f"event_type: {event_type}",
        "direction: out",
        f"doc: {FILL}.",
        "",
        "fields:",
        "  reference_usager: delivery.pseudonym",
        "  nom: upper(record.subject.family_name)",
        "  prenoms: join(' ', record.subject.given_names)",
        "  date_naissance: record.subject.birthdate",
        "  date_effet: record.effective_date",
        "  livraison: delivery.id",
        "",
        "tests:",
        "  - name: the sample",
        "    given:",
        "      record:",
        *(f"        {key}: {json.dumps(told, ensure_ascii=False)}" for key, told in _sample().items()),
        "    expect:",
        "      reference_usager: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "      nom: KEROUÉDAN",
        "      prenoms: Maïwenn Anne",
        '      date_naissance: "1988-03-14"',
        '      date_effet: "2026-12-01"',
        "      livraison: 00000000-0000-8000-8000-000000000001",
        "",
        "  - name: a person who is not disclosed is no empty person",
        "    withheld: [subject]",
        "    given:",
        '      record: {effective_date: "2026-12-01"}',
        "    error: mapping.withheld",
    ]
    return "\n".join(lines) + "\n"


def _before(checkout: Mapping[str, str], path: str, place: str, line: str) -> str:
    """The file with one line more, behind the place that this pattern finds."""
    found = re.search(place, checkout[path])
    if found is None:
        raise Refused("scaffold.no-checkout", file=path)
    return checkout[path][: found.end()] + line + checkout[path][found.end() :]


def _listed(text: str, form: str, name: str) -> str:
    """One name more in the list whose lines have this form and which has `AddressChanged`, in its order."""
    before, after = form.split("{}")
    lines = text.splitlines(keepends=True)
    known = [number for number, line in enumerate(lines) if line == form.format("AddressChanged")]
    if not known:
        raise Refused("scaffold.no-checkout", file=SDK)
    at = known[0]
    while _is_later(lines[at], before, after, name):
        at += 1
    return "".join((*lines[:at], form.format(name), *lines[at:]))


def _is_later(line: str, before: str, after: str, name: str) -> bool:
    if not (line.startswith(before) and line.endswith(after)):
        return False
    other = line.removeprefix(before).removesuffix(after)
    return other[:1].isupper() and other < name


def unfilled(files: Iterable[tuple[str, str]]) -> list[str]:
    """Which of these files, given by path and text, still have something to fill in."""
    return [path for path, text in files if FILL in text]
