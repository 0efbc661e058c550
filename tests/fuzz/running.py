"""Running: a town is founded, served and fuzzed; its log and its home are looked at when all is over."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final

import requests
from schemathesis import GenerationMode

from tests.fuzz import town as towns
from tests.fuzz.asking import Request, ask, trivial
from tests.fuzz.drawn import Door, Drawing, all_operations
from tests.fuzz.judging import Asked, Judge
from tests.fuzz.nasty import Nasty
from tests.fuzz.town import Served, Town

FLOORS: Final = 50
"""Cases between two looks at the smallest request."""
WRITTEN: Final = 0.5
"""The part of the cases that is written by hand."""


def run(folder: Path, seed: int, cases: int, *, timed: bool = True) -> Judge:
    """So many cases at least. `timed`: hold them to what they may cost."""
    town = asyncio.run(towns.founded(folder))
    judge, chance = Judge(timed=timed), Random(seed)
    with towns.served(town) as broker, towns.witnessing(town) as witness, requests.Session() as session:
        warm(broker, judge)
        for door, request, proven in islice(written(town, chance), int(cases * WRITTEN)):
            floor(broker, judge)
            _ask(witness if door.witness else broker, judge, request, proven)
        drawing = Drawing(town, broker, witness, judge, chance, session, lambda: floor(broker, judge))
        drawn(drawing, seed, cases)
        session.close()
    for line in (*broker.wrong(), *witness.wrong()):
        judge.tell("log", "an error in the server's own log", line[:2000])
    for found in asyncio.run(towns.contradictions(town)):
        judge.tell("fsck", "a contradiction", found)
    return judge


def warm(served: Served, judge: Judge) -> None:
    """What a process learns with its first requests is nobody's cost."""
    for _ in range(20):
        trivial(served)
    judge.floors += [trivial(served) for _ in range(20)]


def floor(served: Served, judge: Judge) -> None:
    """Now and then the smallest request again: the machine may have become slower."""
    if judge.total % FLOORS == 0:
        judge.floors = [*judge.floors[-99:], trivial(served)]


def written(town: Town, chance: Random) -> Iterator[tuple[Door, Request, bool]]:
    """What is written by hand, in an order by chance, each with a token where one is asked for, or without."""
    made = []
    for door, method, path in all_operations():
        nasty = Nasty(town, door, method, path, chance)
        fit = "portal" if "declarations" in path or "subjects" in path else "caf"
        shown = (town.tokens[fit], None) if door.prefix == "/v1" else (None,)
        made += [(door, request, token is not None) for token in shown for request in nasty.all(token)]
    chance.shuffle(made)
    yield from made


def _ask(served: Served, judge: Judge, request: Request, proven: bool) -> None:
    sent = f"{request.nasty}: {request.parts[0][:120]!r}"
    asked = Asked(request.label, request.nasty, proven, request.method, sent, may_end=request.may_end)
    answer = ask(served, request)
    for _ in range(2):
        if judge.over(asked, answer):
            again = ask(served, request)
            answer = again if again.spent < answer.spent else answer
    judge.take(asked, answer)


def drawn(drawing: Drawing, seed: int, cases: int) -> None:
    """Both kinds of each operation, until there are enough."""
    turns = [(*each, mode) for each in all_operations() for mode in GenerationMode]
    number = 0
    while drawing.judge.total < cases and number < 20:
        each = max(2, -(-(cases - drawing.judge.total) // len(turns)))
        for door, method, path, mode in turns:
            drawing.draw(door, method, path, mode, seed + number, each)
        number += 1


def tell(judge: Judge) -> None:
    """The tables."""
    operations = sorted({label for label, _, _ in judge.counts})
    print(f"\n{'operation':<58}{'cases':>7}{'ms':>8}{'CPU ms':>8}  statuses")
    for label in operations:
        mine = Counter[str]()
        for (of, _, status), count in judge.counts.items():
            mine[status] += count if of == label else 0
        told = " ".join(f"{status}:{count}" for status, count in sorted(mine.items()) if count)
        took, spent = judge.took.get(label, (0, ""))[0], judge.spent.get(label, (0, ""))[0]
        print(f"{label:<58}{mine.total():>7}{took * 1000:>8.1f}{spent * 1000:>8.1f}  {told}")
    for title, found in (("slowest", judge.took), ("costliest", judge.spent)):
        print(f"\n{title}:")
        for label, (seconds, kind) in sorted(found.items(), key=lambda one: -one[1][0])[:8]:
            print(f"{seconds * 1000:>10.1f} ms  {label}  ({kind})")
    statuses, kinds = Counter[str](), Counter[str]()
    for (_, kind, status), count in judge.counts.items():
        statuses[status] += count
        kinds[kind if kind in {"positive", "negative"} else "written by hand"] += count
    print(f"\n{dict(kinds)}\n{dict(sorted(statuses.items()))}")
    print(f"429: {statuses['429']}; {judge.reached} of {judge.total} were not sent away at the door")
    for (label, fault), examples in sorted(judge.wrong.items()):
        print(f"\nWRONG {label}: {fault}, {len(examples)} times")
        for example in examples[:3]:
            print(f"    {example}")
