"""Acknowledged: the file that the agency's program writes back, with an answer for each line of one of ours.

    line;answer;detail
    2;applied;2026-000123       the agency's own reference, which stays here; may be empty
    3;refused;R12               its reason, which is not passed on
    4;unknown-person;           or several-persons, document-needed
    5;later;2026-12-31          somebody decides by this day; then it is answered once more

Refuses: line by line what is no answer, with the line's number and a code; what the others say counts.
Keeps: nothing that a line holds is repeated but its number.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from connectors.contract import Answered, Applied, Outcome, Rejected
from schemas.errors import Refused
from schemas.names import DeliveryId, Reason

BYTES_MOST: Final = 64 * 1024 * 1024
LINE_BYTES: Final = 4096
DAYS_MOST: Final = 366
"""How far ahead the day may be until which somebody decides: what a mailbox takes."""
_HEAD: Final = ["line", "answer", "detail"]
_REFERENCE: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_PERSONS: Final[Mapping[str, Reason]] = {
    "unknown-person": Reason.UNKNOWN_PERSON,
    "several-persons": Reason.SEVERAL_PERSONS,
    "document-needed": Reason.DOCUMENT_NEEDED,
}


@dataclass(frozen=True, slots=True)
class Read:
    """What a file says: an answer for each delivery, and what is wrong, by the line of this file."""

    answers: Mapping[DeliveryId, Outcome]
    wrong: tuple[tuple[int, Refused], ...]


def read(raw: bytes, encoding: str, lines: Mapping[int, DeliveryId], today: str) -> Read:
    """The answers in a file. `lines`: the deliveries of ours by their lines; `today`: `2026-11-02`."""
    answers: dict[DeliveryId, Outcome] = {}
    wrong: list[tuple[int, Refused]] = []
    for number, line in _lines(raw):
        try:
            cells = _cells(line, encoding)
            if number == 1 and cells == _HEAD:
                continue
            delivery_id, outcome = _answer(cells, lines, today)
            if answers.setdefault(delivery_id, outcome) != outcome:
                raise Refused("file.ack-twice")
        except Refused as fault:
            wrong.append((number, fault))
    return Read(answers, tuple(wrong))


def _lines(raw: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        bare = line.removesuffix(b"\r")
        if bare:
            yield number, bare


def _cells(line: bytes, encoding: str) -> list[str]:
    """Raises Refused("file.ack-damaged")."""
    try:
        text = line.decode(encoding) if len(line) <= LINE_BYTES else "\0"
        if "\0" in text:
            raise ValueError
        (cells,) = csv.reader([text], delimiter=";", strict=True)
    except (ValueError, csv.Error):
        cells = []
    if len(cells) not in {2, 3}:
        raise Refused("file.ack-damaged")
    return [*(cell.strip() for cell in cells), ""][:3]


def _answer(cells: list[str], lines: Mapping[int, DeliveryId], today: str) -> tuple[DeliveryId, Outcome]:
    first, answer, detail = cells
    delivery_id = lines.get(int(first)) if first.isascii() and first.isdigit() and len(first) < 10 else None
    if delivery_id is None:
        raise Refused("file.ack-line")
    if answer == "applied":
        if detail and not _REFERENCE.fullmatch(detail):
            raise Refused("file.ack-detail")
        return delivery_id, Applied(detail or None)
    if answer == "refused":
        return delivery_id, Rejected("file.ack-refused", Reason.SYSTEM_REFUSED)
    if answer == "later":
        return delivery_id, Answered(Reason.AWAITING_HUMAN, _day(detail, today))
    if answer not in _PERSONS:
        raise Refused("file.ack-answer")
    return delivery_id, Answered(_PERSONS[answer])


def _day(detail: str, today: str) -> str:
    try:
        ahead = date.fromisoformat(detail) - date.fromisoformat(today)
    except ValueError:
        raise Refused("file.ack-detail") from None
    if len(detail) != 10 or not 0 <= ahead.days <= DAYS_MOST:
        raise Refused("file.ack-detail")
    return detail
