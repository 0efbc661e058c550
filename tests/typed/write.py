"""Writes `schemas/record_parts.py` and `schemas/record_types.py` from the catalogue: `python -m tests.typed.write`."""

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from schemas import catalogue
from schemas.avro_types import Kind, Logical, Type

FOLDER = Path(__file__).parents[2] / "schemas"
_SCALARS = {Kind.BOOLEAN: "bool", Kind.INT: "int", Kind.LONG: "int", Kind.STRING: "str", Kind.BYTES: "bytes"}
_FORMATS = {"date": "date", "partial-date": "PartialDate"}

DATACLASS = "@dataclass(frozen=True, slots=True, kw_only=True, repr=False)\n"

PARTS_HEAD = '''"""The parts of records, and the symbols of their enumerations, as Python classes.

Refuses: nothing; `records` reads and refuses.
Keeps: it says what the schemas in `events/` say. `python -m tests.typed.write` writes it; change the schemas, not this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from schemas.record_base import Part, PartialDate
'''

TYPES_HEAD = '''"""The event types as Python classes, one each; every field may be WITHHELD, which is not None.

Refuses: nothing; `records` reads and refuses.
Keeps: it says what the schemas in `events/` say. `python -m tests.typed.write` writes it; change the schemas, not this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import ClassVar, Final

from schemas.delivery import Withheld
from schemas.names import EventType
from schemas.record_parts import (
{imports}
)
from schemas.record_base import Event, PartialDate
'''


def class_name(name: str) -> str:
    """`fr.unefois.bank_account.changed.v1` is BankAccountChanged; a second version would be BankAccountChangedV2."""
    told = name.removeprefix("fr.unefois.").removesuffix(".v1")
    return "".join(part[:1].upper() + part[1:] for part in told.replace(".", "_").split("_"))


def written(kind: Type) -> str:
    """A type as an annotation."""
    if kind.kind is Kind.UNION:
        return f"{written(kind.parts[kind.parts[0].kind is Kind.NULL])} | None"
    if kind.kind is Kind.ARRAY:
        return f"tuple[{written(kind.parts[0])}, ...]"
    if kind.kind is Kind.ENUM:
        return f"{class_name(kind.name)} | str"
    if kind.kind is Kind.RECORD:
        return class_name(kind.name)
    if kind.logical is not None:
        return {Logical.DECIMAL: "Decimal", Logical.DATE: "date"}[kind.logical]
    return _FORMATS.get(kind.properties.get("format", ""), _SCALARS[kind.kind])


def named(kind: Type, seen: dict[str, Type]) -> Iterator[Type]:
    """Every named type inside, each once, what it needs before it."""
    for each in kind.children():
        yield from named(each, seen)
    if kind.name and kind.name not in seen:
        seen[kind.name] = kind
        yield kind


def default(kind: Type) -> str:
    """What may be left out when a record is made."""
    return " = None" if kind.nullable else " = ()" if kind.kind is Kind.ARRAY else ""


def documented(kind: Type) -> str:
    """The schema's doc as a docstring."""
    lines = textwrap.wrap(kind.doc, 112)
    end = "" if len(lines) == 1 else "\n    "
    return '    """' + "\n    ".join(lines) + f'{end}"""\n\n'


def part(kind: Type) -> str:
    """One class."""
    doc = documented(kind)
    if kind.kind is Kind.ENUM:
        return f"class {class_name(kind.name)}(StrEnum):\n{doc}" + "".join(
            f'    {symbol.upper()} = "{symbol}"\n' for symbol in kind.symbols
        )
    lines = "".join(f"    {each.name}: {written(each.type)}{default(each.type)}\n" for each in kind.fields)
    return f"{DATACLASS}class {class_name(kind.name)}(Part):\n{doc}{lines}"


def or_withheld(kind: Type) -> str:
    """A field's annotation; None stands last."""
    told = written(kind)
    return f"{told.removesuffix(' | None')} | Withheld | None" if kind.nullable else f"{told} | Withheld"


def event(each: catalogue.EventSchema) -> str:
    """The class of one event type."""
    kind = each.schema.type
    lines = "".join(f"    {one.name}: {or_withheld(one.type)}{default(one.type)}\n" for one in kind.fields)
    return (
        f"{DATACLASS}class {class_name(kind.name)}(Event):\n{documented(kind)}"
        f'    event_type: ClassVar[EventType] = EventType("{each.event_type}")\n\n{lines}'
    )


def table(name: str, base: str, rows: dict[str, str]) -> str:
    """The last lines: Avro names and their classes."""
    inside = "".join(f'        "{avro_name}": {made},\n' for avro_name, made in rows.items())
    return f"{name}: Final[Mapping[str, {base}]] = MappingProxyType(\n    {{\n{inside}    }}\n)\n"


def modules() -> dict[str, str]:
    """File name -> content."""
    newest = list({each.event_type: each for each in catalogue.builtin()}.values())
    seen: dict[str, Type] = {}
    found = [kind for each in newest for kind in named(each.schema.type, seen)]
    events = {each.schema.name for each in newest}
    parts = [kind for kind in found if kind.name not in events]
    told = [event(each) for each in newest]
    words = set(re.findall(r"\w+", "".join(told)))
    used = sorted({class_name(kind.name) for kind in parts} & words)
    head = TYPES_HEAD.replace("{imports}", "\n".join(f"    {name}," for name in used))
    part_rows = {kind.name: class_name(kind.name) for kind in parts}
    type_rows = {each.schema.name: class_name(each.schema.name) for each in newest}
    return {
        "record_parts.py": _joined(
            PARTS_HEAD, *map(part, parts), table("PARTS", "type[Part] | type[StrEnum]", part_rows)
        ),
        "record_types.py": _joined(head, *told, table("TYPES", "type[Event]", type_rows)),
    }


def _joined(*pieces: str) -> str:
    return formatted("\n\n".join(pieces))


def formatted(text: str) -> str:
    """As `ruff format` has it, unused imports gone."""
    for words in (["check", "--fix", "--quiet", "--select", "F401,I001"], ["format", "--quiet"]):
        done = subprocess.run(
            [Path(sys.executable).parent / "ruff", *words, "--stdin-filename", FOLDER / "record_parts.py", "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            cwd=FOLDER.parent,
        )
        text = done.stdout
    return text


if __name__ == "__main__":
    for name, text in modules().items():
        (FOLDER / name).write_text(text, "utf-8")
