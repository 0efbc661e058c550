"""Limits: how many requests a minute an administration may make, how many declarations it may hand in, and how many
requests an address may make before anybody knows who it is.

Refuses: a request beyond its quota, with the seconds to wait. A declaration is counted before its signature is looked
at and before the database is asked for it.
Keeps: a quota refills evenly, so no two bursts meet at a full minute. What an address is charged is given back once the
request was let in: the quota is for those who prove nothing. Counts are of this process alone, and bounded: no request
writes to the database to be counted. An administration that goes beyond its quota is named in the log, once a minute.
Source: draft-ietf-httpapi-ratelimit-headers-11 (`RateLimit-Policy`, `RateLimit`); RFC 9110, 10.2.3 (`Retry-After`).
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from broker.observability.observe import logger
from broker.ports import Clock
from schemas.errors import Refused
from schemas.names import PartyId

WINDOW_SECONDS: Final = 60
KEYS: Final = 10_000
"""Who is remembered by each policy; beyond it, who has not come for the longest time is forgotten."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left of a quota, and the seconds until all of it is there again."""

    policy: str
    quota: int
    left: int
    full_in: int

    def headers(self) -> dict[str, str]:
        """As the answer tells it."""
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.quota};w={WINDOW_SECONDS}',
            "RateLimit": f'"{self.policy}";r={self.left};t={self.full_in}',
        }


class Quota:
    """One policy: `quota` requests for each key in WINDOW_SECONDS, or in `window_seconds`.

    A key has one number: the instant at which all of its quota is there again, in milliseconds times the quota, so that
    nothing is rounded. One request moves it by the window.
    """

    def __init__(self, policy: str, quota: int, clock: Clock, *, window_seconds: int = WINDOW_SECONDS) -> None:
        self._window_ms = window_seconds * 1000
        self._policy = policy
        self._quota = quota
        self._clock = clock
        self._full_at: OrderedDict[str, int] = OrderedDict()
        self._told: OrderedDict[str, int] = OrderedDict()

    def take(self, key: str, cost: int = 1) -> Standing:
        """Charge one request, or as many as it costs, of the whole quota at most. Raises Refused `api.rate` with the
        seconds to wait.
        """
        most, full_at = self._now(key)
        price = self._window_ms * min(cost, self._quota)
        if full_at + price > most:
            self._keep(key, full_at)
            wait = -(-(full_at + price - most) // (self._quota * 1000))
            raise Refused("api.rate", policy=self._policy, limit=self._quota, after=max(1, wait))
        self._keep(key, full_at + price)
        return self.standing(key)

    def say(self, party: PartyId) -> None:
        """That a party is beyond it, once in a window: whoever is woken finds the name in the log."""
        now = self._clock()
        if 0 <= now - self._told.get(party, now - self._window_ms) < self._window_ms:
            return
        self._told[party] = now
        self._told.move_to_end(party)
        if len(self._told) > KEYS:
            self._told.popitem(last=False)
        logger().warning("quota.spent", party=party, limit=self._quota)

    def owe(self, key: str, cost: int) -> Standing:
        """Charge what was done already, of the whole quota at most: who has not so much left waits the longer."""
        most, full_at = self._now(key)
        self._keep(key, min(full_at + self._window_ms * cost, most))
        return self.standing(key)

    def _now(self, key: str) -> tuple[int, int]:
        """The last instant at which all may be there again, and the one at which it is."""
        now = self._clock() * self._quota
        most = now + self._window_ms * self._quota
        return most, min(max(self._full_at.get(key, now), now), most)  # a clock that went back: not for long

    def give_back(self, key: str) -> None:
        """One request was not for this quota to count."""
        if key in self._full_at:
            self._full_at[key] -= self._window_ms

    def standing(self, key: str) -> Standing:
        """What is left, without a charge."""
        now = self._clock() * self._quota
        used = max(0, self._full_at.get(key, now) - now)
        left = max(0, (self._window_ms * self._quota - used) // self._window_ms)
        return Standing(self._policy, self._quota, left, -(-used // (self._quota * 1000)))

    def _keep(self, key: str, full_at: int) -> None:
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > KEYS:
            self._full_at.popitem(last=False)


class Limits:
    """The quotas of one process. 0 requests a minute: no limit."""

    def __init__(self, clock: Clock, *, client: int, address: int, declarations: int) -> None:
        self._client = Quota("client", client, clock) if client else None
        self._address = Quota("address", address, clock) if address else None
        self._declarations = Quota("declarations", declarations, clock) if declarations else None

    def passage(self, address: str) -> "Passage":
        """One request on its way in. Raises Refused `api.rate` when its address has spent its quota."""
        made = Passage(self._client, self._address, address, self._declarations)
        made.enter()
        return made


class Passage:
    """One request: charged to its address, or, once it is known whose it is, to them."""

    def __init__(
        self, client: Quota | None, address: Quota | None, key: str, declarations: Quota | None = None
    ) -> None:
        self._client = client
        self._address = address
        self._key = key
        self._declarations = declarations
        self._charged: tuple[Quota, str] | None = None
        self.standing: Standing | None = None
        """Of the quota that the request was charged to in the end."""

    def enter(self) -> None:
        """Raises Refused `api.rate`."""
        if self._address is not None:
            self.standing = self._address.take(self._key)
            self._charged = self._address, self._key

    def charge(self, cost: int) -> None:
        """So many requests more, before what costs as much as they do. Raises Refused `api.rate`."""
        if self._charged is not None and cost > 0:
            quota, key = self._charged
            try:
                self.standing = quota.take(key, cost)
            except Refused:
                self.standing = quota.standing(key)
                raise

    def hand_in(self, party: PartyId, count: int) -> None:
        """So many declarations of an administration, however many requests bring them. Raises Refused
        `api.rate-declarations`, with the seconds to wait until so many are free.
        """
        if self._declarations is not None:
            try:
                self._declarations.take(party, count)
            except Refused as fault:
                self.standing = self._declarations.standing(party)
                self._declarations.say(party)
                raise Refused(
                    "api.rate-declarations", limit=fault.details["limit"], after=fault.details["after"]
                ) from None

    def owe(self, cost: int) -> None:
        """So many requests more, for what turned out to be worth them once it was done."""
        if self._charged is not None and cost > 0:
            quota, key = self._charged
            self.standing = quota.owe(key, cost)

    def proven(self) -> None:
        """Whoever it is, they proved it: nothing for the address."""
        if self._address is not None:
            self._address.give_back(self._key)
        self.standing = self._charged = None

    def admit(self, party: PartyId) -> None:
        """Charge it to an administration. Raises Refused `api.rate`."""
        self.proven()
        if self._client is not None:
            try:
                self.standing = self._client.take(party)
                self._charged = self._client, party
            except Refused:
                self.standing = self._client.standing(party)
                self._client.say(party)
                raise
