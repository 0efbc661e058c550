"""Channel checks: each channel is as the ledger tells, its address opens, and what the ledger tells a citizen waits for
each of their channels, or was sent: whoever takes a message away keeps somebody from hearing that another speaks for
them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row

from broker.ended import Ended
from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.parts import Part
from broker.maintenance.checks.told import Told
from broker.messages.channels import Channel, channel_of, obeyed
from broker.messages.news import news_of
from broker.messages.outbox import id_of, key_of
from broker.messages.sealing import ChannelSeals
from broker.store.rows.digests import row_digest
from broker.store.rows.macs import RowMacs
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind, Facts
from schemas.names import Instant

KEPT_MS: Final = 30 * 86_400_000
"""Messages of older news may be gone: the setting is twice that at least."""
SKEW_MS: Final = 60_000
"""By so much the clocks of two processes may differ: what one wrote before a channel was there may look younger."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Up to which place of the ledger news was planned; and the instant of this look."""

    until: int
    at: Instant


_CHANGES: Final = frozenset({FactKind.CHANNEL_ADDED, FactKind.CHANNEL_ENDED})


def check_macs(part: Part, macs: RowMacs) -> Iterator[Finding]:
    """Every channel and message of a part."""
    for row in part.of("channels"):
        if not macs.holds("channels", row._mapping):
            yield Finding("channels.mac", _place(row), "the broker did not write this row as it is: nothing goes there")
    for row in part.of("messages"):
        if not macs.holds("messages", row._mapping):
            place = f"messages/{bytes(row.id).hex()}"
            yield Finding("messages.mac", place, "the broker did not write this row as it is: it is not sent")


def check(part: Part, entries: Iterable[Facts], seals: ChannelSeals, erased: Instant) -> Iterator[Finding]:
    """Channels against what the ledger says of their citizens; up to `erased` it may say no more."""
    rows = part.of("channels")
    changes = [one for one in entries if one.kind in _CHANGES]
    said = {(one.kind, one.detail) for one in changes}
    for row in rows:
        whole = row._mapping
        wanted = [(FactKind.CHANNEL_ADDED, row_digest("channels", {**whole, "ended_at": None}), row.held_since)]
        if row.ended_at is not None:
            wanted.append((FactKind.CHANNEL_ENDED, row_digest("channels", whole), row.ended_at))
        if any((kind, digest) not in said and at > erased for kind, digest, at in wanted):
            yield Finding("channels.untold", _place(row), "the ledger does not tell of this channel as it is")
    living = sum(1 for row in rows if row.ended_at is None)
    added = sum(1 for one in changes if one.kind is FactKind.CHANNEL_ADDED)
    if added - (len(changes) - added) > living:
        yield Finding("channels.lost", "channels", "the ledger tells of a channel that has not ended, and is not there")
    for row in rows:
        try:
            one = channel_of(row)
            seals.open(one.id, one.subject, one.kind, one.sealed)
        except (Corrupt, Refused, ValueError):
            yield Finding("channels.damaged", _place(row), "its address does not open")


def check_told(part: Part, told: Sequence[Told], macs: RowMacs, ended: Ended, planned: Planned) -> Iterator[Finding]:
    """What the ledger told lately, up to where news was planned, has its message for each channel that counts."""
    theirs: dict[bytes, list[Channel]] = {}
    for row in part.of("channels"):
        if macs.holds("channels", row._mapping):
            theirs.setdefault(row.subject, []).append(obeyed(channel_of(row), ended))
    if not theirs:
        return
    there = {bytes(row.id) for row in part.of("messages")}
    declared = {row.manifest_digest: row.subject for row in part.of("declarations")}
    subjects = {row.id: row.subject for row in part.of("told")}
    for one in told:
        facts, subject = one.facts, subjects.get(one.id)
        if facts is None or subject is None or one.position is None or not 0 <= one.position < planned.until:
            continue
        news = news_of(facts)
        if news is None or facts.at <= planned.at - KEPT_MS:
            continue
        if facts.declaration is not None and declared.get(facts.declaration) != subject:
            continue
        for to in theirs.get(subject, ()):
            held = to.held_at(facts.at) and facts.at - to.held_since > SKEW_MS
            if held and id_of(to.id, key_of(news, facts)) not in there:
                wrong = f"the message that tells of {one.place} is gone"
                yield Finding("messages.lost", f"channels/{to.id.hex()}", wrong)


def _place(row: Row[Any]) -> str:
    """By its own id: whose it is, is nobody's business."""
    return f"channels/{bytes(row.id).hex()}"
