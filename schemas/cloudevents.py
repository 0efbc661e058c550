"""CloudEvents: how declarations and deliveries travel, binary on Kafka and HTTP, structured as JSON on HTTP.

Refuses: formats other than JSON, the `subject` attribute and every extension: attributes are read by brokers,
    proxies and logs that no citizen agreed to. Refuses what is said twice, and what is said in two modes at once.
Keeps: an attribute is an identifier of ours or nothing; attributes are signed by nobody, so whoever has verified the
    data calls `agree` to compare them with what the data says.
Source: cloudevents.io, specification 1.0.2, HTTP and Kafka protocol bindings, JSON format.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote

from schemas import note
from schemas.envelope import SignedDeclaration
from schemas.errors import Refused
from schemas.manifest import Manifest
from schemas.names import (
    DeclarationId,
    DeliveryId,
    EventType,
    Instant,
    PartyId,
    SchemaId,
    from_rfc3339,
    is_instant,
    rfc3339,
    uuid_text,
)
from schemas.text import check_count, is_plain

DECLARATION_MEDIA_TYPE: Final = "application/vnd.unefois.declaration.v1+avro"
DELIVERY_MEDIA_TYPE: Final = "application/vnd.unefois.delivery.v1+avro"
STRUCTURED_MEDIA_TYPE: Final = "application/cloudevents+json"
BATCH_MEDIA_TYPE: Final = "application/cloudevents-batch+json"
BODY_BYTES: Final = 1_500_000
"""A message's body: a megabyte of Avro in base64, and the attributes."""
ATTRIBUTE_BYTES: Final = 1_024

_SPECVERSION: Final = "1.0"
_SCHEMA_URN: Final = "urn:unefois:schema:"
_NAMES: Final = ("specversion", "id", "source", "type", "time", "dataschema", "datacontenttype")
_NEEDED: Final = ("specversion", "id", "source", "type", "datacontenttype")

_NAME = re.compile(r"[a-z0-9]{1,20}")
_URI = re.compile(r"[!#-;=?-\[\]_a-z~]+")
_MEDIA_TYPE = re.compile(r"[!#$&^_.+A-Za-z0-9-]+/[!#$&^_.+A-Za-z0-9-]+(?: *;[ -~]*)?")
_JSON_TYPE = re.compile(r"[^/]+/(?:[^/;]+\+)?json", re.IGNORECASE)
_HEADER = re.compile(r"(?:[!#-$&-~]|%[0-9A-Fa-f]{2})*")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\[ -~])*)"')
_HEADER_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """Attributes and data. Nothing is verified but the form: each text is short, printable and composed (NFC)."""

    id: str
    source: str
    type: str
    datacontenttype: str
    data: bytes = field(repr=False)
    time: Instant | None = None
    dataschema: str | None = None

    def __post_init__(self) -> None:
        if self.time is not None and not is_instant(self.time):
            raise Refused("cloudevents.time", "/time")
        for name, text in self.attributes().items():
            if not is_plain(text, ATTRIBUTE_BYTES):
                raise Refused("cloudevents.attribute", f"/{name}")
        for name, uri in (("source", self.source), ("dataschema", self.dataschema)):
            if uri is not None and not _URI.fullmatch(uri):
                raise Refused("cloudevents.attribute", f"/{name}")
        if not _MEDIA_TYPE.fullmatch(self.datacontenttype):
            raise Refused("cloudevents.attribute", "/datacontenttype")

    def attributes(self) -> dict[str, str]:
        """Every attribute that is set, as text."""
        told = {"specversion": _SPECVERSION, "id": self.id, "source": self.source, "type": self.type}
        if self.time is not None:
            told["time"] = rfc3339(self.time)
        if self.dataschema is not None:
            told["dataschema"] = self.dataschema
        return {**told, "datacontenttype": self.datacontenttype}


def declaration(
    source: PartyId,
    event_type: EventType,
    schema: SchemaId,
    *,
    declaration_id: DeclarationId,
    issued_at: Instant,
    envelope: bytes,
) -> CloudEvent:
    """A signed declaration on its way in. All attributes repeat the manifest; the citizen is in none."""
    id_ = uuid_text(declaration_id)
    return CloudEvent(id_, source, event_type, DECLARATION_MEDIA_TYPE, envelope, issued_at, schema_urn(schema))


def delivery(
    broker: PartyId,
    event_type: EventType,
    schema: SchemaId,
    *,
    delivery_id: DeliveryId,
    planned_at: Instant,
    locked: bytes,
) -> CloudEvent:
    """A locked delivery on its way out. Neither its purpose nor its fields show."""
    id_ = uuid_text(delivery_id)
    return CloudEvent(id_, broker, event_type, DELIVERY_MEDIA_TYPE, locked, planned_at, schema_urn(schema))


def agree(received: CloudEvent, expected: CloudEvent) -> None:
    """Compare the attributes received with those that the verified data gives.

    Raises Refused("cloudevents.attribute-differs") with the attribute: another type or source on the outside would be
    routed, counted or authorised as what it is not.
    """
    told, known = received.attributes(), expected.attributes()
    for name in _NAMES:
        if told.get(name) != known.get(name):
            raise Refused("cloudevents.attribute-differs", f"/{name}")


def envelope_in(event: CloudEvent) -> bytes:
    """The signed envelope that a declaration's event carries. One that cannot be read is for the intake to refuse.

    Raises Refused `cloudevents.*` where the attributes do not repeat what it says.
    """
    try:
        manifest = Manifest.decode(SignedDeclaration.decode(event.data).payload)
    except Refused:
        return event.data
    said = declaration(
        manifest.source,
        manifest.event_type,
        manifest.schema,
        declaration_id=manifest.declaration_id,
        issued_at=manifest.issued_at,
        envelope=event.data,
    )
    agree(event, said)
    return event.data


def schema_urn(schema: SchemaId) -> str:
    """`urn:unefois:schema:` and 64 hexadecimal digits: the SHA-256 of the registered schema."""
    return _SCHEMA_URN + schema.hex()


def schema_of(event: CloudEvent) -> SchemaId:
    """The schema that `dataschema` names. Raises Refused("cloudevents.dataschema")."""
    text = event.dataschema or ""
    digits = text.removeprefix(_SCHEMA_URN)
    if not re.fullmatch(r"[0-9a-f]{64}", digits) or text != _SCHEMA_URN + digits:
        raise Refused("cloudevents.dataschema", "/dataschema")
    return SchemaId.parse(digits)


def to_kafka(event: CloudEvent) -> tuple[tuple[tuple[str, bytes], ...], bytes]:
    """Headers and value of a Kafka record, binary mode."""
    return tuple((_kafka_name(name), text.encode()) for name, text in event.attributes().items()), event.data


def from_kafka(headers: Iterable[tuple[str, bytes]], value: bytes | None) -> CloudEvent:
    """From a Kafka record in binary or structured JSON mode. Other headers are left alone. Raises Refused."""
    told: dict[str, str] = {}
    for key, raw in headers:
        if key == "content-type" or key.startswith("ce_"):
            name = _set(told, "datacontenttype" if key == "content-type" else _prefixed(key[3:]))
            told[name] = _utf8(raw, f"/{name}")
    return _event(told, value)


def to_http(event: CloudEvent) -> tuple[dict[str, str], bytes]:
    """Headers and body of an HTTP message, binary mode."""
    told = event.attributes()
    content_type = told.pop("datacontenttype")
    headers = {f"ce-{name}": quote(text, safe=_HEADER_SAFE) for name, text in told.items()}
    return {"content-type": content_type, **headers}, event.data


def to_http_structured(event: CloudEvent) -> tuple[dict[str, str], bytes]:
    """Headers and body of an HTTP message, structured mode: JSON, the data in base64."""
    members = {**event.attributes(), "data_base64": note.base64_of(event.data)}
    return {"content-type": STRUCTURED_MEDIA_TYPE}, json.dumps(members, separators=(",", ":")).encode()


def from_http(headers: Iterable[tuple[str, str]], body: bytes) -> CloudEvent:
    """From an HTTP message in binary or structured JSON mode. Other headers are left alone. Raises Refused."""
    told: dict[str, str] = {}
    for key, text in headers:
        lower = key.lower()
        if lower == "content-type":
            told[_set(told, "datacontenttype")] = text.strip(" \t")
        elif lower.startswith("ce-"):
            name = _set(told, _prefixed(lower[3:]))
            told[name] = _header_text(text.strip(" \t"), f"/{name}")
    return _event(told, body)


def from_http_batch(body: bytes, most: int) -> list[CloudEvent]:
    """From the body of an HTTP message in batched mode (JSON format, section 4): a list of events, at most `most`.

    Raises Refused; of an event in the list, below its number.
    """
    members = _json_value(body)
    if not isinstance(members, list) or not 1 <= len(members) <= most:
        raise Refused("cloudevents.batch-size", most=most)
    events = []
    for number, each in enumerate(members):
        try:
            events.append(_structured(each))
        except Refused as fault:
            raise fault.under(f"/{number}") from None
    return events


def _event(told: Mapping[str, str], body: bytes | None) -> CloudEvent:
    """Decide the mode by the content type, as both bindings say."""
    if body is None or len(body) > BODY_BYTES:
        raise Refused("cloudevents.body", got=len(body or b""), limit=BODY_BYTES)
    media_type, _, parameters = told.get("datacontenttype", "").partition(";")
    media_type = media_type.strip().lower()
    if media_type.startswith("application/cloudevents-batch"):
        raise Refused("cloudevents.batch")
    if not media_type.startswith("application/cloudevents"):
        return _made(told, body)
    if media_type != STRUCTURED_MEDIA_TYPE:
        raise Refused("cloudevents.format")
    if parameters.replace(" ", "").replace('"', "").lower() not in {"", "charset=utf-8"}:
        raise Refused("cloudevents.format")
    if len(told) > 1:
        raise Refused("cloudevents.two-modes")
    return _structured(_json_value(body))


def _structured(value: object) -> CloudEvent:
    if not isinstance(value, dict):
        raise Refused("cloudevents.json")
    members: dict[str, Any] = dict(value)
    nothing = object()
    data, encoded = members.pop("data", nothing), members.pop("data_base64", None)
    told: dict[str, str] = {}
    for name, text in members.items():
        known = _attribute(name)
        if text is None:  # null is the same as absent
            continue
        if not isinstance(text, str):
            raise Refused("cloudevents.attribute", f"/{known}")
        told[known] = text
    if (data is nothing) == (encoded is None):
        raise Refused("cloudevents.json-data")
    _check_needed(told)  # before the data, whose meaning hangs on its type
    return _made(told, _base64(encoded) if data is nothing else _plain(data, told["datacontenttype"]))


def _base64(encoded: object) -> bytes:
    raw = note.from_base64(encoded) if isinstance(encoded, str) else None
    if raw is None:
        raise Refused("cloudevents.json-data", "/data_base64")
    return raw


def _plain(data: object, media_type: str) -> bytes:
    """The `data` member as the bytes that its media type means."""
    if _JSON_TYPE.fullmatch(media_type.partition(";")[0].strip()):
        return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    if not isinstance(data, str):
        raise Refused("cloudevents.json-data", "/data")
    return data.encode()


def _json_value(body: bytes) -> object:
    """A JSON value without repeated names, numbers that are none, or lone surrogates."""
    try:
        check_count(body)
        value: object = json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_not_a_number)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise Refused("cloudevents.json") from None
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _not_a_number(text: str) -> float:
    raise ValueError


def _made(told: Mapping[str, str], data: bytes) -> CloudEvent:
    _check_needed(told)
    if told["specversion"] != _SPECVERSION:
        raise Refused("cloudevents.specversion", "/specversion")
    time = from_rfc3339(told["time"]) if "time" in told else None
    if time is None and "time" in told:
        raise Refused("cloudevents.time", "/time")
    return CloudEvent(
        told["id"], told["source"], told["type"], told["datacontenttype"], data, time, told.get("dataschema")
    )


def _check_needed(told: Mapping[str, str]) -> None:
    for name in _NEEDED:
        if name not in told:
            raise Refused("cloudevents.missing", f"/{name}")


def _attribute(name: str) -> str:
    """A name that we know. Others are refused, and named only where they look like an attribute's name."""
    if name not in _NAMES:
        raise Refused("cloudevents.attribute-not-allowed", f"/{name}" if _NAME.fullmatch(name) else "")
    return name


def _prefixed(name: str) -> str:
    """A name behind `ce-` or `ce_`, where the content type does not belong."""
    if name == "datacontenttype":
        raise Refused("cloudevents.attribute-not-allowed", f"/{name}")
    return _attribute(name)


def _set(told: Mapping[str, str], name: str) -> str:
    if name in told:
        raise Refused("cloudevents.repeated", f"/{name}")
    return name


def _kafka_name(name: str) -> str:
    return "content-type" if name == "datacontenttype" else f"ce_{name}"


def _utf8(raw: bytes, pointer: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("cloudevents.attribute", pointer) from None


def _header_text(text: str, pointer: str) -> str:
    """HTTP binding 3.1.3.2: a quoted string is unquoted, then percent signs are decoded once."""
    quoted = _QUOTED.fullmatch(text)
    plain = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if not _HEADER.fullmatch(plain.replace(" ", "") if quoted else plain):
        raise Refused("cloudevents.attribute", pointer)
    try:
        return unquote(plain, errors="strict")
    except UnicodeDecodeError:
        raise Refused("cloudevents.attribute", pointer) from None
