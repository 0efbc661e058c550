"""Structure: what can be counted and measured in a window without opening anything, as numbers.

Everything is told from the side of who acted first (everybody saw who that was): which kinds come how often, in which
order the steps of the deliveries stand to each other, where own entries stand among them, how long entries are, which
window they name, when checkpoints came.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product

from schemas.entry import Entry, EntryKind
from schemas.names import Instant
from tests.game.playing import Held, Round
from tests.world import CAF, CPAM

KINDS = tuple(kind for kind in EntryKind if kind is not EntryKind.OPEN)
STEPS = (EntryKind.PLANNED, EntryKind.RELEASED, EntryKind.CLOSED, EntryKind.APPLIED)
Numbers = dict[str, float]


def features(game: Round, held: Held) -> Numbers:
    """All of it, by name; a round of one exchange always has the same names."""
    own = {one.leaf: who for who, one in held.own}
    first, second = sorted("AB", key=game.acted.__getitem__)
    placed = [(at, entry, own.get(game.leaves[at])) for at, entry in enumerate(game.entries)]
    others = [(at, entry) for at, entry, who in placed if who is None]
    found = dict(_counts(game, others))
    found |= _ranks(others)
    found |= _places(placed, others, first, second)
    found |= _windows(game, others, first, second)
    found |= _bytes(others)
    found |= _status(held, first)
    for number, (size, at) in enumerate(game.checkpoints):
        found |= {f"checkpoint {number} size": size, f"checkpoint {number} time": at}
    return found


def _counts(game: Round, others: Sequence[tuple[int, Entry]]) -> Iterator[tuple[str, float]]:
    for kind in EntryKind:
        yield f"{kind.value} count", sum(entry.kind is kind for entry in game.entries)
    tags = Counter(entry.tag for _, entry in others if entry.tag)
    for often in range(1, 6):
        yield f"tags {often} times", sum(count == often for count in tags.values())
    for kind in KINDS:
        lengths = [game.lengths[at] for at, entry in others if entry.kind is kind] or [0]
        yield f"{kind.value} shortest", min(lengths)
        yield f"{kind.value} longest", max(lengths)


def _ranks(others: Sequence[tuple[int, Entry]]) -> Numbers:
    """Which of the deliveries, in the order of their plans, takes the first, second, ... of each later step, and how
    much the orders of two steps contradict each other.
    """
    orders: dict[EntryKind, list[bytes]] = {kind: [] for kind in STEPS}
    again: list[bytes] = []
    for _, entry in others:
        if entry.kind in orders and entry.tag is not None:
            twice = entry.kind is EntryKind.PLANNED and entry.tag in orders[entry.kind]
            (again if twice else orders[entry.kind]).append(entry.tag)
    planned = orders[EntryKind.PLANNED]
    found: Numbers = {}
    for name, order in (("released", EntryKind.RELEASED), ("closed", EntryKind.CLOSED), ("applied", EntryKind.APPLIED)):
        found |= _against(name, orders[order], planned)
    found |= _against("planned again", again, planned)
    ends = [tag for tag in planned if tag not in orders[EntryKind.RELEASED]]
    return found | _against("never released", ends, planned)


def _against(name: str, order: Sequence[bytes], planned: Sequence[bytes]) -> Numbers:
    ranks = [planned.index(tag) for tag in order if tag in planned]
    found: Numbers = {f"{name} {number} of plan": rank for number, rank in enumerate(ranks[:6])}
    pairs = [(one, other) for at, one in enumerate(ranks) for other in ranks[at + 1 :]]
    found[f"{name} inversions"] = sum(one > other for one, other in pairs)
    for number, rank in enumerate(ranks[:4]):
        found[f"{name} {number} in the first half"] = rank < len(planned) / 2
        found[f"{name} {number} is even"] = rank % 2
    return found


def _places(
    placed: Sequence[tuple[int, Entry, str | None]], others: Sequence[tuple[int, Entry]], first: str, second: str
) -> Numbers:
    """Where each kind stands, by itself, and to what is known to be of the first and of the second citizen."""
    found: Numbers = {}
    mine = {who: [at for at, _, whose in placed if whose == who] for who in (first, second, "C")}
    for kind in KINDS:
        at = [place for place, entry in others if entry.kind is kind]
        if not at:
            continue
        found |= {f"{kind.value} first": at[0], f"{kind.value} last": at[-1], f"{kind.value} mean": sum(at) / len(at)}
        for side, who in (("first", first), ("second", second), ("third", "C")):
            if mine[who]:
                found[f"{kind.value} from {side}'s"] = min(abs(one - own) for one in at for own in mine[who])
                found[f"{kind.value} before {side}'s"] = sum(one < own for one in at for own in mine[who])
        if mine[first] and mine[second]:
            near = sum(_nearest(one, mine[first]) < _nearest(one, mine[second]) for one in at)
            found[f"{kind.value} nearer to first's"] = near
    for number, place in enumerate([at for at, entry, _ in placed if entry.kind is EntryKind.OPEN][:2]):
        for kind in KINDS:
            found[f"{kind.value} before open {number}"] = sum(at < place for at, entry in others if entry.kind is kind)
    for side, who in (("first", first), ("second", second)):
        for number, place in enumerate(mine[who][:4]):
            found[f"own {side} {number}"] = place
            for step in (-1, 1):
                kind = placed[place + step][1].kind if 0 <= place + step < len(placed) else None
                found[f"own {side} {number} {step:+}"] = -1 if kind is None else list(EntryKind).index(kind)
    return found


def _nearest(place: int, own: Sequence[int]) -> int:
    return min(abs(place - each) for each in own)


def _windows(game: Round, others: Sequence[tuple[int, Entry]], first: str, second: str) -> Numbers:
    """Whether what entries name as their window is nearer to when the one acted, or the other, or to a pull."""
    found: Numbers = {}
    starts = sorted({entry.window for entry in game.entries})
    for kind, (number, start) in product(KINDS, enumerate(starts[:3])):
        found[f"{kind.value} in window {number}"] = sum(
            entry.kind is kind and entry.window == start for _, entry in others
        )
    for kind in KINDS:
        windows = [entry.window for _, entry in others if entry.kind is kind]
        for name, moments in (("acted", game.acted), ("declared", game.declared)):
            nearer = sum(abs(one - moments[first]) < abs(one - moments[second]) for one in windows)
            found[f"{kind.value} window {name}"] = nearer
        found[f"{kind.value} windows"] = len(set(windows))
    for step in (EntryKind.RELEASED, EntryKind.CLOSED):
        tags = _by_window(others, step, game.pulled[CAF], game.pulled[CPAM])
        for name, moments in (("acted", game.acted), ("declared", game.declared)):
            plans = [entry.window for _, entry in others if entry.kind is EntryKind.PLANNED and entry.tag in tags]
            nearer = sum(abs(one - moments[first]) < abs(one - moments[second]) for one in plans)
            found[f"{step.value} to CAF {name}"] = nearer
    return found


def _by_window(others: Sequence[tuple[int, Entry]], step: EntryKind, caf: Instant, cpam: Instant) -> set[bytes | None]:
    """The deliveries whose step is nearer to CAF's pull than to CPAM's."""
    return {
        entry.tag for _, entry in others if entry.kind is step and abs(entry.window - caf) < abs(entry.window - cpam)
    }


def _bytes(others: Sequence[tuple[int, Entry]]) -> Numbers:
    """The bytes themselves: whether they grow with the order, repeat, or lean to one side."""
    found: Numbers = {}
    for name in ("tag", "content", "facts"):
        values = [value for _, entry in others if (value := getattr(entry, name)) is not None]
        if values:
            found[f"{name} mean"] = sum(value[0] for value in values) / len(values)
            found[f"{name} growing"] = sum(one < other for one, other in pairwise(values))
            found[f"{name} different"] = len(set(values))
            found[f"{name} bits"] = sum(int.from_bytes(value, "big").bit_count() for value in values)
    return found


def _status(held: Held, first: str) -> Numbers:
    """How many heard of the one's declaration and not of the other's, by the status API."""
    found: Numbers = {}
    for number in range(0, len(held.status), 2):
        a, b = held.status[number], held.status[number + 1]
        one, other = (a, b) if first == "A" else (b, a)
        found[f"status {number} more"] = sum(one.values()) - sum(other.values())
        for state in ("sent", "in-progress", "done", "received"):
            found[f"status {number} {state}"] = _of(one, state) - _of(other, state)
    return found


def _of(told: Mapping[str, int], state: str) -> int:
    return told.get(state, 0)
