"""Theatre: one performance, from the temporary folder to the last word and the exit code.

Refuses: to count a performance as good in which a claim was false or an act stopped.
Keeps: the temporary folder is gone afterwards, unless it is to be kept; then its place is told.
"""

import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from broker.cli.demo.claims import Book, Claim
from broker.cli.demo.stage import set_up
from broker.cli.demo.story import play
from broker.cli.demo.telling import Telling
from broker.cli.demo.words import Words
from broker.cli.frame import DEBUG
from schemas.errors import Fault


async def perform(words: Words, telling: Telling, keep: bool, servers: Mapping[str, Any]) -> Book:
    """Play the story in a new temporary folder. Returns every claim with its verdict."""
    began = time.monotonic()
    book = Book()
    root = Path(tempfile.mkdtemp(prefix="unefois-demo-"))
    try:
        async with set_up(root, words, telling, book, servers) as stage:
            async for _ in play(stage):
                pass
    except Fault as fault:
        _stopped(words, telling, book, str(fault))
    except Exception as error:
        # Broad on purpose: whatever stops an act, nothing of what it would have said was shown, and that is the answer.
        if os.environ.get(DEBUG):
            raise
        _stopped(words, telling, book, type(error).__name__)
    finally:
        if not keep:
            shutil.rmtree(root, ignore_errors=True)
    _last_word(words, telling, book, time.monotonic() - began)
    told = ("fsck", "verify", "grants") if keep else ("demo", "init", "help")
    home = shlex.quote(str(root / "home"))
    telling.next(words("end.next"), [(words(f"end.{one}", home=home), words(f"end.{one}_does")) for one in told])
    return book


def _stopped(words: Words, telling: Telling, book: Book, why: str) -> None:
    stopped = Claim("stage.stopped", words("stage.stopped"), False, why)
    book.add(stopped)
    telling.claim(stopped)


def _last_word(words: Words, telling: Telling, book: Book, seconds: float) -> None:
    failing = [f"{claim.sentence}  {claim.evidence}" for claim in book.failing]
    good = not failing
    told = {"held": len(book.claims) - len(failing), "count": len(book.claims), "seconds": f"{seconds:.1f}"}
    telling.verdict(words("end.good" if good else "end.bad", **told), failing, good)
