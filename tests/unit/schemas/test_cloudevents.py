"""CloudEvents: the conformance scenarios, the SDK as an oracle, and each refusal alone."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings import http, kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from hypothesis import given
from hypothesis import strategies as st

from schemas import cloudevents
from schemas.cloudevents import CloudEvent, from_http, from_kafka, to_http, to_http_structured, to_kafka
from schemas.errors import Refused
from schemas.names import DeclarationId, DeliveryId, EventType, Instant, PartyId, SchemaId
from tests.examples import examples

VECTORS = Path(__file__).parents[3] / "../shared/vectors/cloudevents"
SCHEMA = SchemaId(bytes(range(32)))
DECLARED = cloudevents.declaration(
    PartyId("urn:fr:siret:12345678901234"),
    EventType("fr.unefois.address.changed.v1"),
    SCHEMA,
    declaration_id=DeclarationId(bytes.fromhex("0190d3a47b6c7e8f9a0b1c2d3e4f5061")),
    issued_at=Instant(1_788_264_000_007),
    envelope=b"\x00\xffsealed",
)
DELIVERED = cloudevents.delivery(
    PartyId("urn:unefois:broker"),
    EventType("fr.unefois.address.changed.v1"),
    SCHEMA,
    delivery_id=DeliveryId(b"\xcd" * 16),
    planned_at=Instant(1_788_264_000_007),
    locked=b"\x00\xfflocked",
)
HTTP, BODY = to_http(DECLARED)
KAFKA, VALUE = to_kafka(DECLARED)
STRUCTURED, DOCUMENT = to_http_structured(DECLARED)
MEMBERS: dict[str, Any] = json.loads(DOCUMENT)


def test_ids_are_uuids() -> None:
    assert "0190d3a4-7b6c-7e8f-9a0b-1c2d3e4f5061" == DECLARED.id
    assert "cdcdcdcd-cdcd-cdcd-cdcd-cdcdcdcdcdcd" == DELIVERED.id


def refuses(code: str, pointer: str, call: Callable[[], object]) -> None:
    with pytest.raises(Refused) as caught:
        call()
    assert (caught.value.code, caught.value.pointer) == (code, pointer)


def with_http(**changed: str | None) -> CloudEvent:
    """The declaration over HTTP with some headers changed or left out (`_` for `-`)."""
    headers = {**HTTP, **{name.replace("_", "-"): text for name, text in changed.items()}}
    return from_http([(name, text) for name, text in headers.items() if text is not None], BODY)


def with_json(**changed: Any) -> CloudEvent:
    return from_http(STRUCTURED.items(), json.dumps({**MEMBERS, **changed}).encode())


def test_a_declarations_attributes_repeat_its_manifest_and_nothing_else() -> None:
    assert DECLARED.attributes() == {
        "specversion": "1.0",
        "id": "0190d3a4-7b6c-7e8f-9a0b-1c2d3e4f5061",
        "source": "urn:fr:siret:12345678901234",
        "type": "fr.unefois.address.changed.v1",
        "time": "2026-09-01T12:00:00.007Z",
        "dataschema": f"urn:unefois:schema:{bytes(range(32)).hex()}",
        "datacontenttype": "application/vnd.unefois.declaration.v1+avro",
    }


def test_a_delivery_shows_the_broker_and_neither_recipient_nor_purpose() -> None:
    told = DELIVERED.attributes()
    expected = (DELIVERED.id, "urn:unefois:broker", "application/vnd.unefois.delivery.v1+avro")
    assert expected == (told["id"], told["source"], told["datacontenttype"])
    assert told.keys() == DECLARED.attributes().keys()


def test_data_does_not_show_in_a_repr() -> None:
    assert "sealed" not in repr(DECLARED)


@pytest.mark.parametrize("event", [DECLARED, DELIVERED])
def test_every_binding_round_trips(event: CloudEvent) -> None:
    assert event == from_kafka(*to_kafka(event))
    for headers, body in (to_http(event), to_http_structured(event)):
        assert event == from_http(headers.items(), body)


TEXT = st.from_regex(r"[ -~é€😀]{1,30}", fullmatch=True).filter(lambda text: text == text.strip())


@given(TEXT, TEXT, st.from_regex(r"[a-z/:._-]{1,20}", fullmatch=True), st.binary(max_size=60))
@examples(80)
def test_any_printable_attribute_survives_every_binding_and_the_sdk(
    id_: str, type_: str, uri: str, data: bytes
) -> None:
    event = CloudEvent(id_, uri, type_, "application/octet-stream", data, Instant(5), None)
    assert event == from_kafka(*to_kafka(event))
    binary, body = to_http(event)
    assert all(value.isascii() and value.isprintable() for value in binary.values())
    assert event == from_http(binary.items(), body) == from_http(*map_items(to_http_structured(event)))
    theirs = http.from_binary(http.HTTPMessage(binary, body), JSONFormat())
    assert (id_, uri, type_) == (theirs.get_id(), theirs.get_source(), theirs.get_type())


def map_items(message: tuple[dict[str, str], bytes]) -> tuple[list[tuple[str, str]], bytes]:
    return list(message[0].items()), message[1]


# The SDK as an oracle, in both directions.


def sdk_event() -> SdkEvent:
    return SdkEvent({**DECLARED.attributes(), "time": datetime(2026, 9, 1, 12, 0, 0, 7000, tzinfo=UTC)}, DECLARED.data)


def told_by(event: Any) -> dict[str, Any]:
    return {name: value for name, value in event.get_attributes().items() if value is not None}


def test_the_sdk_reads_what_we_write() -> None:
    expected = told_by(sdk_event())
    assert expected == told_by(http.from_binary(http.HTTPMessage(HTTP, BODY), JSONFormat()))
    structured = http.from_structured(http.HTTPMessage(STRUCTURED, DOCUMENT), JSONFormat())
    assert (expected, DECLARED.data) == (told_by(structured), structured.get_data())
    record = kafka.from_binary(kafka.KafkaMessage(dict(KAFKA), None, VALUE), JSONFormat())
    assert (expected, DECLARED.data) == (told_by(record), record.get_data())


def test_we_read_what_the_sdk_writes() -> None:
    expected = DECLARED
    binary, structured = http.to_binary(sdk_event(), JSONFormat()), http.to_structured(sdk_event(), JSONFormat())
    assert expected == from_http(binary.headers.items(), binary.body)
    assert expected == from_http(structured.headers.items(), structured.body)
    record = kafka.to_binary(sdk_event(), JSONFormat())
    assert expected == from_kafka(record.headers.items(), record.value)


# The conformance scenarios: a reader of the few words of Gherkin that they use.


@dataclass
class Scenario:
    name: str
    text: list[str]
    tables: list[dict[str, str]]
    http: bool


def scenarios() -> Iterator[Any]:
    if not VECTORS.exists():
        yield pytest.param(None, id="absent", marks=pytest.mark.skip(reason="no CloudEvents scenarios: vectors absent"))
        return
    for file in sorted(VECTORS.glob("*.feature")):
        for part in re.split(r"\n\s*Scenario(?: Outline)?: ", file.read_text())[1:]:
            body, _, examples = part.partition("Examples:")
            for value in [row.strip("| ") for row in examples.strip().split("\n")[1:]] or [""]:
                found = scenario_of(body.replace("<contentType>", value), file.name.startswith("http"))
                yield pytest.param(found, id=f"{file.stem}: {found.name}")


def scenario_of(body: str, over_http: bool) -> Scenario:
    blocks = re.findall(r'"""\n(.*?)\n *"""', body, re.DOTALL)
    text = [re.sub(r"^ {8}", "", block, flags=re.MULTILINE) for block in blocks]
    tables = [
        {key.strip(): value.strip() for key, value in re.findall(r"\|([^|\n]*)\|([^|\n]*)\|", rows)[1:]}
        for rows in re.findall(r"((?:^ *\|.*\|\n?)+)", body, re.MULTILINE)
    ]
    return Scenario(body.partition("\n")[0], text, tables, over_http)


@pytest.mark.parametrize("scenario", list(scenarios()))
def test_conformance_scenarios(scenario: Scenario) -> None:
    attributes = scenario.tables[-1]
    if scenario.http:
        head, _, body = scenario.text[0].partition("\n\n")
        event = from_http([line.split(": ", 1) for line in head.split("\n")[1:]], body.encode())
    else:
        headers = [(name, value.encode()) for name, value in scenario.tables[0].items()]
        event = from_kafka(headers, scenario.text[0].encode())
    told = event.attributes()
    assert attributes.pop("time") == told.pop("time").replace(".000Z", "Z")
    assert attributes == told
    assert json.loads(scenario.text[-1]) == json.loads(event.data)


# What must be the same inside and outside.


@pytest.mark.parametrize("name", ["id", "source", "type", "time", "dataschema", "datacontenttype"])
def test_an_attribute_that_is_not_what_the_data_says_is_refused(name: str) -> None:
    other: dict[str, Any] = {
        "id": "0190d3a4-7b6c-7e8f-9a0b-1c2d3e4f5062",
        "source": "urn:unefois:other",
        "type": "fr.unefois.name.changed.v1",
        "time": Instant(1_788_264_000_008),
        "dataschema": None,
        "datacontenttype": "application/avro",
    }
    cloudevents.agree(DECLARED, DECLARED)
    received = replace(DECLARED, **{name: other[name]})
    refuses("cloudevents.attribute-differs", f"/{name}", lambda: cloudevents.agree(received, DECLARED))


def test_the_schema_is_read_back_from_its_urn() -> None:
    expected = SCHEMA
    assert expected == cloudevents.schema_of(DECLARED)
    for text in (None, "urn:x", f"urn:unefois:schema:{'A' * 64}", f"urn:unefois:schema:{'a' * 63}", "a" * 64):
        wrong = replace(DECLARED, dataschema=text)
        refuses("cloudevents.dataschema", "/dataschema", lambda wrong=wrong: cloudevents.schema_of(wrong))


# Refusals.


@pytest.mark.parametrize("name", ["subject", "traceparent", "partitionkey", "x"])
def test_the_subject_attribute_and_extensions_are_refused_in_every_binding(name: str) -> None:
    pointer = f"/{name}"
    refuses("cloudevents.attribute-not-allowed", pointer, lambda: with_http(**{f"ce_{name}": "x"}))
    refuses("cloudevents.attribute-not-allowed", pointer, lambda: with_json(**{name: "x"}))
    refuses("cloudevents.attribute-not-allowed", pointer, lambda: from_kafka([*KAFKA, (f"ce_{name}", b"x")], VALUE))


def test_a_name_that_is_no_attributes_name_is_refused_and_not_repeated() -> None:
    refuses("cloudevents.attribute-not-allowed", "", lambda: with_json(**{"Anne Martin": "x"}))
    refuses("cloudevents.attribute-not-allowed", "", lambda: from_kafka([*KAFKA, ("ce_", b"x")], VALUE))


def test_the_content_type_has_its_own_header() -> None:
    pointer = "/datacontenttype"
    refuses("cloudevents.attribute-not-allowed", pointer, lambda: with_http(ce_datacontenttype="a/b"))
    refuses("cloudevents.attribute-not-allowed", pointer, lambda: from_kafka([("ce_datacontenttype", b"a/b")], VALUE))


def test_other_headers_are_left_alone() -> None:
    assert with_http(traceparent="00-x") == from_kafka([*KAFKA, ("traceparent", b"\xff")], VALUE)


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "datacontenttype"])
def test_a_missing_attribute_is_named(name: str) -> None:
    header = "content_type" if name == "datacontenttype" else f"ce_{name}"
    key = "content-type" if name == "datacontenttype" else f"ce_{name}"
    refuses("cloudevents.missing", f"/{name}", lambda: with_http(**{header: None}))
    refuses("cloudevents.missing", f"/{name}", lambda: with_json(**{name: None}))
    refuses("cloudevents.missing", f"/{name}", lambda: from_kafka([row for row in KAFKA if row[0] != key], VALUE))


def test_time_and_schema_may_be_absent_and_null_is_absent() -> None:
    expected = replace(DECLARED, time=None, dataschema=None)
    assert expected == with_http(ce_time=None, ce_dataschema=None)
    assert expected == with_json(time=None, dataschema=None)


@pytest.mark.parametrize("version", ["0.3", "1.1", "1"])
def test_another_version_is_refused(version: str) -> None:
    refuses("cloudevents.specversion", "/specversion", lambda: with_http(ce_specversion=version))


def test_an_attribute_said_twice_is_refused() -> None:
    twice = [*HTTP.items(), ("CE-ID", HTTP["ce-id"])]
    refuses("cloudevents.repeated", "/id", lambda: from_http(twice, BODY))
    types = [*HTTP.items(), ("Content-Type", "a/b")]
    refuses("cloudevents.repeated", "/datacontenttype", lambda: from_http(types, BODY))
    refuses("cloudevents.repeated", "/type", lambda: from_kafka([*KAFKA, ("ce_type", b"x")], VALUE))


@pytest.mark.parametrize("time", ["yesterday", "2026-09-01", "1969-12-31T23:59:59Z"])
def test_a_time_that_is_none_is_refused(time: str) -> None:
    refuses("cloudevents.time", "/time", lambda: with_http(ce_time=time))
    refuses("cloudevents.time", "/time", lambda: replace(DECLARED, time=Instant(-1)))


def test_header_values_are_decoded_as_the_binding_says() -> None:
    assert with_http(ce_id="Euro%20%E2%82%AC%20%f0%9f%98%80").id == "Euro € 😀"
    assert with_http(ce_id="%41").id == "A"
    assert with_http(ce_id='  "a b"  ').id == "a b"
    assert with_http(ce_id='"a\\b%20c"').id == "ab c"


@pytest.mark.parametrize(
    "text", ["%C0%A0", "%zz", "%", "%4", "a b", 'a"b', "é", "", "%00", "%0A", "e%CC%81", '"a', '"a\\"b"', "x" * 1025]
)
def test_a_header_value_in_no_form_of_the_binding_is_refused(text: str) -> None:
    assert with_http(ce_id="x" * 1024)
    refuses("cloudevents.attribute", "/id", lambda: with_http(ce_id=text))


@pytest.mark.parametrize("value", [1, True, 1.5, [], {}, "", "a\nb", "e\u0301"])
def test_a_json_attribute_that_is_not_plain_text_is_refused(value: object) -> None:
    refuses("cloudevents.attribute", "/id", lambda: with_json(id=value))


def test_a_kafka_header_that_is_not_utf8_is_refused() -> None:
    refuses("cloudevents.attribute", "/id", lambda: from_kafka([("ce_id", b"\xff")], VALUE))


@pytest.mark.parametrize("uri", ["a b", "é", 'a"', "<a>", "a\\b", "a^b", "a`b", "{a}", "a|b"])
def test_a_source_that_is_no_uri_is_refused(uri: str) -> None:
    refuses("cloudevents.attribute", "/source", lambda: replace(DECLARED, source=uri))
    refuses("cloudevents.attribute", "/dataschema", lambda: replace(DECLARED, dataschema=uri))


@pytest.mark.parametrize("media_type", ["avro", "a/", "/b", "a/b/c", "a b/c", "a/b; é"])
def test_a_content_type_that_is_none_is_refused(media_type: str) -> None:
    refuses("cloudevents.attribute", "/datacontenttype", lambda: with_http(content_type=media_type))


def test_a_batch_is_refused() -> None:
    for media_type in ("application/cloudevents-batch+json", "Application/CloudEvents-Batch+JSON; charset=utf-8"):
        headers = [("content-type", media_type)]
        refuses("cloudevents.batch", "", lambda headers=headers: from_http(headers, b"[]"))


@pytest.mark.parametrize(
    "media_type",
    ["application/cloudevents+avro", "application/cloudevents", "application/cloudevents+json; charset=latin-1"],
)
def test_another_format_is_refused(media_type: str) -> None:
    refuses("cloudevents.format", "", lambda: from_http([("content-type", media_type)], DOCUMENT))


def test_json_in_utf8_is_taken_however_its_type_is_written() -> None:
    for media_type in ('application/cloudevents+json; charset="UTF-8"', "APPLICATION/CloudEvents+json;charset=utf-8"):
        assert DECLARED.id == from_http([("Content-Type", media_type)], DOCUMENT).id


def test_an_event_in_two_modes_at_once_is_refused() -> None:
    refuses("cloudevents.two-modes", "", lambda: from_http([*STRUCTURED.items(), ("ce-id", "x")], DOCUMENT))


def test_no_body_and_a_body_that_is_too_long_are_refused() -> None:
    refuses("cloudevents.body", "", lambda: from_kafka(KAFKA, None))
    assert from_kafka(KAFKA, bytes(cloudevents.BODY_BYTES))
    refuses("cloudevents.body", "", lambda: from_http(HTTP.items(), bytes(cloudevents.BODY_BYTES + 1)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'"x"',
        b"\xff",
        DOCUMENT + b"x",
        DOCUMENT.replace(b'"id"', b'"id":"x","id"'),
        DOCUMENT.replace(b'"data_base64":', b'"data":{"a":1,"a":2},"x":'),
        DOCUMENT[:-1] + b',"data":NaN}',
        DOCUMENT[:-1] + b',"data":1e999}',
        DOCUMENT[:-1] + b',"data":"\\ud800"}',
        DOCUMENT[:-1] + b',"data":' + b"1" * 5000 + b"}",
        DOCUMENT[:-1] + b',"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"data": [' + b"1," * 65_536 + b"1]}",
    ],
)
def test_a_body_that_is_not_one_plain_json_object_is_refused(body: bytes) -> None:
    refuses("cloudevents.json", "", lambda: from_http(STRUCTURED.items(), body))


@pytest.mark.parametrize("encoded", ["QQ", "QR==", "Q Q==", "-_==", 1, [], True])
def test_data_that_is_not_canonical_base64_is_refused(encoded: object) -> None:
    refuses("cloudevents.json-data", "/data_base64", lambda: with_json(data_base64=encoded))


def test_data_must_be_there_once() -> None:
    refuses("cloudevents.json-data", "", lambda: with_json(data="x"))
    refuses("cloudevents.json-data", "", lambda: with_json(data_base64=None))
    refuses("cloudevents.json-data", "/data", lambda: with_json(data_base64=None, data=1))


@pytest.mark.parametrize(
    ("media_type", "data", "expected"),
    [
        ("text/plain", "é", "é".encode()),
        ("application/json", "é", '"é"'.encode()),
        ("application/ld+json; charset=utf-8", {"a": [1, None]}, b'{"a":[1,null]}'),
        ("application/json", None, b"null"),
    ],
)
def test_data_as_json_or_text_means_what_its_type_says(media_type: str, data: object, expected: bytes) -> None:
    assert expected == with_json(data_base64=None, data=data, datacontenttype=media_type).data
