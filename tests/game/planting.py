"""Leaks that are planted, to show that the harness sees: each takes one line of the sealed format's defence away."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from operator import attrgetter
from typing import Any

import pytest

from broker.access.credentials import Scope
from broker.flow import planner
from broker.flow.planner import Planner
from broker.ledger import recorder
from broker.ledger import sequencer as ledger
from broker.ledger.openings import Openings
from broker.ledger.windows import Waiting
from schemas.entry import TAG_BYTES
from schemas.names import Instant
from tests.game.playing import Board
from tests.game.scenes import OTHER
from tests.world import DAY

Plant = Callable[[pytest.MonkeyPatch, Board], None]


def order_of_writing(patch: pytest.MonkeyPatch, _: Board) -> None:
    """Windows are not shuffled."""

    def arrange(waiting: Sequence[Waiting], before: int | None, _most: int, _: object) -> list[list[int]]:
        due = [one for one in waiting if before is None or one.window < before]
        return [[one.id for one in sorted(due, key=attrgetter("window"))]] if due else []

    patch.setattr(ledger, "arrange", arrange)


def exact_instants(patch: pytest.MonkeyPatch, _: Board) -> None:
    """An entry's window is the instant that it was written at."""
    patch.setattr(recorder, "window_of", lambda at, _: at)


def blinds_of_zeros(patch: pytest.MonkeyPatch, board: Board) -> None:
    """Facts are sealed under a blind that everybody knows."""
    patch.setattr(board.here.home.recorder, "_entropy", bytes)


def one_salt(patch: pytest.MonkeyPatch, board: Board) -> None:
    """Beside that, a citizen's commitment is the same whoever it is told to."""
    salt = Openings.salt
    patch.setattr(Openings, "salt", lambda self, subject, scope: salt(self, subject, b""))
    blinds_of_zeros(patch, board)


def one_blind(patch: pytest.MonkeyPatch, board: Board) -> None:
    """The blind of facts is made of their declaration, and so all entries of one share it."""
    record = board.here.home.recorder.record

    def recorded(tx: Any, kind: Any, at: Any, **told: Any) -> Any:
        made = told.get("declaration")
        if made is not None:
            patch.setattr(board.here.home.recorder, "_entropy", lambda _: sha256(made).digest())
        try:
            return record(tx, kind, at, **told)
        finally:
            patch.setattr(board.here.home.recorder, "_entropy", board.here.home.entropy)

    patch.setattr(board.here.home.recorder, "record", recorded)


def tags_of_declarations(patch: pytest.MonkeyPatch, _: Board) -> None:
    """A delivery's tag is made of its declaration's id and its recipient."""
    lock = Planner._lock

    def locked(self: Planner, known: Any, subscription: Any, *rest: Any, **more: Any) -> Any:
        made = sha256(known.verified.manifest.declaration_id + subscription.recipient.encode()).digest()
        return replace(lock(self, known, subscription, *rest, **more), tag=made[:TAG_BYTES])

    patch.setattr(planner.Planner, "_lock", locked)


async def list_a_key(board: Board) -> None:
    """What a party may do at any time, and makes an open entry."""
    home = board.here.home
    async with home.store.begin() as tx:
        at = home.clock()
        await home.credentials.issue(tx, OTHER, {Scope.KEYS}, expires_at=Instant(at + DAY), at=at)


def open_entries_in_their_place(patch: pytest.MonkeyPatch, board: Board) -> None:
    """An open entry divides its window, and a party writes one between A's act and B's."""
    patch.setattr(recorder, "FIRST", recorder.BARRIER)
    board.between = lambda: list_a_key(board)


LEAKS: Mapping[str, tuple[Plant, str, str, str]] = {
    # what is planted: how, in which exchange, who wins, and who does not where guesses are confirmed, not learned
    "order of writing": (order_of_writing, "heard", "another recipient", ""),
    "exact instants": (exact_instants, "heard", "another recipient", ""),
    "blinds of zeros": (blinds_of_zeros, "refused", "source", "recipient"),
    "one blind": (one_blind, "refused", "source", "portal"),
    "one salt": (one_salt, "refused", "recipient", "portal"),
    "open entries in their place": (open_entries_in_their_place, "alone", "another recipient", ""),
    "tags of declarations": (tags_of_declarations, "heard", "source", "portal"),
}
