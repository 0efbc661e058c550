"""Trying connectors, for `unefois connector` and `unefois-agency connector`: what there is, what is wrong, the kit.

Refuses: a kind that is not installed, a file in which no route stands.
Keeps: plain data, for a person's lines and for a program's JSON; a check changes nothing, a test stays in a folder that
goes afterwards.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from connectors import description, registry, strict_yaml
from connectors.contract import Connector, Ground, checked
from connectors.description import Case, Description, Words, described
from connectors.driving import BACKOFF, now
from connectors.guarding import Limits
from connectors.kit import cases
from connectors.kit.rig import rig
from connectors.mapping_check import check_rows
from connectors.mapping_files import find
from connectors.preview import problem
from schemas.errors import Fault, Refused
from schemas.messages import Language

UNSAID: Final[Words] = {"en": "It says nothing of itself.", "fr": "Il ne dit rien de lui-même."}
_MARKS: Final = {"passed": "✓", "failed": "✗", "spared": "–"}
_GROUND: Final = Ground(now, BACKOFF.entropy)


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found of one route of a file, or of its notifier."""

    place: str
    kind: str
    faults: tuple[Fault, ...]
    weaker: Words | None = None
    """What holds under these settings in place of the connector's guarantee."""


@dataclass(frozen=True, slots=True)
class Tried:
    """How one case of the kit ended: `passed`, `failed` with what went wrong, `spared` with the reason."""

    case: Case
    state: str
    why: Words


def about(kind: str) -> dict[str, Any]:
    """What a connector says of itself, with the JSON Schema of its settings. Raises Refused `connector.*`."""
    made = registry.kind(kind)
    said = described(made)
    does = "writes" if issubclass(made, Connector) else "tells"
    return {"kind": kind, "does": does, **(_nothing_said() if said is None else _said(said))}


def _said(said: Description) -> dict[str, Any]:
    return {
        "guarantee": dict(said.guarantee),
        "weaker": {} if said.weaker is None else dict(said.weaker.words),
        "other_side": dict(said.other_side),
        "at_once": said.at_once,
        "spared": {case.value: dict(words) for case, words in said.spared.items()},
        "settings": said.schema,
    }


def _nothing_said() -> dict[str, Any]:
    return {
        "guarantee": dict(UNSAID),
        "weaker": {},
        "other_side": dict(UNSAID),
        "at_once": 1,
        "spared": {},
        "settings": {},
    }


def checked_file(path: Path) -> tuple[Checked, ...]:
    """Each route of a file (`routes`: mapping, connector, settings, limits) and its notifier (`notify`), tried without
    an effect. What else stands in the file is not looked at. Raises Refused `connector.no-route`, `yaml.*`.
    """
    try:
        raw = path.read_bytes()
    except OSError:
        raise Refused("connector.no-route", file=path.name) from None
    document = strict_yaml.read(raw)
    routes = document.get("routes", []) if isinstance(document, Mapping) else []
    notify = document.get("notify") if isinstance(document, Mapping) else None
    if not isinstance(routes, list) or not (routes or notify):
        raise Refused("connector.no-route", file=path.name)
    found = [_checked(f"/routes/{number}", route, "connector", path.parent) for number, route in enumerate(routes)]
    return (*found, *([_checked("/notify", notify, "kind", path.parent)] if notify else []))


def _checked(place: str, route: object, word: str, beside: Path) -> Checked:
    told = route if isinstance(route, Mapping) else {}
    kind = str(told.get(word, ""))
    try:
        made = registry.kind(kind)
        mapping = find(str(told.get("mapping", "")), beside) if word == "connector" else None
        if mapping is not None:
            check_rows(mapping, made, "/connector")
        targets = () if mapping is None else mapping.targets
        settings = told.get("settings") or {}
        about = described(made)
        weaker = None if about is None else about.weakened(settings)
        faults: tuple[Fault, ...] = asyncio.run(description.check(made, settings, targets, _GROUND))
        faults = tuple(fault.under(f"{place}/settings") for fault in faults)
    except Refused as fault:
        weaker = None
        faults = (fault.under(place) if not fault.pointer.startswith(place) else fault,)
    try:
        checked(Limits, told.get("limits") or {})
    except Refused as fault:
        faults = (*faults, fault.under(f"{place}/limits"))
    return Checked(place, kind, faults, weaker)


def tried(kind: str) -> Iterator[Tried]:
    """The kit on this kind, case by case. Raises Refused where it has no rig."""
    made = rig(kind)
    silent, spared = cases.undeclared(made), cases.spared(made)
    for case in Case:
        if case in silent:
            told = "The rig does not play this case, and nothing says why."
            yield Tried(case, "failed", {"en": told, "fr": "Le banc ne joue pas ce cas, et rien ne dit pourquoi."})
        elif case in spared:
            yield Tried(case, "spared", spared[case])
        else:
            yield _played(case, made)


def _played(case: Case, made: type[Any]) -> Tried:
    with TemporaryDirectory(prefix="unefois-kit-") as place:
        try:
            cases.play(case, made, Path(place))
        except Exception as wrong:  # whatever a connector of somebody else's raises
            return Tried(case, "failed", dict.fromkeys(("en", "fr"), f"{type(wrong).__name__}: {wrong}"))
    return Tried(case, "passed", {})


def lines(told: Mapping[str, Any], language: Language) -> Iterator[str]:
    """What `about` says, for a person."""
    french = language == "fr"
    yield told["guarantee"][language]
    if told["weaker"]:
        yield ("Selon vos réglages : " if french else "By your settings: ") + told["weaker"][language]
    yield ("De l'autre côté : " if french else "The other side: ") + told["other_side"][language]
    yield ("Appels à la fois : " if french else "Calls at once: ") + str(told["at_once"])
    for setting, schema in told["settings"].get("properties", {}).items():
        needed = setting in told["settings"].get("required", ())
        mark = (" (obligatoire)" if french else " (needed)") if needed else ""
        yield f"  {setting}{mark}  {' '.join(schema.get('description', '').split())}".rstrip()


def problems(found: Iterable[Checked], language: Language) -> list[dict[str, Any]]:
    """What `checked_file` found, for a program."""
    return [
        {
            "place": one.place,
            "kind": one.kind,
            "problems": [problem(fault, language) for fault in one.faults],
            "weaker": "" if one.weaker is None else one.weaker[language],
        }
        for one in found
    ]


def found_lines(found: Iterable[Checked], language: Language) -> Iterator[str]:
    """The same, for a person."""
    for one in problems(found, language):
        yield f"{'✗' if one['problems'] else '✓'} {one['place']}  {one['kind']}"
        if one["weaker"]:
            yield f"    ! {one['weaker']}"
        for told in one["problems"]:
            yield f"    {told['code']}  {told['pointer']}"
            if told["message"]:
                yield f"    {told['message']} {told['remedy']}"


def plain(one: Tried, language: Language) -> dict[str, str]:
    """How a case ended, for a program."""
    return {"case": one.case.value, "state": one.state, "why": one.why.get(language, "")}


def line(one: Tried, language: Language) -> str:
    """The same, for a person."""
    return f"{_MARKS[one.state]} {one.case}  {one.why.get(language, '')}".rstrip()
