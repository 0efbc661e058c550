"""A share of the fuzz with a seed of its own, without its clock; and that its judge sees what is wrong."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fuzz.asking import Answer
from tests.fuzz.drawn import all_operations
from tests.fuzz.judging import PROVEN, TIMES, UNPROVEN, Asked, Judge
from tests.fuzz.running import run

CASES: Final = 2_000
SEED: Final = 14
ASKED: Final = Asked("GET /v1/status", "positive", proven=False, method="GET", sent="...")
TRACED: Final = {"content-type": "application/problem+json", "trace-id": "0" * 32}
PROBLEM: Final[dict[str, Any]] = {"type": "/docs", "title": "t", "status": 404, "detail": "d", "code": "api.not-found"}


@pytest.mark.proof
def test_two_thousand_cases_find_no_fault_in_any_answer_in_the_log_or_in_the_home(tmp_path: Path) -> None:
    judge = run(tmp_path, SEED, CASES, timed=False)

    assert {} == judge.wrong
    assert judge.total >= CASES
    assert judge.reached >= CASES / 3
    assert {f"{method} {door.prefix}{path}" for door, method, path in all_operations()} == {
        one for one, _, _ in judge.counts
    }
    assert {"positive", "negative"} < {kind for _, kind, _ in judge.counts}
    assert "429" not in {status for _, _, status in judge.counts}


def found(asked: Asked = ASKED, **answer: Any) -> list[str]:
    """What the judge says of one answer, a good refusal but for this."""
    told = Answer(**{"status": 404, "headers": TRACED, "body": json.dumps(PROBLEM).encode(), **answer})
    judge = Judge(floors=[Answer(200, seconds=0.001)])
    judge.take(asked, told)
    return [fault for _, fault in judge.wrong]


def problem(**other: Any) -> bytes:
    return json.dumps(PROBLEM | other).encode()


def test_the_judge_finds_nothing_in_what_is_as_it_should_be() -> None:
    assert [] == found()
    assert [] == found(status=200, body=b"{}", spent=UNPROVEN, seconds=0.9)
    assert [] == found(Asked("POST /v1/x", "", proven=True, method="POST", sent=""), spent=PROVEN)
    assert [] == found(Asked("GET /x", "", proven=False, method="GET", sent="", may_end=True), status=None)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ({"status": None}, "no answer"),
        ({"status": 500, "body": problem(status=500, code="api.unexpected")}, "500 api.unexpected"),
        ({"status": 503, "body": problem(status=503, code="api.busy")}, "503 api.busy"),
        ({"body": problem(code="api.never")}, "404 as application/problem+json without a code of ours"),
        ({"body": problem(status=400)}, "not as RFC 9457 has it"),
        ({"body": b"Not Found"}, "404 as application/problem+json, which is no JSON"),
        ({"headers": TRACED | {"content-type": "text/html"}}, "404 as text/html without a code of ours"),
        ({"body": problem(detail="File app.py, line 3")}, "tells of the program"),
        ({"headers": {"content-type": "application/problem+json"}}, "no trace id"),
        ({"spent": UNPROVEN * 1.01}, "costs more than 50 ms of processor time"),
        ({"seconds": 0.001 * TIMES * 1.01}, f"takes longer than {TIMES} of the smallest"),
    ],
)
def test_the_judge_finds_what_is_wrong(answer: dict[str, Any], fault: str) -> None:
    assert [fault] == found(**answer)
