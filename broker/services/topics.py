"""Topics: which administrations are served by topics on Kafka, and what Kafka lacks for it.

Refuses: what `broker.topics` refuses; to plan without a Kafka (`topics.no-kafka`).
Keeps: one call is one transaction; a plan changes nothing.
"""

from broker.setup.opening import cluster_of
from broker.setup.wiring import Home
from broker.topics import plan as plans
from broker.topics.plan import Looked
from broker.topics.served import TopicUser, users
from broker.topics.wanted import Step
from schemas.names import PartyId


async def allow(home: Home, party: PartyId, principal: str, *, receives: bool, declares: bool) -> TopicUser:
    """Serve a party by topics from now on. `principal`: as Kafka knows it. Raises Refused `topics.*`."""
    async with home.store.begin() as tx:
        return await home.topic_users.allow(tx, party, principal, receives=receives, declares=declares, at=home.clock())


async def end(home: Home, party: PartyId) -> TopicUser:
    """Serve a party by topics no more; what waits is in its mailbox. Raises Refused `topics.*`."""
    async with home.store.begin() as tx:
        return await home.topic_users.end(tx, party, home.clock())


async def every(home: Home) -> list[TopicUser]:
    """Who is served by topics, and who was."""
    async with home.store.read() as tx:
        return list(await users(tx, home.rows, ended=True))


async def begin_again(home: Home, party: PartyId) -> None:
    """Read a source's topic from its beginning. Raises Refused `topics.*`."""
    await home.inlet.begin_again(party)


async def plan(home: Home) -> Looked:
    """What topics and rights lack on Kafka, or have too much. Raises Refused: `topics.*`, `kafka.*`; Unavailable."""
    return await plans.plan(home.store, home.rows, cluster_of(home.settings), plans.shape_of(home.settings))


async def apply(home: Home) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Make what the plan lacks. Returns what was done, and what is left to a person. Raises as `plan`."""
    looked = await plan(home)
    return await plans.apply(cluster_of(home.settings), looked), plans.left(looked.steps)
