"""Finding: what is wrong, and where. It names rows and files, never a value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction. `check` is its stable name, `place` the row, file or entry, `wrong` one sentence."""

    check: str
    place: str
    wrong: str
