"""Witnesses for tests, without a network: real ones, in folders, asked as the log would ask them over HTTP."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from broker.outbound import Outbound, Reply
from broker.store.engine import Store
from broker.store.rows.macs import RowMacs
from broker.transparency import witness as witnesses
from broker.transparency.cosigning import Cosigning
from broker.transparency.witness import STORE, Witness
from broker.web.public.witnessing import STATUSES
from schemas.errors import Refused
from schemas.note import VerifierKey
from schemas.signing import Algorithm, PrivateKey
from schemas.witnessing import Known
from tests.world import START, World

Answer = Callable[[bytes], Reply]


class Reached(Outbound):
    """What stands for the network: an answer for each address."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[str, Answer] = {}
        self.asked: list[tuple[str, bytes]] = []

    async def call(self, method: str, url: str, **told: Any) -> Reply:
        """One request."""
        self.asked.append((url, told["body"]))
        return self.at[url](told["body"])


def answering(witness: Witness) -> Answer:
    """As `broker.web.public.witnessing` answers."""

    def answer(body: bytes) -> Reply:
        try:
            return Reply(200, {}, witness.add(body), whole=True)
        except Refused as fault:
            status = STATUSES.get(fault.code, 400)
            size = f"{fault.details['size']}\n".encode() if status == 409 else b""
            return Reply(status, {}, size, whole=True)

    return answer


def key_of(number: int) -> PrivateKey:
    """A witness's key."""
    return PrivateKey.from_raw(Algorithm.ED25519, bytes([100 + number] * 32))


def made(folder: Path, number: int) -> VerifierKey:
    """A witness in a folder, made where it is not there."""
    name = f"witness.example/{number}"
    if not (folder / STORE).exists():
        return witnesses.create(folder, name, key_of(number))
    return VerifierKey.of(name, key_of(number), witnesses.KeyType.COSIGNATURE_ED25519)


@contextmanager
def witnessed(
    folder: Path, here: World, count: int = 1, *, quorum: int = 1, stale_ms: int = 0, reached: Reached | None = None
) -> Iterator[Cosigning]:
    """A home's cosigning with as many witnesses of its ledger, reached through `reached`."""
    network, home = reached or Reached(), here.home
    log = home.ledger.verifier_key
    with ExitStack() as stack:
        known = []
        for number in range(count):
            one = Known(made(folder / str(number), number), f"https://witness{number}.example")
            opened = stack.enter_context(Witness.open(folder / str(number), (log,), here.clock))
            address = f"{one.url}/add-checkpoint"
            if address not in network.at:
                network.at[address] = answering(opened)
                stack.callback(network.at.pop, address)
            known.append(one)
        yield Cosigning(
            store=home.store,
            outbound=network,
            macs=home.macs,
            log=log,
            witnesses=known,
            quorum=quorum,
            stale_ms=stale_ms,
            clock=home.clock,
            entropy=home.entropy,
        )


def unwitnessed(store: Store, log: VerifierKey) -> Cosigning:
    """The cosigning of a ledger that has no witnesses."""
    return Cosigning(
        store=store,
        outbound=Reached(),
        macs=RowMacs(None),
        log=log,
        witnesses=(),
        quorum=0,
        stale_ms=0,
        clock=lambda: START,
        entropy=bytes,
    )
