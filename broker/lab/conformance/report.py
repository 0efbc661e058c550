"""Report: what each case showed, in words that a reader of either language can act on.

Refuses: nothing.
Keeps: a case has failed if something was found, and no other way; evidence is a count, a state, a code or an exit
status, never what a person declared.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from broker.lab.conformance.finding import Finding
from broker.lab.conformance.words import Words


class Verdict(Enum):
    """How a case ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Result:
    """One case. `skipped`: why it was not played."""

    case: str
    role: str
    findings: tuple[Finding, ...] = ()
    skipped: str | None = None
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """How it ended."""
        if self.skipped is not None:
            return Verdict.SKIPPED
        return Verdict.FAILED if self.findings else Verdict.PASSED


@dataclass(frozen=True, slots=True)
class Report:
    """Every case of one run."""

    results: tuple[Result, ...]

    @property
    def good(self) -> bool:
        """Whether no case failed."""
        return all(one.verdict is not Verdict.FAILED for one in self.results)

    def count(self, verdict: Verdict) -> int:
        """How many cases ended so."""
        return sum(one.verdict is verdict for one in self.results)

    def document(self, words: Words) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "conformant": self.good,
            "counts": {one.value: self.count(one) for one in Verdict},
            "cases": [_told(one, words) for one in self.results],
        }


def _told(result: Result, words: Words) -> dict[str, Any]:
    told: dict[str, Any] = {
        "case": result.case,
        "role": result.role,
        "title": words.case(result.case, "title"),
        "proves": words.case(result.case, "proves"),
        "verdict": result.verdict.value,
        "seconds": round(result.seconds, 2),
    }
    if result.skipped is not None:
        told["skipped"] = result.skipped
    if result.findings:
        told["findings"] = [{"finding": one.key, "wrong": words.finding(one)} for one in result.findings]
        told["remedy"] = words.case(result.case, "remedy")
    return told
