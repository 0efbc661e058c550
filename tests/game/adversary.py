"""The adversary: confirms guesses, and where none is confirmed, learns from the rounds before by their structure.

It guesses each round before it is told that round's bit, and is told every bit before the next round: nobody who plays
this game knows more. So each guess is right by chance alone with probability one half, independently, whatever it
learned: the number of successes is exactly binomial where the rounds tell nothing.

It weighs experts by their mistakes (Littlestone and Warmuth): a threshold on each number in both directions, a logistic
regression on all of them, and whoever was right most among them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, sqrt
from random import Random

from tests.game.confirming import confirmed
from tests.game.playing import Round
from tests.game.structure import Numbers, features

DISCOUNT = 0.1
"""What a mistake leaves of an expert's weight."""
RATE = 0.15


@dataclass
class Number:
    """One number over the rounds so far: its mean and its spread."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Welford's way."""
        self.count += 1
        off = value - self.mean
        self.mean += off / self.count
        self.squares += off * (value - self.mean)

    def normal(self, value: float) -> float:
        """The value in spreads from the mean, at most 3; 0 where it was always the same."""
        spread = sqrt(self.squares / self.count) if self.count > 1 else 0.0
        return max(-3.0, min(3.0, (value - self.mean) / spread)) if spread > 1e-9 else 0.0


@dataclass
class Learner:
    """Guesses 0 or 1 from numbers, and is told. `chance` breaks ties."""

    chance: Random
    seen: dict[str, Number] = field(default_factory=dict)
    slopes: dict[str, float] = field(default_factory=dict)
    weights: dict[tuple[str, int], float] = field(default_factory=dict)
    last: dict[tuple[str, int], int] = field(default_factory=dict)

    def guess(self, numbers: Numbers) -> int:
        """Before this round's bit is known."""
        normal = {name: self.seen.setdefault(name, Number()).normal(value) for name, value in numbers.items()}
        self._normal = normal
        self.last = {}
        for name, value in normal.items():
            if value:
                self.last[name, 0], self.last[name, 1] = int(value > 0), int(value < 0)
        self.last["all of them", 0] = int(self._regressed(normal) > 0)
        votes = [0.0, 0.0]
        for expert, said in self.last.items():
            votes[said] += self.weights.setdefault(expert, 1.0)
        return self.chance.randrange(2) if votes[0] == votes[1] else int(votes[1] > votes[0])

    def learn(self, numbers: Numbers, bit: int) -> None:
        """This round's bit, after the guess."""
        for expert, said in self.last.items():
            if said != bit:
                self.weights[expert] *= DISCOUNT
        greatest = max(self.weights.values(), default=1.0)
        self.weights = {expert: weight / greatest for expert, weight in self.weights.items()}
        miss = bit - 1 / (1 + exp(-max(-30.0, min(30.0, self._regressed(self._normal)))))
        for name, value in self._normal.items():
            self.slopes[name] = 0.999 * self.slopes.get(name, 0.0) + RATE * miss * value / sqrt(len(self._normal))
        for name, value in numbers.items():
            self.seen[name].add(value)

    def _regressed(self, normal: Mapping[str, float]) -> float:
        return sum(self.slopes.get(name, 0.0) * value for name, value in normal.items())


def wins(rounds: Sequence[Round], party: str) -> int:
    """How many rounds the adversary wins that holds what this party holds."""
    learners: dict[str, Learner] = {}
    won = 0
    for number, game in enumerate(rounds):
        held = game.held[party]
        learner = learners.setdefault(game.exchange, Learner(Random(number)))
        turned = int(game.acted["A"] > game.acted["B"])  # all is told from the side of who acted first
        numbers = features(game, held)
        learned = learner.guess(numbers) ^ turned
        known = confirmed(game, held)
        won += (learned if known is None else known) == game.bit
        learner.learn(numbers, game.bit ^ turned)
    return won
