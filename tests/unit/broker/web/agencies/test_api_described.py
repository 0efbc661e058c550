"""The OpenAPI document against a running server: every example does what it shows, and what nobody thought of is
refused as the document says, with no fault of the server's (schemathesis).
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

import httpx2
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from broker.directory.succession import NewKey
from broker.services import identities, parties, representations
from broker.services.households import Awaited, Declared
from broker.shapes import uuid_of
from broker.web.agencies.app import PREFIX, describe, describe_oauth
from broker.web.agencies.examples import DECLARATION, DELIVERY, EXAMPLES, REPRESENTATION, SUBSCRIPTION, WEBHOOK
from broker.web.agencies.waiting import Waiting
from broker.web.common.answered import operations
from broker.web.common.bodies import b64u
from connectors.contract import Rejected
from connectors.renewal import Renewal, Told
from schemas.directory import Directory
from schemas.names import EventType, Reason
from schemas.signing import Algorithm, PrivateKey
from schemas.succession import Use
from tests.answering import Answering, answering
from tests.fuzz.drawn import described_public
from tests.world import CAF, ELISE, FAMILY, MOVED, PORTAL, YANN, World, blank

pytestmark = pytest.mark.more
WITHOUT_FORM: Final = (
    "/asyncapi.json",
    "/registry/schemas/ids/{id}/schema",
    "/registry/subjects/{subject}/versions/{version}/schema",
)
"""Their forms are other standards': AsyncAPI, Avro."""
SOURCES: Final = ("declarations", "subjects", "households", "representations")
"""What a source asks for."""
EXAMPLES_EACH: Final = 60 if os.environ.get("UNEFOIS_PROOF") else 2
"""Requests that are made up for each operation and kind."""

# The order in which the examples are sent; each finds what those before have left
STORY: Final = (
    "POST /v1/subjects:resolve",
    "POST /v1/declarations",
    "POST /v1/declarations:batch",
    "POST /v1/households",
    "POST /v1/households/{household}:confirm",
    "POST /v1/households/{household}:refuse",
    "POST /v1/representations",
    "POST /v1/representations/{represented}:end",
    "POST /v1/declarations/{declaration}:link",
    "GET /v1/declarations/{declaration}",
    "GET /v1/status",
    "POST /v1/deliveries:pull",
    "POST /v1/deliveries:release",
    "POST /v1/deliveries:ack",
    "GET /v1/declarations/{declaration}/receipt",
    "GET /v1/deliveries/{delivery}/receipt",
    "GET /v1/dead-letters",
    "POST /v1/deliveries:replay",
    "GET /v1/directory",
    "GET /v1/directory:signed",
    "GET /v1/directory/notes",
    "GET /v1/directory/jwks",
    "GET /v1/law:signed",
    "GET /v1/law/notes",
    "GET /v1/schemas",
    "GET /v1/schemas/{schema}",
    "POST /v1/keys:challenge",
    "POST /v1/keys",
    "POST /v1/subscriptions",
    "GET /v1/subscriptions",
    "GET /v1/subscriptions/{subscription}",
    "POST /v1/subscriptions/{subscription}:pause",
    "POST /v1/subscriptions/{subscription}:resume",
    "POST /v1/subscriptions/{subscription}:end",
    "POST /v1/webhooks",
    "GET /v1/webhooks",
    "GET /v1/webhooks/{webhook}",
    "POST /v1/webhooks/{webhook}:prove",
    "POST /v1/webhooks/{webhook}:rotate",
    "GET /v1/webhooks/{webhook}/attempts",
    "POST /v1/webhooks/{webhook}:end",
)


class Impatient(Waiting):
    """Nobody waits: what waits is another test's."""

    async def until(self, *_: Any, **__: Any) -> None:
        """At once."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answering]:
    """A broker that answers, with a citizen who allows."""
    with answering(tmp_path_factory.mktemp("described"), Impatient()) as made:
        made.inside(lambda here: here.give(CAF, MOVED, FAMILY, ["subject"]))
        for right in (representations.STARTED, representations.ENDED):
            made.inside(partial(_allowed, right))
        yield made


def test_every_operation_has_its_example_and_is_sent() -> None:
    described = {f"{method} {PREFIX}{path}" for method, path, _ in operations(describe())}
    assert set(STORY) == described
    assert set(STORY) == {f"{method} {path}" for method, path in EXAMPLES}


async def _envelope(here: World) -> bytes:
    return await here.home.desk.envelope(PORTAL, MOVED, here.moved())


async def _allowed(right: EventType, here: World) -> None:
    await parties.allow(here.home, PORTAL, right)


async def _form(here: World) -> dict[str, Any]:
    """A household: Élise, and Yann who has to confirm."""
    token, _ = await here.home.desk.token(PORTAL, {"subject": YANN})
    return {"members": [{"declaration": b64u(await _envelope(here))}, {"subject_token": b64u(token)}]}


async def _refusable(here: World) -> tuple[str, str]:
    """Another household whose adult refuses: its id, and the code."""
    members = [Declared(await _envelope(here)), Awaited((await here.home.desk.token(PORTAL, {"subject": YANN}))[0])]
    form = await here.home.households.open(PORTAL, members)
    return uuid_of(form.household), form.codes[0].code


async def _renamed(here: World) -> str:
    """A change of name that the portal has declared: its id."""
    kind, at = EventType(identities.NAME_CHANGED), here.clock()
    async with here.home.store.begin() as tx:
        await here.home.registrar.allow_publishing(tx, PORTAL, kind, at)
    told = {"subject": ELISE, "capacity": "self", "effective_date": "2026-12-01", "nature": "family_name"}
    act = {"commune": "35238", "country": "99100", "number": "123", "drawn_up_on": None}
    record = blank(here.home, kind) | told | {"new_family_name": "Moreau", "act": act}
    accepted = await here.home.desk.declare(PORTAL, kind, record)
    await here.home.router.route()
    return uuid_of(accepted.declaration_id)


async def _confirmed(here: World) -> str:
    return b64u(await here.home.desk.envelope(PORTAL, MOVED, here.moved(YANN)))


async def _handed(here: World) -> dict[str, Any]:
    """A new signing key of CAF's, as its client hands it in."""
    directory = (await here.home.publication.newest()).content
    (present,) = here.home.keyring.signers(Directory.from_json(directory), CAF, here.clock())
    new, renewal = PrivateKey.generate(Algorithm.ED25519), Renewal(CAF, present)
    made = here.home.succession.challenge(CAF, NewKey(Use.SIGNING, new.algorithm, new.public), here.clock())
    told: dict[str, Any] = json.loads(renewal.take(new, Told(made.challenge, None)).body or b"")
    return told


async def _rejected(here: World) -> None:
    await here.home.router.route()
    for one in (await here.inbox(CAF).pull(10)).locked:
        await here.inbox(CAF).acknowledge(one.delivery_id, Rejected("crm.closed", Reason.SYSTEM_REFUSED))
        await here.home.router.route()


def _members(told: Any) -> Any:
    """The members and types of an example or an answer; of a list, those of its first."""
    if isinstance(told, Mapping):
        return {name: _members(value) for name, value in told.items()}
    if isinstance(told, list):
        return [_members(told[0])] if told else []
    return None if told is None else type(told).__name__


def _same(expected: Any, found: Any) -> bool:
    """As the example shows; null and an empty list may stand for anything."""
    if expected is None or found is None or [] in (expected, found):
        return True
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        return set(expected) == set(found) and all(_same(expected[name], found[name]) for name in expected)
    if isinstance(expected, list) and isinstance(found, list):
        return _same(expected[0], found[0])
    return bool(expected == found)


def test_every_example_does_what_it_shows(running: Answering) -> None:
    tokens = {party: running.token(party) for party in (CAF, PORTAL)}
    (mine,) = [one for one in running.here.subscriptions.values() if (one.recipient, one.event_type) == (CAF, MOVED)]
    real = {"TG9ja2Vk": b64u(running.inside(_envelope)), SUBSCRIPTION: uuid_of(mine.id)}
    sent, received, household = [], set(), dict[str, Any]()
    with httpx2.Client(base_url=running.url) as client:
        for name in STORY:
            method, path = name.split(" ")
            example = EXAMPLES[method, path]
            for parameter, value in example.get("path", {}).items():
                path = path.replace(f"{{{parameter}}}", value)
            body = json.dumps(example.get("request"))
            for shown, now in real.items():
                body, path = body.replace(shown, now), path.replace(shown, now)
            party = PORTAL if any(word in name for word in SOURCES) else CAF
            headers = {"authorization": f"Bearer {tokens[party]}", "content-type": "application/json"}
            content: bytes | None = body.encode() if "request" in example else None
            if name == "POST /v1/keys":
                content = json.dumps(running.inside(_handed)).encode()
            if name == "POST /v1/declarations":
                content, headers["content-type"] = running.inside(_envelope), "application/avro"
            if name == "POST /v1/households":
                content = json.dumps(running.inside(_form)).encode()
            if name.endswith(":confirm"):
                told = {"code": household["waiting"][0]["code"], "declaration": running.inside(_confirmed)}
                content, path = json.dumps(told).encode(), path.replace(real[DECLARATION], household["household"])
            if name.endswith(":refuse"):
                of, code = running.inside(_refusable)
                content, path = json.dumps({"code": code}).encode(), path.replace(real[DECLARATION], of)
            if name.endswith(":link"):
                path = path.replace(real[DECLARATION], running.inside(_renamed))
            answer = client.request(method, path, content=content, headers=headers)
            assert answer.is_success, (name, answer.text)
            _check_form(method, path_of(name), answer)
            if "response" in example:
                expected, found = _members(example["response"]), _members(answer.json())
                assert _same(expected, found), (name, expected, found)
            real |= _learned(name, answer)
            household = answer.json() if name == "POST /v1/households" else household
            if name == "POST /v1/declarations:batch":
                running.inside(lambda here: here.home.router.route())
            if name == "POST /v1/deliveries:ack":
                running.inside(_rejected)
                running.inside(lambda here: here.home.ledger.sequence_unfinished())
            sent.append(name)
            received.add(str(answer.status_code))
    assert {"200", "201", "202"} == received
    assert list(STORY) == sent


def path_of(name: str) -> str:
    """The path of an operation in the document."""
    return name.partition(" ")[2].removeprefix(PREFIX)


def _check_form(method: str, path: str, answer: httpx2.Response) -> None:
    """The answer has the form that the document tells, and no member that it does not tell."""
    document = closed(describe())
    told = document["paths"][path][method.lower()]["responses"][str(answer.status_code)]["content"]
    media = answer.headers["content-type"].partition(";")[0]
    if media.endswith("json"):
        schema = told[media]["schema"] | {"components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())
    else:
        assert {"type": "string"} == told[media]["schema"]


def closed(document: Any) -> Any:
    """The document, in which a form has the members that it names and no others; a schema of Avro has more."""
    told = json.loads(json.dumps(document))
    for name, form in told["components"]["schemas"].items():
        if form.get("type") == "object" and name != "AvroSchema":
            form["additionalProperties"] = False
    return told


@pytest.mark.parametrize("described", [describe, describe_oauth, described_public])
def test_every_answer_of_every_operation_has_a_form(described: Any) -> None:
    document = described()
    for method, path, operation in operations(document):
        good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        (told,) = good
        for media, content in told["content"].items():
            schema = content["schema"]
            named = "$ref" in schema or "items" in schema or "json" not in media or path in WITHOUT_FORM
            assert schema, (method, path, media)
            assert named, (method, path, media)
        assert {"4XX", "5XX"} < set(operation["responses"]), (method, path)
        for status in ("4XX", "5XX"):
            problem = operation["responses"][status]["content"]["application/problem+json"]
            assert {"$ref": "#/components/schemas/Problem"} == problem["schema"]


@pytest.mark.parametrize("described", [describe, describe_oauth, described_public])
def test_every_operation_has_a_name_of_its_own(described: Any) -> None:
    names = [operation["operationId"] for _, _, operation in operations(described())]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]+", name) for name in names)


def _learned(name: str, answer: httpx2.Response) -> dict[str, str]:
    """Ids that later examples name."""
    if name == "POST /v1/declarations":
        return {DECLARATION: answer.json()["declaration"]}
    if name == "POST /v1/representations":
        return {REPRESENTATION: answer.json()["id"]}
    if name == "POST /v1/deliveries:pull":
        return {DELIVERY: answer.json()["deliveries"][0]["id"]}
    return {WEBHOOK: answer.json()["id"]} if name == "POST /v1/webhooks" else {}


CHECKS: Final = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.ignored_auth,
]
"""Not asked: that whatever fits the schema is taken. A name that is none, a field that does not exist are refused."""


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize(
    ("document", "path", "method"),
    [
        (described, path, method)
        for described in (describe, describe_oauth)
        for method, path, _ in operations(described())
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_nobody_thought_of_is_answered_as_the_document_says(
    running: Answering, document: Any, path: str, method: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(document())
    operation = schema[path][method]
    headers = {"Authorization": f"Bearer {running.token(CAF)}"}
    base = f"{running.url}{document()['servers'][0]['url']}"

    @seed(6)
    @settings(max_examples=EXAMPLES_EACH, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def asked(case: schemathesis.Case) -> None:
        response = case.call(base_url=base, headers=headers)
        case.validate_response(response, checks=CHECKS)
        assert not re.search(r"Traceback|\.py\b", response.text)

    try:
        asked()
    except schemathesis.errors.SchemathesisError as none:
        pytest.skip(str(none))
