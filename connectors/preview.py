"""Preview: what a mapping takes and on which ground, what it makes of a sample, and how its own tests ended.

    target ◄── field ◄── ground          each field that an expression may read; the text that grants it, or none

Refuses: nothing of its own. What is read and not granted is among the problems, as `mapping_check` has it.
Keeps: plain data, for a person's lines and for a program's JSON. It shows values: those of a sample or of a file's own
       tests, which are invented, or the agency's own, on its own screen. No log has them.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from connectors import mapping_check
from connectors.mapping import Direction, expressions
from connectors.mapping import Mapping as MappingFile
from connectors.text import encodable
from schemas.catalogue import EventSchema
from schemas.delivery import WITHHELD
from schemas.errors import Fault, Refused
from schemas.messages import Language, explain, table
from schemas.samples import sample

Grounds = Mapping[str, str]
"""Each granted field with the text that grants it; "" where nobody says which."""


def problem(fault: Fault, language: Language) -> dict[str, str]:
    """A fault with its sentences; a foreign connector's own code has none."""
    said = explain(fault, language) if fault.code in table() else None
    wrong, remedy = ("", "") if said is None else (said.wrong, said.remedy)
    return {"code": fault.code, "pointer": fault.pointer, "message": wrong, "remedy": remedy}


def problem_lines(found: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """The same, for a person."""
    for one in found:
        yield f"✗ {one['code']}  {one['pointer']}"
        yield f"    {one['message']} {one['remedy']}"


def tested(
    mapping: MappingFile, event: EventSchema, granted: Collection[str] | None, language: Language
) -> dict[str, Any]:
    """How a file's own tests ended, which targets none of them shows with a value, and what is wrong with the file."""
    problems = [*mapping_check.check_event(mapping, event)]
    if granted is not None:
        problems += mapping_check.check_fields(mapping, granted)
    outcomes = mapping_check.run_tests(mapping, event)
    return {
        "mapping": mapping.name,
        "event_type": mapping.event_type,
        "direction": mapping.direction.value,
        "tests": [{"name": one.name, "passed": one.passed, "differences": list(one.differences)} for one in outcomes],
        "untested": list(mapping_check.untested(mapping)),
        "problems": [problem(each, language) for each in problems],
        "unread": sorted(mapping_check.unread(mapping, granted)) if granted is not None else [],
    }


def tested_lines(told: Mapping[str, Any], language: Language) -> Iterator[str]:
    """What `tested` found, for a person."""
    french = language == "fr"
    for one in told["tests"]:
        yield f"{'✓' if one['passed'] else '✗'} {one['name']}"
        yield from (f"    {difference}" for difference in one["differences"])
    yield from problem_lines(told["problems"])
    if told["unread"]:
        yield ("Accordés, jamais lus : " if french else "Granted, never read: ") + ", ".join(told["unread"])
    if not told["tests"]:
        yield "Ce fichier n'a pas de tests." if french else "This file has no tests."
    elif told["untested"]:
        words = "Sans valeur dans aucun test : " if french else "With a value in no test: "
        yield words + ", ".join(told["untested"])


def failed(told: Mapping[str, Any]) -> bool:
    """Whether anything in what `tested` or `seen` found is wrong."""
    return bool(told["problems"]) or not all(one["passed"] for one in told.get("tests", ()))


def seen(
    mapping: MappingFile,
    event: EventSchema,
    grounds: Grounds | None,
    language: Language,
    *,
    given: object = None,
    encoding: str | None = None,
    widths: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """What the mapping reads, on which ground, and what it makes of `given`: by default of the catalogue's sample.

    A field that is not granted is withheld in it, as it would be. `flags`: the cells with characters that `encoding`
    lacks (`lost`), or that are longer than their width (`over`), with how many characters.
    """
    problems: list[Fault] = [*mapping_check.check_event(mapping, event)]
    if grounds is not None and mapping.direction is Direction.OUT:
        problems += mapping_check.check_fields(mapping, grounds)
        problems += mapping_check.check_grounds(mapping, grounds)
    rows: tuple[dict[str, object], ...] = ()
    if not problems and (given is not None or mapping.direction is Direction.OUT):
        try:
            rows = mapping.apply_all(_given(mapping, event, grounds, given))
        except Refused as fault:
            problems.append(fault)
    flags = list(_flags(rows, encoding, widths or {}))
    return {
        "mapping": mapping.name,
        "event_type": mapping.event_type,
        "direction": mapping.direction.value,
        "targets": [_target(place, read, grounds) for place, read in _reads(mapping)],
        "unused": sorted(mapping_check.unread(mapping, grounds)) if grounds is not None else [],
        "rows": [dict(row) for row in rows],
        "flags": flags,
        "lost": sum(1 for one in flags if one["lost"]),
        "cut": sum(1 for one in flags if one["over"]),
        "problems": [problem(each, language) for each in problems],
    }


def grounds_of(words: Iterable[str]) -> dict[str, str]:
    """`FIELD` or `FIELD=TEXT` of a command line, as grounds."""
    return {name: text for name, _, text in (word.partition("=") for word in words)}


def options_of(encoding: str | None, widths: Iterable[str]) -> dict[str, Any]:
    """`encoding` and `widths` for `seen`, out of a command line. Raises ValueError with what is not understood."""
    try:
        "".encode(encoding or "utf-8")
    except LookupError:
        raise ValueError(f"--encoding: {encoding}"[:80]) from None
    pairs = [word.rpartition("=") for word in widths]
    for column, _, width in pairs:
        if not column or re.fullmatch("[0-9]{1,4}", width) is None:
            raise ValueError(f"COLUMN=N: {column}={width}"[:80])
    return {"encoding": encoding, "widths": {column: int(width) for column, _, width in pairs}}


def _reads(mapping: MappingFile) -> Iterator[tuple[str, tuple[frozenset[str], frozenset[str]]]]:
    for pointer, expression in expressions(mapping):
        yield pointer.removeprefix("/fields/"), (expression.reads, expression.needs)


def _target(place: str, read: tuple[frozenset[str], frozenset[str]], grounds: Grounds | None) -> dict[str, Any]:
    reads, needs = read
    fields = [
        {
            "field": name,
            "needed": name in needs,
            "granted": None if grounds is None else name in grounds,
            "ground": None if grounds is None else grounds.get(name),
        }
        for name in sorted(reads)
    ]
    return {"target": place, "reads": fields}


def _given(mapping: MappingFile, event: EventSchema, grounds: Grounds | None, given: object) -> object:
    if mapping.direction is Direction.IN:
        return given
    told = given if given is not None else sample(event.event_type)
    record = told.get("record", told) if isinstance(told, dict) else told
    if not isinstance(record, dict):
        raise Refused("mapping.given")
    absent = {each.name: None for each in event.fields if each.nullable and each.name not in record}
    withheld = {} if grounds is None else {each.name: WITHHELD for each in event.fields if each.name not in grounds}
    return mapping_check.invented(mapping, {**absent, **record, **withheld})


def _flags(
    rows: Iterable[Mapping[str, object]], encoding: str | None, widths: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows):
        for target, cell in row.items():
            text = cell if isinstance(cell, str) else ""
            lost = 0 if encoding is None else sum(not encodable(character, encoding) for character in text)
            over = max(0, len(text) - widths.get(target, len(text)))
            if lost or over:
                yield {"row": number, "target": target, "lost": lost, "over": over}


def seen_lines(told: Mapping[str, Any], language: Language) -> Iterator[str]:
    """What `seen` found, for a person."""
    french = language == "fr"
    width = max((len(one["target"]) for one in told["targets"]), default=0)
    for one in told["targets"]:
        reads = "; ".join(_read_line(read, french) for read in one["reads"])
        yield f"{one['target']:<{width}}  ← {reads}" if reads else one["target"]
    if told["unused"]:
        yield ("Accordés, jamais lus : " if french else "Granted, never read: ") + ", ".join(told["unused"])
    for number, row in enumerate(told["rows"], start=1):
        yield f"{'ligne' if french else 'row'} {number}"
        for target, cell in row.items():
            flags = [one for one in told["flags"] if (one["row"], one["target"]) == (number - 1, target)]
            yield f"  {target:<{width}}  {'-' if cell is None else cell}" + "".join(_flag(one, french) for one in flags)
    if told["flags"]:
        lost, cut = ("lettres perdues : ", "trop longues : ") if french else ("letters lost: ", "too long: ")
        yield f"{'cellules, ' if french else 'cells, '}{lost}{told['lost']}, {cut}{told['cut']}"
    yield from problem_lines(told["problems"])


def _read_line(read: Mapping[str, Any], french: bool) -> str:
    if read["granted"] is None:
        return str(read["field"])
    if not read["granted"]:
        return f"{read['field']} ← {'non accordé' if french else 'not granted'}"
    return f"{read['field']} ← {read['ground'] or ('accordé' if french else 'granted')}"


def _flag(one: Mapping[str, Any], french: bool) -> str:
    lost = f"  ⚠ {one['lost']} {'lettre(s) perdue(s)' if french else 'letter(s) lost'}" if one["lost"] else ""
    over = f"  ⚠ {one['over']} {'caractère(s) de trop' if french else 'character(s) too many'}" if one["over"] else ""
    return lost + over
