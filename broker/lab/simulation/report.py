"""Report: what a simulated year was: what people said once, how many desks heard it, what went wrong and was mended.

Refuses: nothing.
Keeps: it says in its last sentence whether every promise held; a picture is a function of the figures alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from broker.lab.simulation.promises import Broken
from schemas.messages import Language

TOLD: Final = 20
"""Broken promises that a report names."""
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 720, 320, 60, 50
_MADE, _SPARED = "#1d4ed8", "#86b6f6"


@dataclass(frozen=True, slots=True)
class Report:
    """One run. `monthly`: month -> declarations made, and those that people were spared; `reasons`: why a recipient
    got nothing; `broken`: every promise that did not hold.
    """

    seed: str
    people: int
    days: int
    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    monthly: Mapping[str, tuple[int, int]]
    checks: int
    broken: tuple[Broken, ...]

    @property
    def spared(self) -> int:
        """Declarations that people did not have to repeat: each desk after the first, and all of a registrar's."""
        return sum(spared for _, spared in self.monthly.values())

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "seed": self.seed,
            "people": self.people,
            "days": self.days,
            "declared": self.counts.get("declared", 0),
            "registered": self.counts.get("registered", 0),
            "applied": self.counts.get("applied", 0),
            "spared": self.spared,
            "counts": dict(sorted(self.counts.items())),
            "reasons": dict(sorted(self.reasons.items())),
            "monthly": {month: {"declared": said, "spared": spared} for month, (said, spared) in self.monthly.items()},
            "checks": self.checks,
            "broken": [{"promise": one.promise, "where": one.where} for one in self.broken[:TOLD]],
            "broken_count": len(self.broken),
        }

    def sentence(self, language: Language) -> str:
        """The last line."""
        told = {name: self.counts.get(name, 0) for name in ("declared", "registered", "applied")}
        if language == "fr":
            kept = (
                "toutes les promesses sont tenues" if not self.broken else f"{len(self.broken)} promesse(s) rompue(s)"
            )
            return (
                f"{self.people} personnes, {self.days} jours, graine {self.seed} : {told['declared']} déclarations et "
                f"{told['registered']} actes dits une fois, traités {told['applied']} fois par les administrations, "
                f"{self.spared} démarches évitées ; {kept}."
            )
        kept = f"{len(self.broken)} promise(s) broken" if self.broken else "every promise held"
        return (
            f"{self.people} people, {self.days} days, seed {self.seed}: {told['declared']} declarations and "
            f"{told['registered']} acts said once, applied {told['applied']} times by administrations, "
            f"{self.spared} errands spared; {kept}."
        )


def picture(report: Report) -> str:
    """Month by month, as an SVG: declarations that people made, and errands that they were spared."""
    months = list(report.monthly.items())
    top = max((said + spared for _, (said, spared) in months), default=0) or 1
    step = (_WIDTH - _LEFT - 30) / max(len(months), 1)

    def height(count: float) -> float:
        return (_HEIGHT - _BOTTOM - 60) * count / top

    def bar(number: int, below: int, count: int, colour: str) -> str:
        x, y = _LEFT + number * step + 4, _HEIGHT - _BOTTOM - height(below + count)
        return f'<rect x="{x:.1f}" y="{y:.1f}" width="{step - 8:.1f}" height="{height(count):.1f}" fill="{colour}"/>'

    def word(x: float, y: float, anchor: str, text: str) -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'

    drawn = [f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>']
    for number, (month, (said, spared)) in enumerate(months):
        drawn += [bar(number, 0, said, _MADE), bar(number, said, spared, _SPARED)]
        drawn.append(word(_LEFT + (number + 0.5) * step, _HEIGHT - _BOTTOM + 18, "middle", month[2:]))
    for part in range(5):
        count = top * part / 4
        drawn.append(word(_LEFT - 8, _HEIGHT - _BOTTOM - height(count) + 4, "end", f"{count:.0f}"))
    for x, colour, text in ((_LEFT, _MADE, "declarations made"), (_LEFT + 240, _SPARED, "errands spared")):
        drawn.append(f'<rect x="{x}" y="14" width="12" height="12" fill="{colour}"/>' + word(x + 18, 24, "start", text))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" font-size="12" '
        f'font-family="system-ui, sans-serif" fill="#334155"><title>A simulated country of {report.people} people'
        f"</title>{''.join(drawn)}</svg>\n"
    )
