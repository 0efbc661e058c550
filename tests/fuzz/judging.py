"""Judging: what every answer has to be, whatever was asked, and the count of all of them.

    1  an answer, unless the request ended before its end; within the product's own deadline
    2  not 500; 503 only where the documents say so
    3  a refusal in a form that is documented: RFC 9457, or Confluent's, OAuth2's, C2SP's at their own addresses; with a
       code of ours, and with nothing of a program in it
    4  no more processor time than its kind may cost; no longer than so many times the smallest request of this run

Nothing is raised: what is wrong is kept, so that one run finds all of it.
"""

import json
import re
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.messages import table
from tests.fuzz.asking import DEADLINE, Answer

UNPROVEN: Final = 0.050
"""Processor seconds of a request that proves nothing, at most."""
PROVEN: Final = 0.500
"""Of one with a token."""
TIMES: Final = 1000
"""An answer takes no longer than so many of the smallest, beside the seconds that it was asked to wait."""
CONFLUENT: Final = "application/vnd.schemaregistry.v1+json"
JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
_OF_A_PROGRAM: Final = re.compile(rb"Traceback|\.py\b|site-packages|sqlalchemy|pydantic")
_AWAY: Final = {"POST /oauth2/token": {"oauth.keys-away"}, "GET /health/ready": {"health.not-begun"}}
"""503, by operation: somebody else's server is asked there, or the answer is about ourselves."""
_AT_THE_DOOR: Final = re.compile(
    rb'"(?:credentials|oauth)\.[a-z-]+"|"api\.(?:no-credential|scope|not-found|method|rate|http|headers|chunks|encoded'
    rb"|too-large|two-lengths|media-type|query-unknown|query-twice|busy)\""
)
"""Codes of refusals that come before anything is looked at."""
_UNTRACED: Final = (b'"api.http"', b'"api.two-lengths"', b'"api.chunks"', b'"api.headers"')
"""Of what is no request, nothing is done that could be traced."""
_WITNESS: Final = ("POST /add-checkpoint", "GET /vkey")


@dataclass(frozen=True)
class Asked:
    """What an answer was given to. `proven`: it came with a token that is good; `sent`: how it can be sent again."""

    label: str
    kind: str
    proven: bool
    method: str
    sent: str
    wait: float = 0.0
    may_end: bool = False


@dataclass
class Judge:
    """The count of one run, and what was wrong."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By operation, kind and status."""
    spent: dict[str, tuple[float, str]] = field(default_factory=dict)
    took: dict[str, tuple[float, str]] = field(default_factory=dict)
    floors: list[Answer] = field(default_factory=list)
    wrong: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Examples by operation and fault."""
    reached: int = 0
    """Cases that were not sent away at the door: what they asked was looked at."""
    timed: bool = True

    @property
    def total(self) -> int:
        """Cases so far."""
        return self.counts.total()

    def limit(self, asked: Asked) -> float:
        """Processor seconds that it may cost."""
        return PROVEN if asked.proven else UNPROVEN

    def over(self, asked: Asked, answer: Answer) -> bool:
        """Whether to ask again: what a limit is for is repeatable."""
        return self.timed and (answer.spent > self.limit(asked) or self._late(asked, answer))

    def take(self, asked: Asked, answer: Answer) -> None:
        """Count one answer, and keep what is wrong with it."""
        self.counts[asked.label, asked.kind, str(answer.status or "ended")] += 1
        away = (answer.status or 400) >= 400 and (not answer.body or _AT_THE_DOOR.search(answer.body))
        self.reached += not away
        if answer.spent > self.spent.get(asked.label, (0.0, ""))[0]:
            self.spent[asked.label] = answer.spent, asked.kind
        if answer.seconds - asked.wait > self.took.get(asked.label, (0.0, ""))[0]:
            self.took[asked.label] = answer.seconds - asked.wait, asked.kind
        for fault in self._faults(asked, answer):
            self.tell(asked.label, fault, f"{asked.kind}: {asked.sent[:300]} -> {answer.status} {answer.body[:200]!r}")

    def tell(self, label: str, fault: str, example: str) -> None:
        """Something is wrong."""
        self.wrong.setdefault((label, fault), []).append(example)

    def _faults(self, asked: Asked, answer: Answer) -> list[str]:
        found = []
        if answer.status is None:
            late = answer.headers.get("x-fuzz")
            return [late] if late else [] if asked.may_end else ["no answer"]
        if answer.seconds > DEADLINE + asked.wait:
            found.append("an answer after the deadline")
        if self.timed and answer.spent > self.limit(asked):
            found.append(f"costs more than {self.limit(asked) * 1000:.0f} ms of processor time")
        if self._late(asked, answer):
            found.append(f"takes longer than {TIMES} of the smallest")
        if _OF_A_PROGRAM.search(answer.body) and "openapi" not in asked.label and answer.status >= 400:
            found.append("tells of the program")
        if answer.status >= 400:
            found += refusal(asked, answer)
        if (
            "trace-id" not in answer.headers
            and asked.label not in _WITNESS
            and not any(code in answer.body for code in _UNTRACED)
        ):
            found.append("no trace id")
        return found

    def _late(self, asked: Asked, answer: Answer) -> bool:
        floor = statistics.median(each.seconds for each in self.floors) if self.floors else DEADLINE
        return self.timed and answer.seconds - asked.wait > max(TIMES * floor, 1.0)


def refusal(asked: Asked, answer: Answer) -> list[str]:
    """What is wrong with an answer that refuses."""
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if asked.method == "HEAD":
        return ["a body for HEAD"] if answer.body else []
    try:
        told: Any = json.loads(answer.body)  # a size, as C2SP has it, is JSON, too
    except ValueError:
        return [f"{answer.status} as {kind or 'nothing'}, which is no JSON"]
    if (kind, answer.status) == ("text/x.tlog.size", 409) or (kind == JSON and "/health/ready" in asked.label):
        return []
    here = kind == PROBLEM or _KINDS.get(kind, "nowhere") in asked.label
    code = _CODES[kind](told) if here else None
    found = [] if code in table() else [f"{answer.status} as {kind or 'nothing'} without a code of ours"]
    if kind == PROBLEM and ({"type", "title", "status", "detail"} - set(told) or told["status"] != answer.status):
        found.append("not as RFC 9457 has it")
    if answer.status == 500 or (answer.status >= 500 and code not in _AWAY.get(asked.label, set())):
        found.append(f"{answer.status} {code}")
    return found


_CODES: Final[Mapping[str, Callable[[Any], Any]]] = {
    PROBLEM: lambda told: told.get("code"),
    CONFLUENT: lambda told: str(told.get("message", "")).partition(":")[0].partition(" ")[0],
    JSON: lambda told: told.get("code") if "error" in told else None,
}
_KINDS: Final = {CONFLUENT: "/registry", JSON: "/oauth2/token"}
"""At which addresses a refusal may have another form than a problem."""
