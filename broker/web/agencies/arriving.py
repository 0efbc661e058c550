"""Arriving: the forms in which a signed envelope may come over HTTP, and the bytes that are in it.

    application/avro                                 the envelope itself
    application/vnd.unefois.declaration.v1+avro      a CloudEvent in binary mode: attributes in `ce-` headers
    application/cloudevents+json                     a CloudEvent in structured mode
    application/json, application/cloudevents-batch+json      several

Refuses: attributes that say anything else than the envelope does: whoever reads only the outside would be misled.
Keeps: nothing here is verified; the intake does that with the same bytes.
Source: CloudEvents 1.0.2, HTTP binding, section 3.
"""

from typing import Any, Final
from uuid import UUID

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from broker.shapes import uuid_of
from broker.web.common.bodies import BATCH, Declarations, from_b64u, read_json
from schemas import cloudevents
from schemas.cloudevents import BATCH_MEDIA_TYPE, DECLARATION_MEDIA_TYPE, STRUCTURED_MEDIA_TYPE, CloudEvent
from schemas.envelope import SignedDeclaration
from schemas.errors import Refused
from schemas.manifest import Manifest
from schemas.names import EventType

ENVELOPE: Final = "application/avro"
JSON: Final = "application/json"

_BYTES: Final = {"schema": {"type": "string", "format": "binary"}}
_EVENT: Final = {
    "type": "object",
    "required": ["specversion", "id", "source", "type", "time", "dataschema", "datacontenttype", "data_base64"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "format": "uuid"},
        "source": {"type": "string"},
        "type": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "dataschema": {"type": "string"},
        "datacontenttype": {"const": DECLARATION_MEDIA_TYPE},
        "data_base64": {"type": "string"},
    },
}


def _taken(forms: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": forms}}


ONE: Final = _taken({ENVELOPE: _BYTES, DECLARATION_MEDIA_TYPE: _BYTES, STRUCTURED_MEDIA_TYPE: {"schema": _EVENT}})
"""What OpenAPI, and `strict`, are told of a route that takes one."""
MANY: Final = _taken(
    {
        JSON: {"schema": Declarations.model_json_schema()},
        BATCH_MEDIA_TYPE: {"schema": {"type": "array", "items": _EVENT, "minItems": 1, "maxItems": BATCH}},
    }
)


async def one(request: Request) -> bytes:
    """The envelope of a request. Raises Refused `cloudevents.*`."""
    body = await request.body()
    media = _media(request)
    return body if media == ENVELOPE else cloudevents.envelope_in(cloudevents.from_http(request.headers.items(), body))


async def many(request: Request) -> list[bytes | Refused]:
    """The envelopes of a request, each by itself where it can be told. Raises Refused `cloudevents.*`, `api.*`."""
    body = await request.body()
    if _media(request) == BATCH_MEDIA_TYPE:
        return [_or_fault(event) for event in cloudevents.from_http_batch(body, BATCH)]
    told = _declarations(body).declarations
    return [from_b64u(text, f"/declarations/{number}") for number, text in enumerate(told)]


def event_type_of(envelope: bytes) -> EventType:
    """Of an envelope that was accepted. Raises Refused for one that could not have been."""
    return Manifest.decode(SignedDeclaration.decode(envelope).payload).event_type


def is_id_of(key: str, envelope: bytes) -> bool:
    """Whether a key is the id of the declaration that is in this envelope."""
    try:
        manifest = Manifest.decode(SignedDeclaration.decode(envelope).payload)
        return str(UUID(key)) == uuid_of(manifest.declaration_id)
    except (Refused, ValueError):
        return False


def _media(request: Request) -> str:
    return request.headers["content-type"].partition(";")[0].strip().lower()


def _declarations(body: bytes) -> Declarations:
    """As FastAPI reads a body, which cannot choose among media types."""
    try:
        return Declarations.model_validate(read_json(body))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in found]) from None
    except (ValueError, RecursionError):  # a ValidationError is a ValueError, too
        raise Refused("api.json") from None


def _or_fault(event: CloudEvent) -> bytes | Refused:
    try:
        return cloudevents.envelope_in(event)
    except Refused as fault:
        return fault
