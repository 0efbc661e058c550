"""A declaration that a source has signed and nobody has handed in: what a client of its own needs to do so."""

import secrets
import time
from dataclasses import dataclass
from functools import cache

from connectors import key_files
from connectors.blocking import BlockingClient
from schemas import catalogue, cloudevents, samples
from schemas.declaration import Source, declare
from schemas.names import DeclarationId, EventType, Instant, PartyId, uuid7
from schemas.signing import PrivateKey
from tests.agency.conftest import ABOUT, MOVED, Served

SOURCE = PartyId("urn:unefois:events")


@dataclass(frozen=True)
class Signed:
    """An envelope, the attributes of its CloudEvent by the specification's names, and a token to hand it in."""

    envelope: bytes
    attributes: dict[str, str]
    token: str


@cache
def _source(served: Served) -> tuple[PrivateKey, str]:
    """The key of a source of its own, and a token of it."""
    key = key_files.new("ed25519")
    assert isinstance(key, PrivateKey)
    named = ("--name", "E", "--kind", "portal", "--sector", "portal", "--suite", "none")
    served.unefois("party", "add", SOURCE, *named, "--publishes", "address.changed", *ABOUT)
    served.unefois("party", "add-key", SOURCE, key_files.public(key))
    return key, served.token(SOURCE, "publish", "read")


def signed(served: Served) -> Signed:
    """Another declaration of that source."""
    key, token = _source(served)
    at = Instant(time.time_ns() // 1_000_000)
    event, record = catalogue.builtin().by_type(EventType(MOVED)), samples.sample(EventType(MOVED))
    of = DeclarationId(uuid7(at, secrets.token_bytes(10)))
    with BlockingClient.open(served.address, token) as client:
        directory = client.directory()
        envelope = declare(
            Source(SOURCE, (key,), 1), event, record, subject_token=client.resolve(record["subject"]),
            gate=directory.current_sealing_key(directory.broker, at), at=at, lifetime_ms=86_400_000,
            declaration_id=of, entropy=secrets.token_bytes,
        ).encode()  # fmt: skip
    told = cloudevents.declaration(
        SOURCE, EventType(MOVED), event.schema.id, declaration_id=of, issued_at=at, envelope=envelope
    )
    return Signed(envelope, told.attributes(), token)
