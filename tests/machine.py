"""The machine that runs the tests: what of it would reach them, and does not.

Its language, its zone and what it has set for such programs are put out of the way before a test is imported; a loop's
clock begins with the loop, as on a machine that was started a moment ago. A test that wants one of them says which.

Keeps: what asks for more or other tests (`UNEFOIS_REQUIRE`, `UNEFOIS_PROOF` and those like them).
"""

import asyncio
import os
import time
from typing import Final

OURS: Final = (
    "UNEFOIS_REQUIRE",
    "UNEFOIS_TEST_",
    "UNEFOIS_PROOF",
    "UNEFOIS_FAULTS",
    "UNEFOIS_RACE_EACH",
    "UNEFOIS_RACE_ROUNDS",
    "UNEFOIS_CONFORMANCE",
    "UNEFOIS_GAME_ROUNDS",
    "UNEFOIS_MODEL_",
    "UNEFOIS_ONE_DATABASE",
    "UNEFOIS_SHARE",
)
"""Prefixes of what the suites themselves are told by; every other UNEFOIS_ is a setting of the program."""
FOREIGN: Final = (
    *("UNEFOIS_", "LC_", "LANG", "OTEL_", "XDG_DATA_", "XDG_CONFIG_", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"),
    *("TRACEPARENT", "TZ", "SAMPLE_", "TOWN_", "PG"),
    *("PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONDEVMODE"),
)
"""Prefixes of what a program reads without having been told to by a test."""
ZONE: Final = "NZST-12NZDT,M9.5.0,M4.1.0/3"
"""Auckland's, spelled so that no table of zones is needed: whoever reads the local time is half a day off."""


def forget() -> None:
    """From now on, in this process and those that it starts."""
    for name in [name for name in os.environ if name.startswith(FOREIGN) and not name.startswith(OURS)]:
        del os.environ[name]
    os.environ.update(LANG="C.UTF-8", TZ=ZONE)
    time.tzset()
    asyncio.BaseEventLoop.time = _young  # type: ignore[method-assign]


def _young(loop: asyncio.BaseEventLoop) -> float:
    """Seconds since somebody first asked this loop."""
    now = time.monotonic()
    began: float = loop.__dict__.setdefault("_began_for_tests", now)
    return now - began
