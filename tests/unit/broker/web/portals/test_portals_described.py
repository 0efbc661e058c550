"""The OpenAPI document of the portals' API against a running broker: every example does what it shows, in its form."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import jsonschema
import pytest

from broker.web.agencies.app import describe as describe_agencies
from broker.web.common.answered import operations
from broker.web.portals.app import PREFIX, describe
from broker.web.portals.examples import EXAMPLES
from tests.unit.broker.web.portals.calls import Portals
from tests.unit.broker.web.portals.story import Sent, examples, story

OPEN: Final = frozenset({"Acknowledgement", "Export"})
"""Forms that another document tells whole."""


def members(told: Any) -> Any:
    """The members and types of an example or an answer; of a list, those of its first."""
    if isinstance(told, Mapping):
        return {name: members(value) for name, value in told.items()}
    if isinstance(told, list):
        return [members(told[0])] if told else []
    return None if told is None else type(told).__name__


def same(expected: Any, found: Any) -> bool:
    """As the example shows; null and an empty list or object may stand for anything."""
    if expected is None or found is None or [] in (expected, found) or {} in (expected, found):
        return True
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        return expected.keys() == found.keys() and all(same(expected[name], found[name]) for name in expected)
    if isinstance(expected, list) and isinstance(found, list):
        return same(expected[0], found[0])
    return bool(expected == found)


def closed() -> Any:
    """The document, in which a form has the members that it names and no others."""
    told = json.loads(json.dumps(describe()))
    for name, form in told["components"]["schemas"].items():
        if form.get("type") == "object" and name not in OPEN:
            form["additionalProperties"] = False
    return told


def check(document: Any, one: Sent) -> None:
    """What was sent and answered has the forms that the document tells, and no member that it does not tell."""
    operation = document["paths"][one.route][one.method.lower()]
    schema = operation["responses"][str(one.status)]["content"]["application/json"]["schema"]
    whole = schema | {"components": document["components"]}
    jsonschema.Draft202012Validator(whole).validate(one.answer)
    parameters = {each["name"] for each in operation.get("parameters", ()) if each["in"] != "header"}
    assert {*one.path, *one.query} <= parameters, one.name
    assert ("requestBody" in operation) == (one.body is not None), one.name
    if one.body is not None:
        taken = operation["requestBody"]["content"]["application/json"]["schema"] | {
            "components": document["components"]
        }
        jsonschema.Draft202012Validator(taken).validate(one.body)


@pytest.mark.asyncio
async def test_every_operation_is_sent_and_does_what_its_example_shows_in_the_form_that_is_described(
    portals: Portals,
) -> None:
    told, document = await story(portals), closed()

    described = {f"{method} {path}" for method, path, _ in operations(document)}
    assert described == {one.name for one in told}
    assert len(described) == len(told)
    for one in told:
        check(document, one)
    found = json.loads(json.dumps(examples(told)))
    assert set(found) == {f"{method} {path}" for method, path in EXAMPLES}
    for name, now in found.items():
        method, _, path = name.partition(" ")
        assert same(members(EXAMPLES[method, path]), members(now)), name


def test_the_document_shows_the_examples_and_says_what_is_needed() -> None:
    for method, path, operation in operations(describe()):
        example = EXAMPLES[method, PREFIX + path]
        (good,) = [one for status, one in operation["responses"].items() if status.startswith("2")]
        assert example["response"] == good["content"]["application/json"]["example"], path
        assert {"4XX", "5XX", "403"} < set(operation["responses"]), path
        (needed,) = operation["security"]
        assert ["citizens"] == needed["token"], path
        assert ("session" in needed) == ((method, path) not in WITHOUT_SESSION), path
    assert {"token", "session"} == set(describe()["components"]["securitySchemes"])


WITHOUT_SESSION: Final = {("POST", "/nonces"), ("POST", "/sessions"), ("POST", "/session:end"), ("GET", "/types")}


def test_every_operation_has_a_name_of_its_own_beside_those_of_the_agencies() -> None:
    names = [operation["operationId"] for _, _, operation in operations(describe())]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]+", name) for name in names)
    assert describe()["servers"] != describe_agencies()["servers"]


@pytest.mark.asyncio
async def test_the_document_is_for_everybody(portals: Portals) -> None:
    response = await portals.stranger.asks("GET", "/openapi.json")

    assert (200, describe()) == (response.status_code, response.json())
