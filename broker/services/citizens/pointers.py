"""Pointers: where a fault lies in what a citizen sent, which is not yet a record.

    /new_address/city ──► /record/new_address/city        /subject/given_names ──► /person/given_names
    /members/2/...    ──► /others/1/...                    the citizen's own facts are in no form: no pointer

Refuses: nothing.
Keeps: code and details stay; all that is wrong is told at once.
"""

from typing import Final

from schemas.errors import Fault, Refused

_OUTER: Final = frozenset({"", "event_type", "person", "record", "source", "payload", "slip", "code"})


def at(pointer: str, member: int = 0) -> str:
    """Where a fault of a record lies in what was sent: `/record/...` or `/person/...`, of the citizen's own or below
    `/others/...`.
    """
    outer = "" if member == 0 else f"/others/{member - 1}"
    head = pointer.split("/")[1] if pointer else ""
    if member and head in {"", "declaration", "slip", "subject_token"}:  # what the intake says of a person
        return f"{outer}/person"
    if head == "subject":
        return f"{outer}/person{pointer.removeprefix('/subject')}"
    return f"{outer}{pointer}" if head in _OUTER else f"{outer}/record{pointer}"


def moved(fault: Fault, member: int = 0) -> Refused:
    """The same fault, by the place in what was sent."""
    placed = Refused(fault.code, at(fault.pointer, member), **fault.details)
    placed.also = tuple(moved(one, member) for one in fault.also if isinstance(one, Refused))
    return placed


def of_member(fault: Fault) -> Refused:
    """What a household is refused with, by the place of the person in what was sent."""
    head, _, rest = fault.pointer.removeprefix("/members/").partition("/")
    inside = fault.pointer.startswith("/members/") and head.isdigit()
    pointer = at(f"/{rest}" if rest else "", int(head)) if inside else fault.pointer
    placed = Refused(fault.code, pointer, **fault.details)
    placed.also = tuple(of_member(one) for one in fault.also)
    return placed
