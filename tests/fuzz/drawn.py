"""Drawn: what schemathesis draws from the documents of every door, data that fits and data that does not, with real ids
put in for those that were made up, and with a token of its own for each request.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Final, cast

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from broker.web.agencies.app import describe, describe_oauth
from broker.web.agencies.arriving import ENVELOPE
from broker.web.common.answered import operations, refusals
from broker.web.portals import app as portals
from broker.web.public import asyncapi, described, documentation, health, registry, site, transparency
from schemas import catalogue
from schemas.cloudevents import DECLARATION_MEDIA_TYPE
from tests.fuzz.asking import DEADLINE, Answer, spent
from tests.fuzz.judging import Asked, Judge
from tests.fuzz.town import Served, Town

DOCUMENTED: Final = (
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
)
NONSENSE: Final = ("Bearer ", "Bearer a.b.c", "Basic eDp5", "bearer \xc3\xa9", "Bearer " + "x" * 5_000)
_TEXT: Final = {"type": "string"}
_REST: Final = re.compile(r"(?<=/tile/).*|(?<=/docs/)\{page\}")
_WORDS: Final = {"declaration", "delivery", "subscription", "webhook", "schema", "subject", "id", "deliveries"}


@dataclass(frozen=True)
class Door:
    """Some addresses with their document. `described`: what they answer is in it, too, and is held to it."""

    name: str
    prefix: str
    document: Mapping[str, Any]
    described: bool = False
    witness: bool = False
    """Another process answers there."""


def doors() -> list[Door]:
    """All that a broker answers."""
    public = described_public()
    asked = {path: item for path, item in public["paths"].items() if path.startswith(registry.PREFIX)}
    return [
        Door("api", "/v1", describe(), described=True),
        Door("oauth", "/oauth2", describe_oauth(), described=True),
        Door("portals", portals.PREFIX, portals.describe(), described=True),
        Door("registry", "", public | {"paths": asked}, described=True),
        Door("open", "", _open(public), described=True),
        Door("witness", "", _witness(), witness=True),
    ]


def described_public() -> dict[str, Any]:
    """The document of what is public, of routers that nobody asks: they need no home."""
    none, known = cast("Any", None), catalogue.builtin()
    return described.document(
        [
            health.routes(none),
            transparency.router(none, none, none),
            registry.router(known),
            asyncapi.router(known),
            documentation.router(),
            site.router(),
        ]
    )


def _witness() -> dict[str, Any]:
    """As c2sp.org/tlog-witness has it."""
    body = {"required": True, "content": {"text/plain": {"schema": _TEXT}}}
    answers = {"200": {"description": "It."}}
    paths = {
        "/add-checkpoint": {"post": {"requestBody": body, "responses": answers}},
        "/vkey": {"get": {"responses": answers}},
    }
    return {"openapi": "3.1.0", "info": {"title": "witness", "version": "1"}, "paths": paths}


def _open(public: Mapping[str, Any]) -> dict[str, Any]:
    """Addresses that take nothing but their path, with paths that are near to real ones; what they answer is described
    in `public`.
    """
    paths = {
        "/health/live": (),
        "/health/ready": (),
        "/metrics": (),
        "/docs/errors.html": (),
        "/docs/{page}": ("page",),
        "/asyncapi.json": (),
        "/v1/openapi.json": (),
        "/oauth2/openapi.json": (),
        "/openapi.json": (),
        "/log/checkpoint": (),
        "/log/vkey": (),
        "/log/witnessed/checkpoint": (),
        "/log/tile/{level}/{index}": ("level", "index"),
        "/log/tile/entries/{index}": ("index",),
        "/log/tile/{level}/{index}.p/{width}": ("level", "index", "width"),
        "/log/follows/{index}": ("index",),
    }
    document = {
        "200": {"description": "It.", "content": {"application/json": {"schema": {"type": "object"}}}},
        "304": {"description": "-"},
    }
    number = {"type": "integer", "minimum": 0, "maximum": 300}
    query = [{"name": "x", "in": "query", "schema": _TEXT}, {"name": "If-None-Match", "in": "header", "schema": _TEXT}]
    return {
        "openapi": "3.1.0",
        "info": {"title": "open", "version": "1"},
        "components": public["components"],
        "paths": {
            path: {
                "get": {
                    "parameters": [
                        *({"name": n, "in": "path", "required": True, "schema": number} for n in names),
                        *query,
                    ],
                    "responses": public["paths"][_REST.sub("{path}", path)]["get"]["responses"]
                    if "openapi" not in path
                    else document | refusals(),
                }
            }
            for path, names in paths.items()
        },
    }


@dataclass
class Drawing:
    """One run: who asks whom, with which chance."""

    town: Town
    served: Served
    witness: Served
    judge: Judge
    chance: Random
    session: requests.Session
    pause: Callable[[], None] = lambda: None

    def draw(self, door: Door, method: str, path: str, mode: GenerationMode, number: int, count: int) -> int:
        """So many cases of one operation, or fewer where there are no more. Returns how many."""
        schema = schemathesis.openapi.from_dict(dict(door.document))
        operation, asked = schema[path][method], 0
        label = f"{method} {door.prefix}{path}"

        @seed(number)
        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def drawing(case: schemathesis.Case) -> None:
            nonlocal asked
            self.pause()
            asked += self._one(door, label, mode, case)

        with suppress(schemathesis.errors.SchemathesisError, Unsatisfiable):  # there is none of this kind
            drawing()
        return asked

    def _one(self, door: Door, label: str, mode: GenerationMode, case: schemathesis.Case) -> bool:
        who, shown = self._who(label)
        wait = self._real(case)
        if shown is not None:
            case.headers["Authorization"] = shown
        proven = label.startswith(("GET /v1/", "POST /v1/")) and who not in {"nobody", "nonsense", "expired"}
        proven = proven and "openapi" not in label
        asked = Asked(label, mode.name.lower(), proven, case.method, _told(case, who), wait)
        response, answer = self._call(door, case)
        if response is None:
            return False
        for _ in range(2):
            if self.judge.over(asked, answer):
                answer = min(answer, self._call(door, case)[1], key=lambda one: one.spent)
        self.judge.take(asked, answer)
        if door.described:
            try:
                case.validate_response(response, checks=list(DOCUMENTED), additional_checks=[])
            except (AssertionError, FailureGroup) as undocumented:
                told = f"{asked.sent[:300]} -> {answer.status} {str(undocumented)[:400]}"
                self.judge.tell(label, "not as the document says", told)
        self._learn(label, answer)
        return True

    def _call(self, door: Door, case: schemathesis.Case) -> tuple[Any, Answer]:
        """What schemathesis has of it, None where no client of this language can say that, and what came back."""
        served = self.witness if door.witness else self.served
        before = spent(served)
        try:
            response = case.call(base_url=f"{served.url}{door.prefix}", session=self.session, timeout=DEADLINE * 2)
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, UnicodeError):
            return None, Answer(None)
        after = spent(served)
        told = {name.lower(): values[0] for name, values in response.headers.items()}
        answer = Answer(response.status_code, told, response.content, response.elapsed, after - before)
        return response, answer

    def _who(self, label: str) -> tuple[str, str | None]:
        """Mostly who may; sometimes another, nobody, or nonsense."""
        fit = "portal" if "declarations" in label or "subjects" in label else "caf"
        drawn = self.chance.random()
        if drawn < 0.75:
            who = fit
        elif drawn < 0.87:
            who = self.chance.choice(sorted(self.town.tokens))
        elif drawn < 0.93:
            return "nobody", None
        else:
            return "nonsense", self.chance.choice(NONSENSE)
        return who, f"Bearer {self.town.tokens[who]}"

    def _real(self, case: schemathesis.Case) -> float:
        """Real ids in the place of half of those that are made up; returns the seconds that are asked to wait for."""
        for name in list(case.path_parameters or {}):
            if self.town.known.get(name) and self.chance.random() < 0.6:
                case.path_parameters[name] = self.chance.choice(self.town.known[name])
        if case.media_type in {ENVELOPE, DECLARATION_MEDIA_TYPE} and self.chance.random() < 0.6:
            case.body = mutated(self.chance.choice(self.town.envelopes), self.chance)
        if case.media_type == "text/plain" and self.chance.random() < 0.6:
            case.body = mutated(self.town.submission, self.chance).decode("utf-8", "replace")
        body = case.body
        if isinstance(body, dict):
            if isinstance(body.get("wait"), int | float) and 0 < body["wait"] <= 20:
                body["wait"] = int(self.chance.random() < 0.1)  # ten thousand waits would be all of the run
            if self.chance.random() < 0.6:
                case.body = self._with_real(body)
        wait = body.get("wait", 0) if isinstance(body, dict) else 0
        return float(wait) if isinstance(wait, int | float) and 0 <= wait <= 20 else 0.0

    def _with_real(self, told: Any, word: str = "") -> Any:
        if isinstance(told, dict):
            return {name: self._with_real(value, name) for name, value in told.items()}
        if isinstance(told, list):
            return [self._with_real(each, word) for each in told]
        known = {"deliveries": "delivery"}.get(word, word)
        real = self.town.known.get(known) if isinstance(told, str) else None
        return self.chance.choice(real) if real else told

    def _learn(self, label: str, answer: Answer) -> None:
        """Ids that later requests name."""
        if answer.status not in {200, 201, 202} or not label.startswith(("GET /v1/", "POST /v1/")):
            return
        try:
            told = json.loads(answer.body)
        except ValueError:
            return
        mine = _ID.get(label.split("/")[2].partition(":")[0], "")
        for name, value in _named(told):
            word = mine if name == "id" else name
            if word in _WORDS and isinstance(value, str):
                self.town.learn(word, value)


def mutated(raw: bytes, chance: Random) -> bytes:
    """The same bytes, or with one changed, cut off, doubled or put in."""
    at = chance.randrange(len(raw))
    return chance.choice(
        (
            raw,
            raw[:at] + bytes([raw[at] ^ 1 << chance.randrange(8)]) + raw[at + 1 :],
            raw[:at],
            raw + raw[at:],
            raw[:at] + chance.randbytes(9) + raw[at:],
            raw[:at] + b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + raw[at + 9 :],
        )
    )


_ID: Final = {"deliveries": "delivery", "subscriptions": "subscription", "webhooks": "webhook"}


def _named(told: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(told, dict):
        for name, value in told.items():
            yield name, value
            yield from _named(value)
    elif isinstance(told, list):
        for each in told:
            yield from _named(each)


def _told(case: schemathesis.Case, who: str) -> str:
    return f"{who} {case.method} {case.formatted_path} ? {case.query} {str(case.body)[:200]}"


def all_operations() -> list[tuple[Door, str, str]]:
    """Each door's operations: method, in capitals, and path."""
    return [(door, method, path) for door in doors() for method, path, _ in operations(door.document)]
