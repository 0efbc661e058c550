"""The registry as franz-go's and kafkajs' clients see it; test_real_clients and test_examples have Confluent's own."""

import json
from base64 import b64encode

import pytest

from schemas import avro, catalogue, confluent, samples
from schemas.names import EventType
from tests.agency.conftest import MOVED, Served
from tests.agency.foreign.clients import Room

EVENT = catalogue.builtin().by_type(EventType(MOVED))
RECORD = samples.sample(EventType(MOVED))
NUMBER = confluent.registry_id(EVENT.schema.id)
MESSAGE = b64encode(confluent.frame(NUMBER, avro.encode(EVENT.schema, RECORD))).decode()


@pytest.mark.parametrize("subject", [EVENT.schema.name, f"{EVENT.schema.name}-value"])
def test_franz_go_finds_each_schema_in_every_way_and_knows_each_refusal_by_its_name(
    room: Room, served: Served, subject: str
) -> None:
    other = {"type": "record", "name": "other", "fields": [{"name": "one", "type": "string"}]}
    told = {"address": f"{served.address}/registry", "subject": subject, "message": MESSAGE, "other": json.dumps(other)}

    seen = room.run("franz-go's registry client", **told)

    assert ([*seen.pop("versions")][-1], NUMBER) == (seen.pop("version"), seen.pop("id"))
    count, named = len(catalogue.builtin().newest), int(subject == EVENT.schema.name)
    assert {
        "contexts": 1,
        "subjects": count,
        "named": named,
        "schemas": len(catalogue.builtin().schemas),
        "some": 2,
    } == seen.pop("lists")
    assert EVENT.schema.raw.decode() == seen.pop("schema")
    assert {
        "types": ["AVRO"],
        "references": 0,
        "level": "FULL_TRANSITIVE",
        "mode": "READONLY",
        "errors": {
            "subject": "SUBJECT_NOT_FOUND",
            "version": "VERSION_NOT_FOUND",
            "id": "SCHEMA_NOT_FOUND",
            "look up": "SCHEMA_NOT_FOUND",
            "register": "OPERATION_NOT_PERMITTED",
            "delete": "OPERATION_NOT_PERMITTED",
            "invalid": "INVALID_SCHEMA",
        },
    } == seen


def test_kafkajs_client_reads_a_framed_record_and_frames_it_again_byte_for_byte(room: Room, served: Served) -> None:
    told = {"address": f"{served.address}/registry", "subject": EVENT.schema.name, "message": MESSAGE}

    seen = room.run("kafkajs' registry client", **told)

    assert [NUMBER, NUMBER] == seen["ids"]
    assert (RECORD["new_address"]["city"], MESSAGE) == (seen["city"], seen["message"])
    assert "BACKWARD != FULL_TRANSITIVE" in seen["before"]  # what it expects when it is told nothing
    assert (404, 422) == (seen["unknown"], seen["refused"])
