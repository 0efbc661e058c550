"""Addresses: what an e-mail address and a mobile number of a citizen may look like, and how they are written down.

Refuses: what is no address of its kind, without repeating it.
Keeps: one address has one spelling, so the same one is not held twice; an operator is shown enough to know it again.
Source: e-mail addresses as HTML has them; ITU-T E.164 (at most 15 digits); the French numbering plan (06 and 07).
"""

import re
from enum import Enum
from typing import Final

from broker.messages.mail import address_in
from schemas.errors import Refused

ADDRESS_CHARACTERS: Final = 254
"""Of either kind."""
_APART: Final = re.compile(r"[\s().\u2010-\u2015-]+")
_NATIONAL: Final = re.compile(r"0([67][0-9]{8})")
_INTERNATIONAL: Final = re.compile(r"\+[1-9][0-9]{7,14}")


class ChannelKind(Enum):
    """Where a citizen is told."""

    EMAIL = "email"
    MOBILE = "mobile"


def written(kind: ChannelKind, text: str) -> str:
    """An address in its one spelling: `name@example.fr` with its domain in lower case, `+33612345678`.

    Raises Refused `channels.email`, `channels.mobile`.
    """
    told = text.strip()
    if kind is ChannelKind.EMAIL:
        if address_in(told) != told:
            raise Refused("channels.email", "/address")
        name, _, domain = told.rpartition("@")
        return f"{name}@{domain.lower()}"
    digits = _APART.sub("", told)
    if found := _NATIONAL.fullmatch(digits):
        digits = f"+33{found[1]}"
    if not _INTERNATIONAL.fullmatch(digits):
        raise Refused("channels.mobile", "/address")
    return digits


def hinted(kind: ChannelKind, address: str) -> str:
    """Enough to tell one's own addresses apart, and no more: `e…@example.fr`, `+33…78`."""
    if kind is ChannelKind.EMAIL:
        name, _, domain = address.rpartition("@")
        return f"{name[:1]}…@{domain}"
    return f"{address[:3]}…{address[-2:]}"
