"""Clients that we did not write, against a process of `unefois serve`: Confluent's registry client and reader, the SDK
of CloudEvents, joserfc as an OAuth2 client. Webhooks by the standard's library are in test_webhooks_served, curl in
docs/agency/first-event.md.
"""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from joserfc import jwt
from joserfc.jwk import OKPKey

from schemas import avro, catalogue, confluent, samples
from schemas.names import EventType
from tests.agency.conftest import MOVED, TOWN, Served
from tests.agency.declared import signed

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def test_confluents_client_reads_the_registry_and_its_reader_a_framed_record(served: Served) -> None:
    event = catalogue.builtin().by_type(EventType(MOVED))
    record = samples.sample(EventType(MOVED))
    message = confluent.frame(confluent.registry_id(event.schema.id), avro.encode(event.schema, record))

    with SchemaRegistryClient({"url": f"{served.address}/registry"}) as client:
        assert event.schema.name in client.get_subjects()
        assert event.schema.raw.decode() == client.get_latest_version(event.schema.name).schema.schema_str
        found = AvroDeserializer(client)(message, SerializationContext("moves", MessageField.VALUE))

    assert record["new_address"] == found["new_address"]


@pytest.mark.parametrize("mode", [http.to_structured, http.to_binary])
def test_an_event_of_the_cloudevents_sdk_is_taken(served: Served, mode: Any) -> None:
    made = signed(served)
    event = CloudEvent({**made.attributes, "time": datetime.fromisoformat(made.attributes["time"])}, made.envelope)
    message = mode(event, JSONFormat())

    headers = {**message.headers, "Authorization": f"Bearer {made.token}"}
    answer = httpx2.post(f"{served.address}/v1/declarations", content=message.body, headers=headers)

    assert (202, event.get_id()) == (answer.status_code, answer.json()["declaration"])


def test_an_oauth_client_on_joserfc_gets_a_token_once_for_each_assertion(served: Served, tmp_path: Path) -> None:
    key = OKPKey.generate_key("Ed25519")
    (tmp_path / "client.jwk").write_text(json.dumps(key.as_dict(private=False)))
    served.unefois("token", "pin", TOWN, tmp_path / "client.jwk", "--scope", "receive", "--scope", "read")
    now = int(time.time())
    claims = {"iss": TOWN, "sub": TOWN, "aud": "urn:unefois:broker", "iat": now, "exp": now + 60, "jti": "once"}
    assertion = jwt.encode({"alg": "Ed25519", "kid": key.thumbprint()}, claims, key, algorithms=["Ed25519"])
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION, "client_assertion": assertion}
    with httpx2.Client(base_url=served.address) as client:
        answer = client.post("/oauth2/token", data=form).raise_for_status().json()
        bearer = {"Authorization": f"Bearer {answer['access_token']}"}
        assert TOWN == client.get("/v1/status", headers=bearer).json()["party"]
        again = client.post("/oauth2/token", data=form)

    assert 600 == answer["expires_in"]
    assert (401, "invalid_client") == (again.status_code, again.json()["error"])
