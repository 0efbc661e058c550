"""AsyncAPI: the catalogue as an AsyncAPI 3.0 document, for generators, gateways and portals of messages.

Refuses: to name a topic: each administration chooses where its records travel, so a channel's address is null.
Keeps: what it says is made from the catalogue; a message's payload is the registered schema, found on a topic by
Confluent's header (`schemas.confluent`) and in the registry by the same id. It changes only with the catalogue.
Source: asyncapi.com, specification 3.0.0; Kafka bindings 0.5.0.
"""

import json
from typing import Any, Final

from schemas import samples
from schemas.catalogue import Catalogue, EventSchema
from schemas.confluent import registry_id

VERSION: Final = "3.0.0"
AVRO: Final = "application/vnd.apache.avro+json;version=1.9.0"
CONTENT_TYPE: Final = "application/vnd.apache.avro"


def document(catalogue: Catalogue, version: str) -> dict[str, Any]:
    """The document; `version` is that of the program whose catalogue it is."""
    newest = {event.event_type: event for event in catalogue}
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Unefois event types",
            "version": version,
            "description": (
                "What an administration holds once it has opened a delivery: one record for each declaration. Fields "
                "that the citizen did not allow are not in a delivery; a whole record has all of them."
            ),
            "license": {"name": "EUPL-1.2", "url": "https://eupl.eu/1.2/en/"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {str(name): _channel(event) for name, event in newest.items()},
        "operations": {f"receive.{name}": _operation(event) for name, event in newest.items()},
        "components": {"messages": {str(name): _message(event) for name, event in newest.items()}},
    }


def _channel(event: EventSchema) -> dict[str, Any]:
    name = event.event_type
    return {
        "address": None,
        "title": event.label["en"],
        "description": event.doc,
        "messages": {str(name): {"$ref": f"#/components/messages/{name}"}},
    }


def _operation(event: EventSchema) -> dict[str, Any]:
    name = event.event_type
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": f"{event.label['en']} ({event.label['fr']})",
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
    }


def _message(event: EventSchema) -> dict[str, Any]:
    return {
        "name": str(event.event_type),
        "title": event.label["en"],
        "summary": event.doc,
        "contentType": CONTENT_TYPE,
        "payload": {"schemaFormat": AVRO, "schema": _split(json.loads(event.schema.raw))},
        "bindings": {
            "kafka": {
                "schemaIdLocation": "payload",
                "schemaIdPayloadEncoding": "confluent",
                "schemaLookupStrategy": "RecordNameStrategy",
                "bindingVersion": "0.5.0",
            }
        },
        "examples": [{"name": "sample", "payload": samples.as_json(samples.sample(event.event_type), nulls=True)}],
        "x-unefois": {
            "schema": event.schema.id.hex(),
            "registryId": registry_id(event.schema.id),
            "usesTerritories": event.uses_territories,
            "sensitivity": {each.name: each.sensitivity.value for each in event.fields},
        },
    }


def _split(node: Any) -> Any:
    """An Avro schema whose full names are told as name and namespace: AsyncAPI's own schema knows no dots in a name."""
    if isinstance(node, list):
        return [_split(each) for each in node]
    if not isinstance(node, dict):
        return node
    told = {name: _split(each) if name in _INSIDE else each for name, each in node.items()}
    if told.get("type") in _NAMED and "." in told["name"]:
        space, _, name = told["name"].rpartition(".")
        told |= {"name": name, "namespace": space}
    return told


_INSIDE: Final = frozenset({"type", "fields", "items", "values"})
_NAMED: Final = ("record", "enum", "fixed")
