"""The catalogue as a Confluent Schema Registry: read by a client that is not ours, from a real server."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext
from fastapi import FastAPI

from broker.web.public import registry
from schemas import avro, catalogue
from schemas.catalogue import EventSchema
from schemas.confluent import frame, registry_id, unframe
from tests.served import served

EVENTS = list(catalogue.builtin())
MOVED = EVENTS[0]
(BANK,) = (one for one in EVENTS if one.event_type == "fr.unefois.bank-account.changed.v1")
NAME = MOVED.schema.name
TEXT = MOVED.schema.raw.decode()
VALUE = SerializationContext(NAME, MessageField.VALUE)
KIND = "application/vnd.schemaregistry.v1+json"
RECORD = {
    "subject": {
        "family_name": "Martin",
        "given_names": ["Élise"],
        "birthdate": "1985-04-12",
        "gender": "female",
        "birthplace": "44109",
        "birthcountry": "99100",
    },
    "capacity": "self",
    "effective_date": None,
}


def record() -> dict[str, Any]:
    """A bank account that changed."""
    told = {"iban": "FR7630006000011234567890189", "holder": "Élise Martin", "joint": False, "uses": ["payments"]}
    blank = {each.name: None for each in BANK.schema.fields}
    return blank | RECORD | {"effective_date": "2026-12-01"} | told


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    app = FastAPI()
    app.include_router(registry.router(catalogue.builtin()))
    with served(app) as at:
        yield f"{at}/registry"


@pytest.fixture
def client(address: str) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": address, "max.retries": 0}) as made:
        yield made


@pytest.fixture
def http(address: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=address) as made:
        yield made


class TestConfluentsClient:
    """`confluent_kafka.schema_registry`, as an agency has it."""

    def test_it_lists_every_type_and_reads_its_registered_bytes(self, client: SchemaRegistryClient):
        assert [each.schema.name for each in EVENTS] == client.get_subjects()
        for each in EVENTS:
            latest = client.get_latest_version(each.schema.name)
            assert (registry_id(each.schema.id), 1) == (latest.schema_id, latest.version)
            assert each.schema.raw == latest.schema.schema_str.encode()
            assert [1] == client.get_versions(each.schema.name)
            assert each.schema.raw == client.get_schema(latest.schema_id).schema_str.encode()
            named = {(version.subject, version.version) for version in client.get_schema_versions(latest.schema_id)}
            assert {(each.schema.name, 1), (f"{each.schema.name}-value", 1)} == named

    def test_it_looks_a_schema_up(self, client: SchemaRegistryClient):
        found = client.lookup_schema(NAME, Schema(TEXT, "AVRO"))

        assert (registry_id(MOVED.schema.id), NAME, 1) == (found.schema_id, found.subject, found.version)

    def test_it_is_told_what_may_follow(self, client: SchemaRegistryClient):
        weaker = Schema(TEXT.replace('"sensitivity": "personal"', '"sensitivity": "low"'), "AVRO")

        assert client.test_compatibility(NAME, Schema(TEXT, "AVRO"))
        assert not client.test_compatibility(NAME, weaker)
        assert not client.test_compatibility_all_versions(NAME, weaker)

    def test_it_reads_the_level_and_the_mode(self, client: SchemaRegistryClient):
        assert "FULL_TRANSITIVE" == client.get_compatibility() == client.get_compatibility(NAME)
        assert "READONLY" == client.get_global_mode() == client.get_mode(NAME)

    def test_it_gets_errors_that_it_understands(self, client: SchemaRegistryClient):
        for call, expected in (
            (lambda: client.get_versions("nothing"), (404, 40401)),
            (lambda: client.get_version(NAME, 2), (404, 40402)),
            (lambda: client.get_schema(1), (404, 40403)),
            (lambda: client.lookup_schema(BANK.schema.name, Schema(TEXT, "AVRO")), (404, 40403)),
            (lambda: client.lookup_schema(NAME, Schema("{", "AVRO")), (422, 42201)),
            (lambda: client.delete_subject(NAME), (422, 42205)),
            (lambda: client.set_compatibility(NAME, "NONE"), (422, 42205)),
            (lambda: client.register_schema("mine", Schema(TEXT, "AVRO")), (422, 42205)),
            (lambda: client.register_schema(NAME, Schema(BANK.schema.raw.decode(), "AVRO")), (422, 42205)),
        ):
            with pytest.raises(SchemaRegistryError) as refused:
                call()
            assert expected == (refused.value.http_status_code, refused.value.error_code)

    def test_registering_what_is_there_gives_its_id(self, client: SchemaRegistryClient):
        assert registry_id(MOVED.schema.id) == client.register_schema(NAME, Schema(TEXT, "AVRO"))

    def test_its_deserializer_reads_a_record_that_we_framed(self, client: SchemaRegistryClient):
        message = frame(registry_id(BANK.schema.id), avro.encode(BANK.schema, record()))

        assert record() == AvroDeserializer(client)(message, SerializationContext("topic", MessageField.VALUE))

    @pytest.mark.parametrize(
        "conf",
        [
            {},
            {"auto.register.schemas": False},
            {"auto.register.schemas": False, "use.latest.version": True},
            {"subject.name.strategy": topic_subject_name_strategy},
        ],
    )
    def test_we_read_a_record_that_its_serializer_framed(self, client: SchemaRegistryClient, conf: dict[str, Any]):
        context = SerializationContext(BANK.schema.name, MessageField.VALUE)
        message = AvroSerializer(client, BANK.schema.raw.decode(), conf=conf)(record(), context)

        number, encoded = unframe(message)

        assert registry_id(BANK.schema.id) == number
        assert record() == avro.decode(BANK.schema, encoded)


def test_every_address_answers_in_confluents_type(
    http: httpx2.Client,
):
    number = registry_id(MOVED.schema.id)
    for path, expected in (
        ("/subjects", [each.schema.name for each in EVENTS]),
        (f"/subjects/{NAME}-value/versions", [1]),
        (f"/subjects/{NAME}/versions/1/referencedby", []),
        (f"/subjects/{NAME}/versions/-1/schema", json.loads(TEXT)),
        (f"/schemas/ids/{number}", {"schema": TEXT}),
        (f"/schemas/ids/{number}/schema", json.loads(TEXT)),
        (f"/schemas/ids/{number}/subjects", [NAME, f"{NAME}-value"]),
        (
            f"/schemas/ids/{number}/versions",
            [{"subject": NAME, "version": 1}, {"subject": f"{NAME}-value", "version": 1}],
        ),
        ("/schemas/types", ["AVRO"]),
        ("/contexts", ["."]),
    ):
        told = http.get(path)
        assert (200, KIND, expected) == (told.status_code, told.headers["Content-Type"], told.json()), path


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", EVENTS),
        ("?subjectPrefix=:*:&deleted=true", EVENTS),
        (f"?subjectPrefix={NAME}", [MOVED]),
        ("?subjectPrefix=nothing", []),
        ("?offset=2&limit=3", EVENTS[2:5]),
        ("?offset=900", []),
        ("?limit=-1&offset=x", EVENTS),
        ("?limit=0", EVENTS),
        (f"?limit={'9' * 5000}", EVENTS),
    ],
)
def test_subjects_and_schemas_are_listed_by_their_beginning_and_in_parts(
    http: httpx2.Client, query: str, expected: list[EventSchema]
):
    assert [each.schema.name for each in expected] == http.get(f"/subjects{query}").json()
    told = http.get(f"/schemas{query}").json()
    assert [(each.schema.name, 1, registry_id(each.schema.id), each.schema.raw.decode()) for each in expected] == [
        (one["subject"], one["version"], one["id"], one["schema"]) for one in told
    ]


def test_of_a_type_with_two_schemas_both_are_listed_or_the_newest():
    newer = replace(MOVED, schema=replace(BANK.schema, name=NAME))
    subjects = registry.Subjects([MOVED, newer])

    assert [1, 2] == [one["version"] for one in subjects.schemas("", newest=False)]
    assert [2] == [one["version"] for one in subjects.schemas("", newest=True)]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/subjects/%2E%2E/versions", 404, 40401),
        ("GET", f"/subjects/{NAME.upper()}/versions", 404, 40401),
        ("GET", f"/subjects/{NAME}-key/versions", 404, 40401),
        ("GET", f"/subjects/{NAME}/versions/0", 422, 42202),
        ("GET", f"/subjects/{NAME}/versions/-2", 422, 42202),
        ("GET", f"/subjects/{NAME}/versions/2147483648", 422, 42202),
        ("GET", f"/subjects/{NAME}/versions/{'9' * 5000}", 422, 42202),
        ("GET", f"/subjects/{NAME}/versions/Latest", 422, 42202),
        ("GET", f"/subjects/{NAME}/versions/²", 422, 42202),
        ("GET", "/subjects/nothing/versions/latest", 404, 40401),
        ("GET", "/schemas/ids/x", 404, 40403),
        ("GET", f"/schemas/ids/{'9' * 5000}", 404, 40403),
        ("GET", "/config/nothing", 404, 40401),
        ("GET", "/mode/nothing", 404, 40401),
        ("GET", "/associations/resources/-/x", 404, 404),
        ("GET", "/", 404, 404),
        ("PUT", "/mode", 422, 42205),
        ("PUT", "/config", 422, 42205),
        ("DELETE", f"/subjects/{NAME}/versions/1", 422, 42205),
    ],
)
def test_what_is_not_there_or_would_write_has_confluents_code(
    http: httpx2.Client, method: str, path: str, status: int, code: int
):
    told = http.request(method, path)

    assert (status, KIND, code) == (told.status_code, told.headers["Content-Type"], told.json()["error_code"])
    assert {"error_code", "message"} == set(told.json())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schema": 1}',
        b'{"schema": null}',
        b"[" * 100_000,
        b'{"schema": "' + b"a" * 600_000 + b'"}',
        b'{"schema": "{}", "schemaType": "JSON"}',
        b'{"schema": "{}", "schemaType": []}',
        b'{"schema": "{}", "schemaType": {"AVRO": 1}}',
        b'{"schema": "{}", "schemaType": "\\ud800"}',
        b'{"schema": "{}", "references": [{"name": "a"}]}',
        b'{"schema": "\\"string\\""}',
        b'{"schema": "{\\"a\\":1,\\"a\\":1}"}',
        b"\xff\xfe",
    ],
)
@pytest.mark.parametrize("path", [f"/subjects/{NAME}", f"/compatibility/subjects/{NAME}/versions/latest"])
def test_a_body_that_holds_no_schema_is_an_invalid_schema(http: httpx2.Client, path: str, body: bytes):
    told = http.post(path, content=body)

    assert (422, 42201) == (told.status_code, told.json()["error_code"])


def test_a_body_is_read_no_further_than_a_schema_can_be_long(http: httpx2.Client):
    told = http.post(f"/subjects/{NAME}", content=json.dumps({"schema": TEXT}) + " " * 600_000)

    assert (422, 42201) == (told.status_code, told.json()["error_code"])
    assert told.json()["message"].startswith("registry.body: ")


@pytest.mark.parametrize("path", [f"/subjects/{NAME}", f"/compatibility/subjects/{NAME}/versions/latest"])
def test_a_schema_three_times_as_long_as_ours_is_not_looked_at(http: httpx2.Client, path: str):
    assert 3 * max(len(each.schema.raw) for each in EVENTS) < registry.SCHEMA_BYTES
    fits = TEXT + " " * (registry.SCHEMA_BYTES - len(TEXT.encode()))
    told = http.post(path, json={"schema": f"{fits} "})

    assert (422, 42201) == (told.status_code, told.json()["error_code"])
    assert told.json()["message"].startswith("avro.schema-too-large: ")
    assert 200 == http.post(path, json={"schema": fits}).status_code


@pytest.mark.parametrize("path", [f"/subjects/{NAME}", f"/compatibility/subjects/{NAME}/versions/latest"])
def test_a_schema_of_more_types_than_it_could_need_is_not_compiled(http: httpx2.Client, path: str):
    def asked(count: int) -> httpx2.Response:
        fields = [{"name": f"f{number}", "type": "int"} for number in range(count)]
        return http.post(path, json={"schema": json.dumps(json.loads(TEXT) | {"fields": fields})})

    beyond, just = asked(registry.TYPES), asked(registry.TYPES - 1)  # the record is one, too

    assert beyond.json()["message"].startswith(f"avro.schema-too-large at /fields/{registry.TYPES - 1}/type: ")
    assert ({"is_compatible": False} if "compat" in path else 40403) in (just.json(), just.json().get("error_code"))


def test_a_schema_written_otherwise_is_the_same_schema_and_one_that_means_more_is_not(http: httpx2.Client):
    tree = json.loads(TEXT)
    reordered = dict(reversed(tree.items())) | {"name": "v1", "namespace": NAME.rpartition(".")[0]}
    bolder = tree | {"doc": "Something else."}

    same = http.post(f"/subjects/{NAME}", json={"schema": json.dumps(reordered), "more": 1})
    other = http.post(f"/subjects/{NAME}", json={"schema": json.dumps(bolder)})

    assert (200, registry_id(MOVED.schema.id)) == (same.status_code, same.json()["id"])
    assert (404, 40403) == (other.status_code, other.json()["error_code"])


def test_what_breaks_is_told_with_its_place_in_the_language_asked_for(http: httpx2.Client):
    weaker = TEXT.replace('"sensitivity": "personal"', '"sensitivity": "low"')
    path = f"/compatibility/subjects/{NAME}/versions/latest"

    quiet = http.post(path, json={"schema": weaker})
    told = http.post(path, params={"verbose": "true"}, json={"schema": weaker}, headers={"Accept-Language": "fr"})

    assert {"is_compatible": False} == quiet.json()
    assert told.json()["messages"][0].startswith("evolution.weaker-sensitivity at /subject: ")
    assert "sensib" in told.json()["messages"][0]


def test_openapi_names_every_parameter():
    app = FastAPI()
    app.include_router(registry.router(catalogue.builtin()))

    for path, item in app.openapi()["paths"].items():
        for operation in item.values():
            places = [parameter["in"] for parameter in operation["parameters"]]
            assert path.count("{") == places.count("path")
            listed = path.removeprefix(registry.PREFIX) in {"/subjects", "/schemas"}
            assert listed == ("query" in places)
