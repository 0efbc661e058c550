"""Registry: the catalogue through the REST API of Confluent's Schema Registry, where tools look for schemas.

Refuses: every write: the catalogue is part of the program. A schema that is there already is told by the id it has, so
that a serializer that registers before it sends works; one that is not is refused. A schema three times as long as the
longest of ours or of twice as many types, and schemas whose address has not the requests left that they cost: nobody
proves anything here.
Keeps: ids follow from the schemas (`schemas.confluent`), so they are the same in every process and version; a schema is
given as its registered bytes; answers hold Confluent's fields and no others, unknown fields of a request are ignored.
Source: Confluent Schema Registry API, v1. A subject is the record's full name; with `-value` behind it, it is the same.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from broker.web.common.answered import answers
from broker.web.common.limits import Passage
from broker.web.common.problems import language_of
from broker.web.public.forms import registered
from schemas import avro, evolution
from schemas.catalogue import Catalogue, EventSchema
from schemas.confluent import ID_MAX, registry_id, registry_ids
from schemas.errors import Refused
from schemas.messages import Language, explain

PREFIX: Final = "/registry"
KIND: Final = "application/vnd.schemaregistry.v1+json"
LEVEL: Final = "FULL_TRANSITIVE"
"""The nearest of Confluent's words; `schemas.evolution` asks for more."""
SCHEMA_BYTES: Final = 65_536
"""Of a schema that is looked up or compared; a mebibyte of it would cost the time of a thousand requests."""
TYPES: Final = 300
"""Of such a schema, twice as many as the richest of ours has: each is compiled, whatever it weighs."""
COST_BYTES: Final = 1024
"""So much of a schema that is asked about, or of all of them in a list, costs what a request costs."""
BODY_BYTES: Final = 2 * SCHEMA_BYTES + 4096
"""A schema as a JSON text, whose quotes and newlines take two bytes each."""

_ERRORS: Final[Mapping[str, tuple[int, int]]] = {
    "registry.unknown-subject": (404, 40401),
    "registry.unknown-version": (404, 40402),
    "registry.unknown-schema": (404, 40403),
    "registry.no-such-address": (404, 404),
    "registry.version": (422, 42202),
    "registry.read-only": (422, 42205),
}
"""Status and Confluent's `error_code`; whatever else is refused is an invalid schema."""
_INVALID: Final = (422, 42201)
_VALUE: Final = "-value"
"""What serializers add for a topic of this name (Confluent's TopicNameStrategy)."""


class Subjects:
    """The catalogue as subjects and versions: version n is the n-th schema registered for the type."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._by_id = registry_ids(catalogue)
        self._versions: dict[str, list[EventSchema]] = {}
        for each in catalogue:
            self._versions.setdefault(each.schema.name, []).append(each)

    def names(self, prefix: str = "") -> list[str]:
        """Every subject that begins so, once."""
        return [name for name in self._versions if name.startswith(prefix)]

    def schemas(self, prefix: str, *, newest: bool) -> list[dict[str, Any]]:
        """Every version of those, or the newest of each, as Confluent tells it."""
        told: list[dict[str, Any]] = []
        for name in self.names(prefix):
            count = len(self._versions[name])
            told += [self.registered(name, number) for number in range(count if newest else 1, count + 1)]
        return told

    def versions(self, subject: str) -> list[EventSchema]:
        """The schemas of a subject, oldest first. Raises Refused `registry.unknown-subject`."""
        found = self._versions.get(subject.removesuffix(_VALUE))
        if found is None:
            raise Refused("registry.unknown-subject")
        return found

    def version(self, subject: str, word: str) -> int:
        """The number that a word means: itself, or the newest. Raises Refused `registry.*`."""
        count = len(self.versions(subject))
        if word in {"latest", "-1"}:
            return count
        number = int(word) if word.isascii() and word.isdigit() and len(word) <= 10 else 0
        if not 0 < number <= ID_MAX:
            raise Refused("registry.version")
        if number > count:
            raise Refused("registry.unknown-version", version=number, count=count)
        return number

    def by_id(self, word: str) -> EventSchema:
        """The schema with an id. Raises Refused `registry.unknown-schema`."""
        found = self._by_id.get(int(word)) if word.isascii() and word.isdigit() and len(word) <= 10 else None
        if found is None:
            raise Refused("registry.unknown-schema")
        return found

    def number(self, subject: str, text: bytes) -> int:
        """The version whose schema this is, byte for byte or in another spelling of the same JSON.

        Raises Refused: `registry.unknown-subject`, `registry.unknown-schema`, `avro.schema-*`.
        """
        known, asked = self.versions(subject), avro.parse(text, TYPES)
        for number, each in enumerate(known, 1):
            if each.schema.id == asked.id or each.schema.type == asked.type:
                return number
        raise Refused("registry.unknown-schema")

    def registered(self, subject: str, number: int) -> dict[str, Any]:
        """One version as Confluent tells it."""
        schema = self.versions(subject)[number - 1].schema
        told = {"subject": subject, "version": number, "id": registry_id(schema.id)}
        return told | {"schema": schema.raw.decode("utf-8")}

    def pairs(self, word: str) -> list[dict[str, Any]]:
        """Every subject of an id with its version, under both its names. Raises Refused `registry.unknown-schema`."""
        wanted = self.by_id(word)
        name, version = wanted.schema.name, self.versions(wanted.schema.name).index(wanted) + 1
        return [{"subject": each, "version": version} for each in (name, f"{name}{_VALUE}")]


def router(catalogue: Catalogue) -> APIRouter:
    """Everything below `/registry`, without authentication: the catalogue is public."""
    made, subjects = APIRouter(prefix=PREFIX, tags=["registry"]), Subjects(catalogue)
    for path, read in _reads(subjects).items():
        made.add_api_route(path, _endpoint(read), **_described("GET", path))
    for path, tell in _lists(subjects).items():
        made.add_api_route(path, _endpoint(tell), **_described("GET", path, queried=_PARTS))
    for path, ask in _asks(subjects).items():
        made.add_api_route(path, _endpoint(ask), **_described("POST", path, _BODY))
    every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    made.add_api_route("/{rest:path}", _endpoint(_nothing), methods=every, include_in_schema=False)
    return made


class _Confluent(Response):
    media_type = KIND


def _described(
    method: str, path: str, body: Mapping[str, Any] | None = None, queried: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The method of a route, and what OpenAPI is told of it: its endpoint takes the request whole."""
    places = [(name, "path") for name in re.findall(r"\{(\w+)\}", path)] + [(name, "query") for name in queried]
    told = [{"name": name, "in": place, "required": place == "path", "schema": _TEXT} for name, place in places]
    extra: dict[str, Any] = {"parameters": told}
    if body is not None:
        extra["requestBody"] = {"required": True, "content": {KIND: {"schema": body}}}
    told_of = {"name": path, "openapi_extra": extra, "responses": answers(registered(method, path))}
    return {"methods": [method], "response_class": _Confluent, **told_of}


_TEXT: Final = {"type": "string"}
_PARTS: Final = ("subjectPrefix", "latestOnly", "offset", "limit")
_BODY: Final = {"type": "object", "required": ["schema"], "properties": {"schema": _TEXT, "schemaType": _TEXT}}


Told = Awaitable[Any]
Answer = Callable[[Request], Told]


def _reads(subjects: Subjects) -> dict[str, Answer]:
    """What can be read, by address."""

    def give(tell: Callable[[Mapping[str, str]], Any]) -> Answer:
        async def answer(request: Request) -> Any:
            return tell(request.path_params)

        return answer

    def one(at: Mapping[str, str]) -> dict[str, Any]:
        return subjects.registered(at["subject"], subjects.version(at["subject"], at["version"]))

    def all_of(at: Mapping[str, str]) -> list[int]:
        return [number for number, _ in enumerate(subjects.versions(at["subject"]), 1)]

    def of_subject(what: dict[str, str]) -> Callable[[Mapping[str, str]], Any]:
        return lambda at: subjects.versions(at["subject"]) and what

    level, mode = {"compatibilityLevel": LEVEL}, {"mode": "READONLY"}
    told: dict[str, Callable[[Mapping[str, str]], Any]] = {
        "/subjects/{subject}/versions": all_of,
        "/subjects/{subject}/versions/{version}": one,
        "/subjects/{subject}/versions/{version}/schema": lambda at: json.loads(one(at)["schema"]),
        "/subjects/{subject}/versions/{version}/referencedby": lambda at: one(at) and [],
        "/contexts": lambda _: ["."],
        "/schemas/types": lambda _: ["AVRO"],
        "/schemas/ids/{id}": lambda at: {"schema": subjects.by_id(at["id"]).schema.raw.decode("utf-8")},
        "/schemas/ids/{id}/schema": lambda at: json.loads(subjects.by_id(at["id"]).schema.raw),
        "/schemas/ids/{id}/subjects": lambda at: [each["subject"] for each in subjects.pairs(at["id"])],
        "/schemas/ids/{id}/versions": lambda at: subjects.pairs(at["id"]),
        "/config": lambda _: level,
        "/config/{subject}": of_subject(level),
        "/mode": lambda _: mode,
        "/mode/{subject}": of_subject(mode),
    }
    return {path: give(tell) for path, tell in told.items()}


def _lists(subjects: Subjects) -> dict[str, Answer]:
    """What is listed in parts, as the query wants it."""

    async def names(request: Request) -> Any:
        return _part(request, subjects.names(_prefix(request)))

    async def schemas(request: Request) -> Any:
        newest = request.query_params.get("latestOnly", "").lower() == "true"
        told = _part(request, subjects.schemas(_prefix(request), newest=newest))
        _charge(request, sum(len(each["schema"]) for each in told))
        return told

    return {"/subjects": names, "/schemas": schemas}


def _prefix(request: Request) -> str:
    """`subjectPrefix`, without the words for every context: there is one."""
    return request.query_params.get("subjectPrefix", "").removeprefix(":*:")


def _part(request: Request, found: list[Any]) -> list[Any]:
    """From `offset`, at most `limit`; 0, -1 and what is no number mean nothing, as with Confluent."""
    words = (request.query_params.get(name, "") for name in ("offset", "limit"))
    first, most = (int(word) if word.isascii() and word.isdigit() and len(word) <= 10 else 0 for word in words)
    return found[first : first + most if most else None]


def _asks(subjects: Subjects) -> dict[str, Answer]:
    """What is asked with a schema in the body."""

    async def look_up(request: Request) -> Any:
        subject, text = request.path_params["subject"], await _schema_text(request)
        return subjects.registered(subject, await asyncio.to_thread(subjects.number, subject, text))

    async def register(request: Request) -> Any:
        try:
            return {"id": (await look_up(request))["id"]}
        except Refused as fault:
            known = fault.code not in {"registry.unknown-schema", "registry.unknown-subject"}
            raise (fault if known else Refused("registry.read-only")) from None

    async def compatible(request: Request) -> Any:
        subject, word = request.path_params["subject"], request.path_params.get("version")
        history = subjects.versions(subject)
        chosen = history if word is None else [history[subjects.version(subject, word) - 1]]
        text = await _schema_text(request)
        breaks = await asyncio.to_thread(_breaks, [each.schema for each in chosen], text)
        told: dict[str, Any] = {"is_compatible": not breaks}
        if request.query_params.get("verbose", "").lower() == "true":
            told["messages"] = [_sentence(each, language_of(request)) for each in breaks]
        return told

    return {
        "/subjects/{subject}": look_up,
        "/subjects/{subject}/versions": register,
        "/compatibility/subjects/{subject}/versions": compatible,
        "/compatibility/subjects/{subject}/versions/{version}": compatible,
    }


def _breaks(history: list[avro.Schema], text: bytes) -> tuple[evolution.Break, ...]:
    return evolution.check_all(history, avro.parse(text, TYPES))


async def _nothing(request: Request) -> Any:
    raise Refused("registry.no-such-address" if request.method in {"GET", "POST"} else "registry.read-only")


async def _schema_text(request: Request) -> bytes:
    """The schema of the body. Raises Refused: `registry.body`, `registry.only-avro`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            raise Refused("registry.body", limit=BODY_BYTES)
    _charge(request, len(body))  # before it is parsed: it is what costs
    try:
        told = json.loads(body)
        text = told["schema"].encode("utf-8")
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        raise Refused("registry.body", limit=BODY_BYTES) from None
    if told.get("schemaType") not in (None, "AVRO") or told.get("references"):  # whatever it is: a list has no hash
        raise Refused("registry.only-avro")
    if len(text) > SCHEMA_BYTES:
        raise Refused("avro.schema-too-large", size=len(text), limit=SCHEMA_BYTES)
    return bytes(text)


def _charge(request: Request, size: int) -> None:
    """For so many bytes of schemas, in or out. Raises Refused `api.rate`."""
    passage: Passage | None = request.scope.get("unefois.passage")
    if passage is not None:
        passage.charge(size // COST_BYTES)


def _endpoint(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return _json(200, await answer(request))
        except Refused as fault:
            if fault.code == "api.rate":
                raise  # said as everywhere, with the seconds to wait
            status, code = _ERRORS.get(fault.code, _INVALID)
            return _json(status, {"error_code": code, "message": _sentence(fault, language_of(request))})

    return endpoint


def _sentence(coded: Refused | evolution.Break, language: Language) -> str:
    """What is wrong, where, and what to do."""
    place = coded.pointer if isinstance(coded, Refused) else coded.place
    message = explain(coded, language)
    return f"{coded.code}{f' at {place}' if place else ''}: {message.wrong} {message.remedy}"


def _json(status: int, told: Any) -> Response:
    return Response(json.dumps(told, ensure_ascii=False), status, media_type=KIND)
