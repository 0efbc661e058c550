"""The catalogue as AsyncAPI 3.0: every reference leads somewhere, every payload is the registered schema.

The document was checked by hand against the JSON schema that asyncapi.com publishes, which is not among our packages;
what that schema asks of these parts is asked here.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from schemas import asyncapi, avro, catalogue
from schemas.catalogue import EventSchema
from schemas.confluent import registry_id

EVENTS = list(catalogue.builtin().newest)
DOCUMENT = json.loads(json.dumps(asyncapi.document(catalogue.builtin(), "1.2.3")))
KEY = re.compile(r"[\w.-]+")


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(each)


def at(pointer: str) -> Any:
    found = DOCUMENT
    for step in pointer.removeprefix("#/").split("/"):
        found = found[step]
    return found


def test_it_says_which_version_it_is_of_what():
    assert "3.0.0" == DOCUMENT["asyncapi"]
    assert ("Unefois event types", "1.2.3") == (DOCUMENT["info"]["title"], DOCUMENT["info"]["version"])
    assert {"asyncapi", "info", "defaultContentType", "channels", "operations", "components"} == set(DOCUMENT)


def test_every_reference_leads_to_something_and_every_key_is_one_that_asyncapi_allows():
    for node in nodes({name: DOCUMENT[name] for name in ("channels", "operations")}):
        if "$ref" in node:
            assert {"$ref"} == set(node)
            assert at(node["$ref"])
    for part in (DOCUMENT["channels"], DOCUMENT["operations"], DOCUMENT["components"]["messages"]):
        assert all(KEY.fullmatch(name) for name in part)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.event_type)
class TestOneType:
    """One channel, one operation, one message."""

    def test_is_received_over_a_channel_whose_address_an_administration_chooses(self, event: EventSchema):
        operation = DOCUMENT["operations"][f"receive.{event.event_type}"]
        channel = at(operation["channel"]["$ref"])

        assert "receive" == operation["action"]
        assert channel["address"] is None
        assert [{"$ref": f"{operation['channel']['$ref']}/messages/{event.event_type}"}] == operation["messages"]
        assert event.doc == channel["description"]

    def test_carries_the_registered_schema_in_a_spelling_that_asyncapi_allows(self, event: EventSchema):
        payload = DOCUMENT["components"]["messages"][event.event_type]["payload"]
        told = avro.parse(json.dumps(payload["schema"]).encode())

        assert "application/vnd.apache.avro+json;version=1.9.0" == payload["schemaFormat"]
        assert event.schema.type == told.type
        declared = [node for node in nodes(payload["schema"]) if node.get("type") in ("record", "enum", "fixed")]
        assert all("." not in node["name"] for node in declared)

    def test_names_its_id_in_the_registry_and_how_much_each_field_can_hurt(self, event: EventSchema):
        message = DOCUMENT["components"]["messages"][event.event_type]
        told = message["x-unefois"]

        assert (event.schema.id.hex(), registry_id(event.schema.id)) == (told["schema"], told["registryId"])
        assert {each.name: each.sensitivity.value for each in event.fields} == told["sensitivity"]
        assert "confluent" == message["bindings"]["kafka"]["schemaIdPayloadEncoding"]
        assert list(event.names) == list(message["examples"][0]["payload"])
