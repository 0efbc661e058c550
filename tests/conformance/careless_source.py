"""Sources that are careless in one way each: `python -m tests.conformance.careless_source NAME FILE`."""

import json
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from schemas.names import DeclarationId
from schemas.signing import PrivateKey
from tests.conformance import sample_source

Task = dict[str, Any]


def signs_again(source: ModuleType, task: Task) -> int:
    """Keeps nothing of what it has sent, and leaves a lost answer to the next call."""
    ask = source.BlockingClient.open
    source.BlockingClient.open = lambda url, token: ask(url, token, tries=1)
    source.OUTBOX = Path(tempfile.mkdtemp())
    return int(source.main(task))


def believes_any_receipt(source: ModuleType, task: Task) -> int:
    """Takes an answer for a receipt."""

    class Any_:
        def verify(self, signed: Any, directory: Any) -> Any:
            return type("Receipt", (), {"manifest": Same()})

    class Same:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    source.intake_receipt = Any_()
    return int(source.main(task))


def forgets_a_field(source: ModuleType, task: Task) -> int:
    """Has no column for e-mail addresses."""
    task["record"]["email"] = None
    return int(source.main(task))


def forgets_corrects(source: ModuleType, task: Task) -> int:
    """Declares anew what it ought to correct."""
    return int(source.main({**task, "corrects": None}))


def swallows_refusals(source: ModuleType, task: Task) -> int:
    """Ends well, whatever it was told."""
    source.main(task)
    return 0


def signs_with_another_key(source: ModuleType, task: Task) -> int:
    """Has a key that nobody knows."""
    source.PrivateKey = type("Keys", (), {"from_raw": staticmethod(lambda kind, raw: PrivateKey.generate(kind))})
    return int(source.main(task))


def numbers_by_content(source: ModuleType, task: Task) -> int:
    """Makes its ids of what it declares, so that two alike are one."""
    made = sha256(json.dumps(task["record"], sort_keys=True).encode()).digest()[:10]
    make = source.uuid7
    source.uuid7 = lambda at, entropy: make(1_795_521_493_000, made)
    source.DeclarationId = DeclarationId
    return int(source.main(task))


CARELESS: dict[str, Callable[[ModuleType, Task], int]] = {
    one.__name__: one
    for one in (
        signs_again,
        believes_any_receipt,
        forgets_a_field,
        forgets_corrects,
        swallows_refusals,
        signs_with_another_key,
        numbers_by_content,
    )
}

if __name__ == "__main__":
    sys.exit(CARELESS[sys.argv[1]](sample_source, json.loads(Path(sys.argv[2]).read_text())))
