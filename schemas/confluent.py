"""Confluent's wire header and registry ids: how a topic that carries plain Avro names the schema of each record.

    u8 0 | u32 id | Avro record

Refuses: another first byte, an id that no registry gives, a message without a record; two schemas with one id.
Keeps: a schema's id follows from its own bytes, so that every process, version and broker gives the same: the first
four bytes of its SHA-256 without the top bit. The catalogue's ids do not collide, as `registry_ids` sees.
Source: Confluent Schema Registry, "Wire format". Our own envelopes carry the whole SHA-256 and need no header.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from schemas.catalogue import EventSchema
from schemas.errors import Refused
from schemas.names import SchemaId

MAGIC: Final = 0
HEADER_BYTES: Final = 5
ID_MAX: Final = 2**31 - 1
"""A registry's ids are positive 32-bit integers with a sign."""


def registry_id(schema: SchemaId) -> int:
    """The id of a schema: the first four bytes of its SHA-256, big-endian, without the top bit.

    Raises Refused("confluent.id") where that is 0.
    """
    return _checked(int.from_bytes(schema[:4], "big") & ID_MAX)


def registry_ids(schemas: Iterable[EventSchema]) -> Mapping[int, EventSchema]:
    """The schemas by their ids. Raises Refused("confluent.collision") where two have one."""
    found: dict[int, EventSchema] = {}
    for each in schemas:
        number = registry_id(each.schema.id)
        if found.setdefault(number, each) != each:
            raise Refused("confluent.collision", id=number, type=each.event_type)
    return found


def frame(number: int, record: bytes) -> bytes:
    """An Avro record behind the header with its schema's id. Raises Refused: `confluent.id`, `confluent.no-record`."""
    if not record:
        raise Refused("confluent.no-record")
    return bytes((MAGIC,)) + _checked(number).to_bytes(4, "big") + record


def unframe(message: bytes) -> tuple[int, bytes]:
    """The schema's id and the Avro record, which is still to be decoded strictly (`avro.decode`).

    Raises Refused: `confluent.magic`, `confluent.id`, `confluent.no-record`.
    """
    if not message or message[0] != MAGIC:
        raise Refused("confluent.magic", length=len(message))
    if len(message) <= HEADER_BYTES:
        raise Refused("confluent.no-record")
    return _checked(int.from_bytes(message[1:HEADER_BYTES], "big")), message[HEADER_BYTES:]


def _checked(number: int) -> int:
    if not 0 < number <= ID_MAX:
        raise Refused("confluent.id")
    return number
