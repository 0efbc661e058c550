"""Every parameter and every field of a body, as the OpenAPI document describes them, wrong in every way: missing,
empty, too long, of another type, in another encoding, repeated, unknown. Each is refused with a code, at its place, and
nothing is written.

The table is generated, so a new route or field has its rows. Here a part of it is sent; all of it is in `make
test-proof`.
"""

import copy
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from sqlalchemy import func, select

from broker.services import representations
from broker.web.agencies.app import PREFIX, describe
from broker.web.agencies.arriving import JSON
from broker.web.agencies.examples import EXAMPLES
from broker.web.common.answered import operations
from consent.tables import metadata
from schemas import cloudevents, messages
from schemas.cloudevents import STRUCTURED_MEDIA_TYPE
from schemas.envelope import SignedDeclaration
from schemas.facts import FactKind
from schemas.manifest import Manifest
from schemas.names import PartyId
from tests.unit.broker.web.agencies.calls import Served
from tests.world import CAF, MOVED, PORTAL

pytestmark = pytest.mark.asyncio
CANARY: Final = "Zoé"
NOBODY: Final = "00000000-0000-0000-0000-000000000000"
PART: Final = 100
"""So many rows, evenly from all, are sent in the default suite."""
ROWS: Final = 800
LONG: Final = 50_000
WHOLE: Final = {"api.json", "cloudevents.json", "cloudevents.json-data", "avro.truncated", "households.unknown"}
WHO = ("subject", "representative", "old", "new")
MAY_BE: Final = {("empty", f"/{whose}/{name}") for whose in WHO for name in ("family_name", "birthplace")}
"""Somebody has no family name; where somebody was born in France is not known."""
INSIDE: Final = {"/data_base64"}
"""What is wrong inside is told by its place in there."""


@dataclass(frozen=True)
class Row:
    """One request. `place`: the JSON pointer of what is wrong in the body, None where the body is not."""

    why: str
    method: str
    path: str
    body: bytes | None = None
    media: str = JSON
    place: str | None = None


Place = tuple[str | int, ...]


def rows(good_event: bytes) -> Iterator[Row]:
    """The whole table."""
    document = describe()
    for method, path, operation in operations(document):
        good = EXAMPLES[method, PREFIX + path].get("request")
        where = PREFIX + re.sub(r"\{\w+\}", NOBODY, path)
        yield from _in_path(method, PREFIX + path)
        yield from _in_query(method, where, operation.get("parameters", ()))
        content = operation.get("requestBody", {}).get("content", {})
        if JSON in content:
            schema = _resolved(content[JSON]["schema"], document)
            yield from _in_body(method, where, JSON, schema, good if good is not None else {}, document)
        if STRUCTURED_MEDIA_TYPE in content:
            event = json.loads(good_event)
            schema = content[STRUCTURED_MEDIA_TYPE]["schema"]
            yield from _in_body(method, where, STRUCTURED_MEDIA_TYPE, schema, event, document)
        for media in content:
            yield from _not_the_body(method, where, media)


def _in_path(method: str, path: str) -> Iterator[Row]:
    for name in re.findall(r"\{(\w+)\}", path):
        for value in (
            "",
            "%00",
            "%ff%fe",
            "x",
            CANARY,
            "..",
            "%2e%2e%2f",
            "9" * 2_000,
            NOBODY.upper(),
            NOBODY + "0",
            "{}",
        ):
            yield Row(f"path {name}={value[:20]}", method, path.replace(f"{{{name}}}", value))


def _in_query(method: str, path: str, parameters: Any) -> Iterator[Row]:
    known = [each for each in parameters if each["in"] == "query"]
    yield Row("query unknown", method, f"{path}?{CANARY}=1")
    for each in known:
        name = each["name"]
        for value in ("", "x", "-1", "1.5", "true", "%ff", "%00", "9" * 400, CANARY, "0x10", " 1", "[]"):
            yield Row(f"query {name}={value[:20]}", method, f"{path}?{name}={value}")
        yield Row(f"query {name} twice", method, f"{path}?{name}=1&{name}=1")
        yield Row(f"query {name}[]", method, f"{path}?{name}[]=1")


def _in_body(method: str, path: str, media: str, schema: Any, good: Any, document: Any) -> Iterator[Row]:
    for place, part, needed in _places(schema, good, document, ()):
        for why, wrong in _wrong(part):
            if (why, _pointer(place)) in MAY_BE:
                continue
            body = _with(good, place, wrong)
            yield Row(f"{why} {_pointer(place)}", method, path, json.dumps(body).encode(), media, _pointer(place))
        if needed:
            body = _without(good, place)
            yield Row(f"missing {_pointer(place)}", method, path, json.dumps(body).encode(), media, _pointer(place))
    whole = json.dumps(good).encode()
    if isinstance(good, dict):
        unknown = json.dumps(good | {CANARY: 1}).encode()
        yield Row("unknown member", method, path, unknown, media)
        for name, value in good.items():
            twice = b'{"%s":%s,' % (name.encode(), json.dumps(value).encode()) + whole[1:]
            yield Row(f"twice /{name}", method, path, twice, media)
    for why, raw in (
        ("empty", b""),
        ("null", b"null"),
        ("a number", b"7"),
        ("a list", b"[[]]"),
        ("text", f'"{CANARY}"'.encode()),
        ("cut", whole[:-1]),
        ("two", whole + whole),
        ("UTF-16", whole.decode().encode("utf-16")),
        ("a mark", b"\xef\xbb\xbf" + whole),
        ("Latin-1", b'{"\xe9":1}'),
        ("NaN", b'{"max":NaN}'),
        ("deep", b"[" * 100_000),
        ("a form", b"max=1"),
    ):
        yield Row(f"body {why}", method, path, raw, media)


def _not_the_body(method: str, path: str, media: str) -> Iterator[Row]:
    """A body that is said to be something else."""
    charset = f"{media}; charset=utf-16"
    for other in ("", "text/plain", "application/xml", "multipart/form-data", charset, f"{media}, {media}", "*/*"):
        yield Row(f"media {other}", method, path, b"{}", other)


def _places(schema: Any, good: Any, document: Any, place: Place) -> Iterator[tuple[Place, Any, bool]]:
    """Each field with its schema, and whether it has to be there."""
    schema = _resolved(schema, document)
    for name, part in schema.get("properties", {}).items():
        here = (*place, name)
        yield here, _resolved(part, document), name in schema.get("required", ())
        if isinstance(good, dict) and name in good:
            yield from _places(part, good[name], document, here)
    if "items" in schema and isinstance(good, list) and good:
        here = (*place, len(good) - 1)
        yield here, _resolved(schema["items"], document), False
        yield from _places(schema["items"], good[-1], document, here)


def _resolved(schema: Any, document: Any) -> Any:
    if "$ref" in schema:
        return _resolved(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    alternatives = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if alternatives:
        return {**_resolved(alternatives[0], document), "nullable": len(alternatives) < len(schema["anyOf"])}
    return schema


def _wrong(part: Any) -> Iterator[tuple[str, Any]]:
    """Values that no field of this schema takes."""
    kind = part.get("type", "string")
    samples: dict[str, Any] = {"string": "x", "integer": 1, "boolean": True, "array": [], "object": {}}
    for name, value in samples.items():
        if name != kind:
            yield f"type {name}", value
    yield "type number", 1.5
    if not part.get("nullable"):
        yield "null", None
    if kind == "string":
        yield "empty", ""
        yield "a surrogate", "\ud800"
        yield "a zero byte", "a\x00b"
        yield "too long", "a" * ((part.get("maxLength") or LONG) + 1)
        if "pattern" in part:
            yield "others' letters", CANARY
    if kind == "integer":
        yield "text", "1"
        yield "below", part.get("minimum", 0) - 1
        yield "above", part.get("maximum", 2**62) + 1
        yield "huge", 10**400
    if kind == "array":
        yield "too many", ["a"] * (part.get("maxItems", 10_000) + 1)
        yield "of lists", [[]]
        yield "of null", [None]
        if part.get("minItems"):
            yield "empty", []
    if kind == "object":
        yield "empty", {}


def _with(good: Any, place: Place, value: Any) -> Any:
    made = copy.deepcopy(good)
    inside = made
    for part in place[:-1]:
        inside = inside[part]
    inside[place[-1]] = value
    return made


def _without(good: Any, place: Place) -> Any:
    made = copy.deepcopy(good)
    inside = made
    for part in place[:-1]:
        inside = inside[part]
    inside.pop(place[-1])
    return made


def _pointer(place: Place) -> str:
    return "".join(f"/{part}" for part in place)


async def counts(served: Served) -> dict[str, int]:
    """Rows of every table; that something was refused is written down, and not counted, nor from where a token came."""
    refused = len(await served.here.entries(FactKind.REFUSED))
    async with served.here.home.store.read() as tx:
        found = {
            name: int((await tx.execute(select(func.count()).select_from(table))).scalar_one())
            for name, table in metadata.tables.items()
            if name != "credential_uses"
        }
    return found | {name: found[name] - refused for name in ("ledger_entries", "ledger_openings")}


async def sent(served: Served, table: Iterable[Row]) -> None:
    """Send them all; then nothing was written."""
    callers = {party: await served.caller(party) for party in (CAF, PORTAL)}
    async with served.here.home.store.begin() as tx:
        for right in (representations.STARTED, representations.ENDED):
            await served.here.home.registrar.allow_publishing(tx, PORTAL, right, served.here.clock())
    before, wrong = await counts(served), []
    for row in table:
        headers = {} if row.body is None else {"content_type": row.media}
        response = await callers[_whose(row)].asks(row.method, row.path, row.body, **headers)
        told = response.json() if "json" in response.headers["content-type"] else {}
        fine = (
            400 <= response.status_code < 500
            and told.get("code") in messages.table()
            and response.status_code == told["status"]
            and CANARY not in response.text
            and _is_at(row.place, told)
        )
        if not fine:
            wrong.append((row, response.status_code, response.text))
    assert [] == wrong
    assert before == await counts(served)


def _is_at(place: str | None, told: dict[str, Any]) -> bool:
    """Whether the place is told, or a field beside it that it contradicts; what is no JSON is wrong as a whole."""
    if place is None or told["code"] in WHOLE:
        return True
    near = place.rpartition("/")[0] or place
    pointers = [each["pointer"] for each in told.get("errors", ())]
    return any(place.startswith(each) or each.startswith(near) for each in pointers) or (
        place in INSIDE and pointers != []
    )


def _whose(row: Row) -> PartyId:
    theirs = ("declarations", "subjects", "households", "representations")
    return PORTAL if any(word in row.path for word in theirs) else CAF


async def event(served: Served) -> bytes:
    """A good declaration, as an event in structured mode."""
    envelope = await served.here.home.desk.envelope(PORTAL, MOVED, served.here.moved())
    manifest = Manifest.decode(SignedDeclaration.decode(envelope).payload)
    about: dict[str, Any] = {"declaration_id": manifest.declaration_id, "issued_at": manifest.issued_at}
    told = cloudevents.declaration(PORTAL, MOVED, manifest.schema, envelope=envelope, **about)
    return cloudevents.to_http_structured(told)[1]


async def test_a_part_of_the_table_is_refused_each_with_its_code_at_its_place_and_nothing_is_written(
    served: Served,
) -> None:
    made = list(rows(await event(served)))
    assert len(made) >= ROWS
    await sent(served, made[:: len(made) // PART])


@pytest.mark.proof
@pytest.mark.parametrize("number", range(8))
async def test_all_of_the_table_is_refused_each_with_its_code_at_its_place_and_nothing_is_written(
    served: Served, number: int
) -> None:
    await sent(served, list(rows(await event(served)))[number::8])


async def test_every_field_and_parameter_that_is_described_has_its_rows(served: Served) -> None:
    made = list(rows(await event(served)))
    described = describe()
    for method, path, operation in operations(described):
        for parameter in operation.get("parameters", ()):
            named = f"{parameter['in']} {parameter['name']}"
            there = [row for row in made if row.method == method and row.why.startswith(named)]
            assert there, (method, path, named)
    places = {row.place for row in made if row.place is not None}
    assert {"/subject/birthdate", "/acknowledgements/0/outcome", "/time", "/fields/1", "/overlap_hours"} <= places
