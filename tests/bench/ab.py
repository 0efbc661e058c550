"""A and B: two commits measured by turns in the same minutes, and whether they differ by more than the noise.

    make bench-ab BASE=3a4f291 [ROUNDS=5] [ONLY=flow,checks] [COUNT=100]
    python -m tests.bench.ab BASE [--rounds 5] [--only flow,checks] [--count N] [--out build/bench-ab.json]

A is the commit BASE, in a worktree that is gone afterwards; B is this checkout as it lies. Every run is a process of
its own (tests/bench/ab_scenario.py, the copy of its commit); each round runs A B B A or B A A B. On SQLite, and on
PostgreSQL where it can be had (UNEFOIS_AB_POSTGRES=0: not; =1: its absence is told as a failure). Where the pinned
packages differ, A gets a virtual environment of its own.

Refuses: to compare what measures different things, or what one of the two has not: it says so, and why.
Keeps: asserts nothing, ends with 0; no figure is told of code from another folder than its side's.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.bench.ab_scenario import SCENARIOS
from tests.bench.ratios import Compared, Round, Verdict, compare

ROOT: Final = Path(__file__).parents[2]
ENTRY: Final = Path("tests/bench/ab_scenario.py")
SECONDS: Final = 600
"""What one run may take."""
CLOCKS: Final = {"wall": "wall_ms", "cpu": "cpu_ms"}
Told = dict[str, dict[str, Any]]
"""The lines of one run, by figure."""


@dataclass(frozen=True)
class Side:
    """One of the two: its code, its Python, and whether its scenarios are lent by the other."""

    name: str
    folder: Path
    python: str
    lent: bool = False

    def run(self, words: Sequence[str]) -> Told:
        """One run. Raises Failed."""
        command = [self.python, "-m", "tests.bench.ab_scenario", *words]
        environment = {name: told for name, told in os.environ.items() if not name.startswith(("UNEFOIS_", "PYTHON"))}
        environment |= {"PYTHONPATH": str(self.folder)}  # and compiled files are kept: a fresh worktree has none yet
        try:
            ended = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name}: not done after {SECONDS} s") from None
        if ended.returncode != 0:
            raise Failed(f"{self.name}: {(ended.stderr.strip() or 'it failed').splitlines()[-1]}")
        lines = [json.loads(line) for line in ended.stdout.splitlines()]
        if any(Path(line["code"]).resolve() != self.folder.resolve() for line in lines):
            raise Failed(f"{self.name}: the code that ran is another's")
        return {line["figure"]: line for line in lines}


class Failed(Exception):
    """A run that gave nothing, and why."""


@dataclass
class Series:
    """One scenario on one database: its rounds, or why there are none."""

    scenario: str
    database: str
    rounds: list[tuple[tuple[Told, Told], tuple[Told, Told]]] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)

    def compared(self, figure: str, clock: str) -> Compared:
        """What the rounds tell of one figure."""
        name = CLOCKS[clock]
        return compare(
            [
                Round((a[0][figure][name], a[1][figure][name]), (b[0][figure][name], b[1][figure][name]))
                for a, b in self.rounds
            ]
        )

    def lacks(self, a: Told, b: Told) -> None:
        """Remember which figures cannot be compared, by what one run of each tells."""
        for figure in SCENARIOS[self.scenario].figures:
            one, other = a.get(figure), b.get(figure)
            for side, told in (("A", one), ("B", other)):
                if told is None or "absent" in told:
                    why = "nobody measured it" if told is None else told["absent"]
                    self.absent.setdefault(figure, f"not to be had on {side}: {why}")
            if figure not in self.absent and one is not None and other is not None and one["means"] != other["means"]:
                self.absent[figure] = f"A measures it by definition {one['means']}, B by {other['means']}"


def measure(
    series: Series,
    a: Side,
    b: Side,
    rounds: int,
    count: int,
    url: Callable[[], str | None],
    progress: Callable[[], None],
) -> None:
    """Run a scenario by turns. What goes wrong is kept, and ends it."""
    words = [series.scenario, *(["--count", str(count)] if count else [])]

    def run(side: Side, *more: str) -> Told:
        database = url()
        return side.run([*words, *more, *(["--database", database] if database else [])])

    try:
        series.lacks(run(a, "--count", "2"), run(b, "--count", "2"))  # compiles, and tells what there is
        if len(series.absent) == len(SCENARIOS[series.scenario].figures):
            return
        for number in range(rounds):
            first, second = (a, b) if number % 2 == 0 else (b, a)
            one, two, three, four = (run(side) for side in (first, second, second, first))
            outer, inner = (one, four), (two, three)
            series.rounds.append((outer, inner) if first is a else (inner, outer))
            progress()
    except Failed as failed:
        for figure in SCENARIOS[series.scenario].figures:
            series.absent.setdefault(figure, str(failed))


@contextmanager
def checked_out(root: Path, commit: str) -> Iterator[Path]:
    """A commit of a repository in a worktree of its own, with our scenarios where it has none. Raises Failed."""
    with tempfile.TemporaryDirectory(prefix="unefois-ab-") as temporary:
        folder = Path(temporary) / "base"
        _git(root, "worktree", "add", "--detach", "--quiet", str(folder), commit)
        try:
            yield folder
        finally:
            _git(root, "worktree", "remove", "--force", str(folder))


def base_side(folder: Path, root: Path) -> Side:
    """A: with what it needs. Raises Failed where its packages cannot be installed."""
    lent = not (folder / ENTRY).exists()
    if lent:
        (folder / ENTRY).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / ENTRY, folder / ENTRY)
    python = sys.executable
    if _pinned(folder) != _pinned(root):
        print("A pins other packages: it gets a virtual environment of its own", flush=True)
        made = subprocess.run(["make", ".venv/dev"], cwd=folder, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise Failed(f"A: {made.stderr.strip().splitlines()[-1]}")
        python = str(folder / ".venv/bin/python")
    return Side("A", folder, python, lent)


def _pinned(folder: Path) -> bytes:
    return (folder / "requirements" / "dev.txt").read_bytes()


def _git(root: Path, *words: str) -> str:
    ended = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise Failed(ended.stderr.strip().splitlines()[-1])
    return ended.stdout.strip()


@contextmanager
def databases() -> Iterator[dict[str, Callable[[], str | None]]]:
    """The databases of this run, by name, each with a way to get an empty one; PostgreSQL where it can be had."""
    from tests.services import postgres
    from tests.services.absent import Absent

    found: dict[str, Callable[[], str | None]] = {"SQLite": lambda: None}
    wanted = os.environ.get("UNEFOIS_AB_POSTGRES")
    if wanted == "0":
        yield found
        return
    with ExitStack() as stack:
        try:
            address = stack.enter_context(postgres.running())
        except Absent as absent:
            print(f"PostgreSQL: {'FAILED, ' if wanted == '1' else ''}{absent}", flush=True)
        else:
            found["PostgreSQL"] = lambda: asyncio.run(_emptied(address))
        yield found


async def _emptied(address: str) -> str:
    """The URL of an empty database; the one before it is dropped."""
    import asyncpg
    from sqlalchemy import make_url

    from tests.services.databases import plain

    server = make_url(address)
    connection = await asyncpg.connect(plain(server))
    try:
        await connection.execute("DROP DATABASE IF EXISTS ab WITH (FORCE)")
        await connection.execute("CREATE DATABASE ab")
    finally:
        await connection.close()
    return server.set(drivername="postgresql+asyncpg", database="ab").render_as_string(hide_password=False)


def show(all_of_it: Sequence[Series], clock: str) -> None:
    """One table: the same figures on the clock, or by processor time."""
    what = "on the clock" if clock == "wall" else "its own processor time"
    print(f"\n{what:26}{'A ms':>10}{'B ms':>10}{'B/A':>7}  {'middle half':13}{'all':14}{'itself':15}{'chance':>8}")
    for series in all_of_it:
        for figure in SCENARIOS[series.scenario].figures:
            name = f"{figure}, {series.database}" if SCENARIOS[series.scenario].databases else figure
            if figure in series.absent or not series.rounds:
                continue
            one = series.compared(figure, clock)
            told = f"{one.a:>10.3f}{one.b:>10.3f}{one.ratio.median:>7.3f}  {_range(one.ratio.low, one.ratio.high):13}"
            told += f"{_range(one.ratio.least, one.ratio.most):14}{_range(one.itself.low, one.itself.high):15}"
            print(f"{name:26}{told}{one.chance:>8.3f}  {one.verdict.value}")


def _range(low: float, high: float) -> str:
    return f"{low:.2f}-{high:.2f}"


def show_absent(all_of_it: Sequence[Series]) -> None:
    """What could not be compared, and why."""
    for series in all_of_it:
        for figure, why in series.absent.items():
            print(f"not compared: {figure}, {series.database}: {why}")


def written(all_of_it: Sequence[Series], about: dict[str, Any]) -> dict[str, Any]:
    """Everything, for programs: the figures and every single run."""
    figures = []
    for series in all_of_it:
        for figure in SCENARIOS[series.scenario].figures:
            told: dict[str, Any] = {"figure": figure, "database": series.database}
            if figure in series.absent or not series.rounds:
                told["absent"] = series.absent.get(figure, "no round was done")
            else:
                for clock in CLOCKS:
                    one = asdict(series.compared(figure, clock))
                    told[clock] = one | {"verdict": Verdict(one["verdict"]).value}
                told["runs"] = [
                    {side: [run[figure] for run in runs] for side, runs in zip("ab", each, strict=True)}
                    for each in series.rounds
                ]
            figures.append(told)
    return {**about, "figures": figures}


def compared(base: str, rounds: int, only: Sequence[str], count: int) -> tuple[list[Series], dict[str, Any]]:
    """Everything measured. Raises Failed where there is nothing to begin with."""
    commit = _git(ROOT, "rev-parse", "--short", f"{base}^{{commit}}")
    here = _git(ROOT, "rev-parse", "--short", "HEAD")
    changed = " and what is not committed" if _git(ROOT, "status", "--porcelain", "--untracked-files=no") else ""
    all_of_it: list[Series] = []
    with checked_out(ROOT, commit) as folder, databases() as found:
        a, b = base_side(folder, ROOT), Side("B", ROOT, sys.executable)
        print(f"A: {commit}{', with the scenarios of B' if a.lent else ''}; B: {here}{changed}", flush=True)
        for name in only:
            for database, url in found.items() if SCENARIOS[name].databases else [("", lambda: None)]:
                series = Series(name, database)
                all_of_it.append(series)
                print(f"  {name} {database} ", end="", flush=True)
                measure(series, a, b, rounds, count, url, lambda: print(".", end="", flush=True))
                print(flush=True)
    return all_of_it, {"a": commit, "b": here + changed, "lent": a.lent, "rounds": rounds}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="the commit that this checkout is compared with")
    parser.add_argument("--rounds", type=int, default=5, help="of four runs each; four rounds are the fewest that tell")
    parser.add_argument("--only", default=",".join(SCENARIOS), help="scenarios, comma-separated")
    parser.add_argument("--count", type=int, default=0, help="of each run; default: what the scenario says")
    parser.add_argument("--out", type=Path, default=Path("build/bench-ab.json"))
    chosen = parser.parse_args()
    only = [name for name in chosen.only.split(",") if name]
    unknown = set(only) - set(SCENARIOS)
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    try:
        all_of_it, about = compared(chosen.base, chosen.rounds, only, chosen.count)
    except Failed as failed:
        parser.error(str(failed))
    for clock in CLOCKS:
        show(all_of_it, clock)
    show_absent(all_of_it)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(written(all_of_it, about), indent=1) + "\n", "utf-8")
    print(f"\nwritten to {chosen.out}")


if __name__ == "__main__":
    main()
