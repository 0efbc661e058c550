"""Agencies' endpoints, and a mail server, for tests, without a network: they answer as they are told."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from broker.maintenance.expiry_letters import ExpiryLetters
from broker.messages.mail import Letter, Mail
from broker.outbound import Outbound, Reply
from broker.webhooks.notices import Notices
from broker.webhooks.telling import Outcome, Telling
from schemas.errors import Fault
from tests.world import World


@dataclass(frozen=True)
class Heard:
    """One request."""

    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        """The message."""
        return json.loads(self.body)


Answer = Callable[[Heard], Reply | Fault]


def echo(heard: Heard) -> Reply:
    """As a good endpoint answers."""
    told = heard.told["data"].get("challenge")
    return Reply(200, {}, json.dumps({"challenge": told}).encode() if told else b"", whole=True)


def status(number: int, **headers: str) -> Answer:
    """An answer of this status, with these headers."""
    return lambda _: Reply(number, {name.replace("_", "-"): told for name, told in headers.items()}, b"", whole=True)


class Endpoints(Outbound):
    """What stands for the network; `answers` are given one after the other, then `echo` for ever."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__()
        self.answers = list(answers)
        self.heard: list[Heard] = []

    async def call(self, method: str, url: str, **told: Any) -> Reply:
        """One request."""
        heard = Heard(url, told["headers"], told["body"])
        self.heard.append(heard)
        answer = self.answers.pop(0) if self.answers else echo
        reply = answer(heard)
        if isinstance(reply, Fault):
            raise reply
        return reply


def telling(here: World, endpoints: Outbound) -> Telling:
    """A sender of this home, as a process of its own would have."""
    home = here.home
    return Telling(
        store=home.store,
        rows=home.rows,
        hooks=home.webhooks,
        outbound=endpoints,
        clock=home.clock,
        entropy=home.entropy,
    )


async def send(here: World, endpoints: Outbound) -> list[Outcome]:
    """Send what is due, and note it."""
    sender = telling(here, endpoints)
    outcomes, _ = await sender.step()
    return [*outcomes, *await sender.finish()]


class Letters:
    """What stands for a mail server; `faults` are raised one after the other, then it takes everything."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = list(faults)
        self.taken: list[Letter] = []

    async def send(self, letter: Letter) -> None:
        """One letter."""
        if self.faults:
            raise self.faults.pop(0)
        self.taken.append(letter)


def expiry_letters(here: World, mail: Mail) -> ExpiryLetters:
    """Who warns of ends by mail, as a process of its own would."""
    home = here.home
    return ExpiryLetters(
        store=home.store,
        lookup=home.lookup,
        credentials=home.credentials,
        time=home.timekeeping,
        mail=mail,
        name="Unefois",
        contact="u@broker.example",
        clock=home.clock,
    )


def notices(here: World, letters: Letters) -> Notices:
    """Who tells by mail, as a process of its own would."""
    home = here.home
    return Notices(
        store=home.store, rows=home.rows, mail=letters, name="Unefois", contact="u@broker.example", clock=home.clock
    )
