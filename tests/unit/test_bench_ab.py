"""bench-ab: the statistics, the order of the runs, and what is said of what cannot be compared."""

import asyncio
import itertools
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.bench.ab import ENTRY, ROOT, Failed, Series, Side, Told, base_side, checked_out, measure, written
from tests.bench.ab_scenario import SCENARIOS, Costs, Scenario, measured
from tests.bench.ratios import Round, Verdict, compare, signed_rank, spread

# ── the statistics ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_half_and_a_double_are_equally_far_from_one() -> None:
    told = spread([0.5, 2.0])

    assert (1.0, 0.5, 2.0) == pytest.approx((told.median, told.least, told.most))
    assert 1.0 == pytest.approx(told.low * told.high)


def test_the_signed_rank_is_what_trying_every_choice_of_signs_gives() -> None:
    chance = random.Random(1)
    for size in range(1, 9):
        differences = [chance.choice((-1, 1)) * chance.choice((0.5, 1.5, 2.5, chance.random())) for _ in range(size)]
        ordered = sorted(differences, key=abs)
        ranks = [
            sum(abs(other) < abs(one) for other in ordered) + (sum(abs(other) == abs(one) for other in ordered) + 1) / 2
            for one in ordered
        ]
        positive = sum(rank for rank, one in zip(ranks, ordered, strict=True) if one > 0)
        tail = min(positive, sum(ranks) - positive)
        sums = [
            sum(rank for rank, up in zip(ranks, signs, strict=True) if up)
            for signs in itertools.product((False, True), repeat=size)
        ]
        assert min(1.0, 2 * sum(one <= tail for one in sums) / 2**size) == pytest.approx(signed_rank(differences))


def test_differences_of_nothing_say_nothing() -> None:
    assert 1.0 == signed_rank([0.0, 0.0])
    assert signed_rank([1.0, 2.0, 3.0]) == signed_rank([1.0, 0.0, 2.0, 0.0, 3.0])


def rounds(count: int, ratio: float, noise: float, drift: float = 0.0) -> list[Round]:
    """Of runs whose times scatter by a factor of up to 1 + noise, on a machine that gets slower by `drift` each run."""
    chance, made, run = random.Random(3), [], 0
    for number in range(count):
        times: dict[str, list[float]] = {"a": [], "b": []}
        for side in "abba" if number % 2 == 0 else "baab":
            slower = 1 + drift * run
            times[side].append(slower * (1 + noise * chance.random()) * (ratio if side == "b" else 1.0))
            run += 1
        made.append(Round((times["a"][0], times["a"][1]), (times["b"][0], times["b"][1])))
    return made


@pytest.mark.parametrize(("ratio", "verdict"), [(1.0, Verdict.NOISE), (1.3, Verdict.SLOWER), (0.7, Verdict.FASTER)])
def test_a_difference_beyond_the_noise_is_told_and_none_is_not(ratio: float, verdict: Verdict) -> None:
    assert verdict is compare(rounds(5, ratio, 0.1)).verdict


def test_a_difference_within_what_each_does_to_itself_is_noise_even_if_it_is_steady() -> None:
    steady = [Round((1.0, 1.5), (1.02, 1.53)), Round((1.5, 1.0), (1.53, 1.02))] * 4

    told = compare(steady)

    assert told.chance <= 0.01
    assert Verdict.NOISE is told.verdict


def test_a_machine_that_slows_down_does_so_for_both() -> None:
    told = compare(rounds(6, 1.0, 0.01, drift=0.05))

    assert 1.0 == pytest.approx(told.ratio.median, abs=0.03)
    assert Verdict.NOISE is told.verdict


def test_three_rounds_are_too_few_to_tell_whatever_they_say() -> None:
    assert Verdict.FEW is compare(rounds(3, 9.0, 0.01)).verdict
    assert Verdict.SLOWER is compare(rounds(4, 9.0, 0.01)).verdict


# ── the scenarios ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_scenario_gives_a_line_of_json_for_each_of_its_figures(name: str) -> None:
    command = [sys.executable, "-m", "tests.bench.ab_scenario", name, "--count", "2"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert "" == ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert sorted(SCENARIOS[name].figures) == sorted(line["figure"] for line in lines)
    for line in lines:
        assert str(ROOT) == line["code"]
        assert line["wall_ms"] > 0
        assert line["count"] > 0


def test_what_this_code_has_not_is_named_and_what_it_has_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    async def half(_: int, __: str | None, costs: Costs) -> None:
        with costs.of("grant"):
            pass
        with costs.of("accept"):
            object().accept_all()  # type: ignore[attr-defined]

    monkeypatch.setitem(SCENARIOS, "half", Scenario(half, ("grant", "accept"), 1))

    first, second = asyncio.run(measured("half", 1, None))

    assert ("grant", 1) == (first["figure"], first["count"])
    assert "accept" == second["figure"]
    assert "accept_all" in second["absent"]


def test_a_scenario_that_goes_wrong_is_not_taken_for_one_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wrong(*_: object) -> None:
        raise RuntimeError("two deliveries instead of ten")

    monkeypatch.setitem(SCENARIOS, "wrong", Scenario(wrong, ("grant",), 1))

    with pytest.raises(RuntimeError):
        asyncio.run(measured("wrong", 1, None))


# ── the runner ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Fake(Side):
    """A side that tells what it is told to."""

    def run(self, words: Sequence[str]) -> Told:
        """One run."""
        RUNS.append(self.name)
        answer = ANSWERS[self.name]
        if isinstance(answer, Failed):
            raise answer
        return answer


RUNS: list[str] = []
ANSWERS: dict[str, Any] = {}


def line(figure: str, means: int = 1) -> dict[str, Any]:
    return {"figure": figure, "means": means, "wall_ms": 1.0, "cpu_ms": 1.0, "count": 1}


def ran(a: Any, b: Any, rounds_: int = 2) -> Series:
    RUNS.clear()
    ANSWERS.update(A=a, B=b)
    series = Series("checks", "SQLite")
    fakes = [Fake(name, ROOT, sys.executable) for name in "AB"]
    measure(series, *fakes, rounds_, 0, lambda: None, lambda: None)
    return series


def test_the_two_run_by_turns_and_each_goes_first_every_other_round() -> None:
    both = {"prove": line("prove"), "fsck": line("fsck")}

    series = ran(both, both)

    assert "AB ABBA BAAB".replace(" ", "") == "".join(RUNS)
    assert ({}, 2) == (series.absent, len(series.rounds))
    assert 1.0 == series.compared("fsck", "wall").ratio.median


def test_what_one_of_them_has_not_is_not_compared_and_the_rest_is() -> None:
    lacking = {"prove": {"figure": "prove", "absent": "AttributeError: x"}, "fsck": line("fsck")}

    series = ran(lacking, {"prove": line("prove"), "fsck": line("fsck")})

    assert {"prove": "not to be had on A: AttributeError: x"} == series.absent
    told, other = written([series], {})["figures"]
    assert ("prove", series.absent["prove"]) == (told["figure"], told["absent"])
    assert ("fsck", "too few rounds") == (other["figure"], other["wall"]["verdict"])


def test_two_figures_that_measure_different_things_are_not_compared() -> None:
    series = ran({"prove": line("prove"), "fsck": line("fsck", 1)}, {"prove": line("prove"), "fsck": line("fsck", 2)})

    assert {"fsck": "A measures it by definition 1, B by 2"} == series.absent


def test_a_run_that_fails_ends_its_scenario_and_says_why() -> None:
    series = ran({"prove": line("prove"), "fsck": line("fsck")}, Failed("B: it broke"))

    assert {"prove": "B: it broke", "fsck": "B: it broke"} == series.absent
    assert [] == series.rounds


def test_figures_of_code_from_another_folder_are_refused(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{json.dumps({**line('fsck'), 'code': '/elsewhere'})}'\n")
    python.chmod(0o700)

    with pytest.raises(Failed, match="the code that ran is another's"):
        Side("A", tmp_path, str(python)).run(["checks"])


def test_both_keep_their_compiled_files_and_neither_hears_of_another_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("UNEFOIS_HOME", "/elsewhere")
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        f"echo '{json.dumps({**line('fsck'), 'code': str(tmp_path)})}'\n"
        "env | grep -E '^(PYTHON|UNEFOIS)' > told\n"
    )
    python.chmod(0o700)

    Side("A", tmp_path, str(python)).run(["checks"])

    assert f"PYTHONPATH={tmp_path}\n" == (tmp_path / "told").read_text()


def repository(folder: Path, *files: str) -> Path:
    """A repository with one commit."""
    for name in ("requirements/dev.txt", *files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("its own" if name == str(ENTRY) else "")
    git = ["git", "-C", str(folder), "-c", "user.name=-", "-c", "user.email=-"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "-"]):
        subprocess.run([*git, *words], check=True)
    return folder


def test_the_base_lies_in_a_worktree_of_its_own_that_is_gone_afterwards(tmp_path: Path) -> None:
    made = repository(tmp_path)

    with checked_out(made, "HEAD") as folder:
        assert (folder / "requirements" / "dev.txt").exists()
    assert not folder.exists()
    left = subprocess.run(["git", "-C", str(made), "worktree", "list"], capture_output=True, text=True, check=True)
    assert 1 == len(left.stdout.splitlines())


def test_a_base_without_scenarios_is_lent_ours_and_one_with_them_keeps_its_own(tmp_path: Path) -> None:
    (tmp_path / "older").mkdir()
    (tmp_path / "ours").mkdir()
    older, ours = repository(tmp_path / "older"), repository(tmp_path / "ours", str(ENTRY))
    (ours / ENTRY).write_text("ours")

    assert base_side(older, ours).lent
    assert "ours" == (older / ENTRY).read_text()
    with checked_out(ours, "HEAD") as folder:
        assert not base_side(folder, ours).lent
        assert "its own" == (folder / ENTRY).read_text()


def test_the_scenarios_ask_for_nothing_but_python_until_they_run() -> None:
    script = (
        "import sys; from tests.bench import ab_scenario; print([name for name in sys.modules if 'broker' in name])"
    )

    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert "[]" == ended.stdout.strip()
