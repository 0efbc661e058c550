"""Neighbour: what the process that serves at an address says of itself: which program it is, and whether it is well.

Refuses: to believe more than it asks for: codes that are ours, a version, a commit; no sentence is taken over.
Keeps: it asks this machine alone, for a few seconds, and nobody's answer is no trouble.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

from broker.observability.build import UNKNOWN
from schemas.messages import table

SECONDS: Final = 6
"""Longer than a check of `/health/ready` takes to give up."""
ANSWER_BYTES: Final = 65_536
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  what was bound, not what is bound
_WORD: Final = re.compile(r"[0-9A-Za-z.+-]{1,64}")


@dataclass(frozen=True, slots=True)
class Process:
    """`checks`: of each check of `/health/ready`, None where it is well, else its code."""

    version: str
    commit: str
    ready: bool
    checks: Mapping[str, str | None]


async def process_at(listen: str) -> Process | None:
    """Who answers at the address of the setting `listen`; None: nobody, or somebody else."""
    host, _, port = listen.rpartition(":")
    if not port.isdecimal() or port == "0":
        return None
    host = host.strip("[]")
    return await asyncio.to_thread(_asked, _EVERYWHERE.get(host, host), int(port))


def _asked(host: str, port: int) -> Process | None:
    try:
        live, ready = _get(host, port, "/health/live"), _get(host, port, "/health/ready")
        if live["live"] is not True:
            return None
        checks = {_word(name): None if one["ok"] else _code(one["code"]) for name, one in ready["checks"].items()}
        return Process(_word(live.get("version")), _word(live.get("commit")), bool(ready["ready"]), checks)
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError):
        return None


def _get(host: str, port: int, path: str) -> dict[str, Any]:
    connection = HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        told = json.loads(connection.getresponse().read(ANSWER_BYTES))
    finally:
        connection.close()
    if not isinstance(told, dict):
        raise ValueError(path)
    return told


def _word(told: object) -> str:
    return told if isinstance(told, str) and _WORD.fullmatch(told) else UNKNOWN


def _code(told: object) -> str:
    return told if isinstance(told, str) and told in table() else UNKNOWN
