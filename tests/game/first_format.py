"""The adversary of the first format, whose entries were read in clear: it hashes its own manifest, and looks.

A party without A's and B's manifests has seen when they acted: entries told that to the millisecond.
"""

from collections.abc import Sequence

from schemas.facts import FactKind, Facts
from tests.game.playing import Held, Round
from tests.world import CAF

TELLING = {
    "heard": FactKind.PLANNED,
    "alone": FactKind.PLANNED,
    "refused": FactKind.WITHHELD,
    "ended": FactKind.REVOKED,
    "given": FactKind.GRANTED,
    "narrowed": FactKind.CHANGED,
    "sheltered": FactKind.REVOKED,
}
"""The entry about CAF that answers each exchange's question."""


def guess(game: Round, held: Held) -> int:
    """Whose entry it is: A's (0) or B's (1)."""
    entries = game.first_format
    (telling,) = (one for one in entries if one.kind is TELLING[game.exchange] and one.recipient == CAF)
    return int(_whose(telling, entries, game, held) == "B")


def wins(rounds: Sequence[Round], party: str) -> int:
    """How many rounds this party would have won."""
    return sum(guess(game, game.held[party]) == game.bit for game in rounds)


def _whose(telling: Facts, entries: Sequence[Facts], game: Round, held: Held) -> str:
    named = {telling.declaration}
    if telling.grant is not None:
        named |= {one.declaration for one in entries if one.grant == telling.grant}
    for who in "AB":
        if who in held.digests and held.digests[who] in named:
            return who
    moments = game.declared if telling.declaration else game.acted
    return min("AB", key=lambda who: abs(telling.at - moments[who]))
