"""Citizens who are told: a home with ways out, as a process of its own would have it, and what arrives."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import func, select

from broker.messages.addresses import ChannelKind
from broker.messages.channels import Channel
from broker.messages.mail import MailServer
from broker.messages.sending import Sent
from broker.messages.ways import ByMail, Message, Way
from broker.setup.wiring import Home
from broker.store.message_tables import messages
from schemas.errors import Fault
from schemas.messages import Language
from schemas.names import DeclarationId
from tests.services.mailserver import Desk, serving
from tests.world import CAF, ELISE, FAMILY, MOVED, World

EMAIL, MOBILE = ChannelKind.EMAIL, ChannelKind.MOBILE
RECEIVED = "Une déclaration a été reçue."
APPLIED = "Une administration a enregistré votre déclaration."
WITHHELD = "Votre déclaration n'est pas transmise à une administration : une décision de votre part est nécessaire."
LATE = "Une administration n'a pas encore répondu à votre déclaration."
ADDED = "Une adresse ou un numéro où vous prévenir a été ajouté. Si ce n'est pas vous, signalez-le."
REMOVED = "Une adresse ou un numéro où vous prévenir a été retiré. Si ce n'est pas vous, signalez-le."
FROM = "unefois@broker.example"


class Taken:
    """What stands for a way; `faults` are raised one after the other, then it takes everything."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = list(faults)
        self.taken: list[Message] = []

    async def send(self, message: Message) -> None:
        """One message."""
        if self.faults:
            raise self.faults.pop(0)
        self.taken.append(message)

    @property
    def heard(self) -> list[tuple[str, str]]:
        """To whom, and the first sentence."""
        return [(one.to, sentence_of(one.text)) for one in self.taken]


def sentence_of(text: str) -> str:
    """The sentence of an e-mail that says what is new."""
    return text.split("\n\n")[1]


def with_ways(here: World, ways: Mapping[ChannelKind, Way], **settings: Any) -> Home:
    """The same home with other ways: its parts about messages are new, as those of another process are."""
    home = here.home
    made = Home(
        home.settings.model_copy(update=settings),
        store=home.store,
        log=home.log,
        keys=home.keys,
        endings=home.endings,
        clock=home.clock,
        entropy=home.entropy,
    )
    made.__dict__["ways"] = ways
    return made


def by_mail(here: World, way: Way, **settings: Any) -> Home:
    """With e-mail alone."""
    return with_ways(here, {EMAIL: way}, **settings)


@asynccontextmanager
async def mailbox(here: World, desk: Desk) -> AsyncIterator[Home]:
    """A home that tells by a mail server, which is there as long as the block."""
    async with serving(desk) as port:
        yield by_mail(here, ByMail(MailServer("127.0.0.1", port, "none", FROM)))


async def held(
    here: World,
    home: Home,
    address: str = "elise@example.fr",
    kind: ChannelKind = EMAIL,
    language: Language = "fr",
    person: dict[str, Any] = ELISE,
) -> Channel:
    """A channel of a person."""
    return (await home.channels.add(here.subject(person), kind, address, language)).channel


async def tell(here: World, home: Home) -> list[Sent]:
    """Order the ledger, and one step of the sender."""
    await here.home.ledger.sequence_unfinished()
    return list(await home.sending.step())


def line_of(told: str) -> dict[str, str]:
    """What a way for trials has written."""
    found: dict[str, str] = json.loads(told)
    return found


async def moved(here: World) -> DeclarationId:
    """A declaration that one administration may have."""
    await here.give(CAF, MOVED, FAMILY, ("subject", "new_address"))
    return (await here.declare(MOVED, here.moved())).declaration_id


async def quiet(here: World, way: Taken, **settings: Any) -> Any:
    """A home whose citizen has an address, and has heard of that."""
    home = by_mail(here, way, **settings)
    await held(here, home)
    await tell(here, home)
    way.taken.clear()
    return home


async def count(here: World) -> int:
    async with here.home.store.read() as tx:
        return (await tx.execute(select(func.count()).select_from(messages))).scalar_one()


async def channels_of(here: World, home: Any) -> list[Any]:
    async with here.home.store.read() as tx:
        return list(await home.channels.of(tx, [here.subject()]))
