"""Declarations as CloudEvents over HTTP, made by the SDK of the CloudEvents project; and the key of sending again."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from schemas import cloudevents
from schemas.envelope import SignedDeclaration
from schemas.facts import FactKind
from schemas.manifest import Manifest
from tests.unit.broker.web.agencies.calls import Caller, Served
from tests.world import BANK, CAF, CPAM, FAMILY, MOVED, PORTAL

pytestmark = pytest.mark.asyncio
ONE, MANY = "/v1/declarations", "/v1/declarations:batch"
BATCH = {"content_type": "application/cloudevents-batch+json"}
NOBODY = "00000000-0000-0000-0000-000000000000"


async def made(served: Served, **changes: Any) -> CloudEvent:
    """A signed envelope as the SDK carries it."""
    content = await served.here.home.desk.envelope(PORTAL, MOVED, served.here.moved())
    manifest = Manifest.decode(SignedDeclaration.decode(content).payload)
    told = cloudevents.declaration(
        manifest.source,
        manifest.event_type,
        manifest.schema,
        declaration_id=manifest.declaration_id,
        issued_at=manifest.issued_at,
        envelope=content,
    ).attributes()
    time = datetime.fromtimestamp(manifest.issued_at / 1000, UTC)
    return CloudEvent({**told, "time": time, **changes}, content)


async def sent(caller: Caller, message: http.HTTPMessage, **more: str) -> Any:
    headers = {name.replace("-", "_"): value for name, value in message.headers.items()}
    return await caller.asks("POST", ONE, message.body, **headers, **more)


@pytest.mark.parametrize("mode", [http.to_structured, http.to_binary])
async def test_an_event_of_the_sdk_is_taken_in_either_mode_and_reaches_who_may_have_it(
    served: Served, mode: Any
) -> None:
    await served.here.give(CAF, MOVED, FAMILY, ["subject"])
    portal, event = await served.caller(PORTAL), await made(served)
    answer = await sent(portal, mode(event, JSONFormat()))
    again = await portal.asks("POST", ONE, event.get_data(), content_type="application/avro")
    await served.here.home.router.route()

    assert (202, event.get_id()) == (answer.status_code, answer.json()["declaration"])
    assert answer.json() | {"repeated": True} == again.json()
    assert 1 == len(await served.here.take(CAF))


@pytest.mark.parametrize(
    ("name", "value"),
    [("type", BANK), ("source", CAF), ("id", NOBODY), ("dataschema", f"urn:unefois:schema:{'0' * 64}")],
)
async def test_an_event_that_says_something_else_outside_than_inside_is_refused(
    served: Served, name: str, value: str
) -> None:
    portal, event = await served.caller(PORTAL), await made(served, **{name: value})
    answer = await sent(portal, http.to_structured(event, JSONFormat()))
    assert (422, "cloudevents.attribute-differs") == (answer.status_code, answer.json()["code"])
    assert f"/{name}" == answer.json()["errors"][0]["pointer"]
    assert not await served.here.entries(FactKind.RECEIVED)


async def test_a_batch_has_a_result_for_each_event_and_one_that_differs_hinders_no_other(served: Served) -> None:
    portal = await served.caller(PORTAL)
    events = [await made(served), await made(served, type=BANK), await made(served)]
    bodies = [json.loads(http.to_structured(event, JSONFormat()).body) for event in events]
    told = (await portal.asks("POST", MANY, bodies, **BATCH)).json()["results"]

    assert [True, False, True] == [one["ok"] for one in told]
    assert [events[0].get_id(), events[2].get_id()] == [told[0]["declaration"], told[2]["declaration"]]
    assert "cloudevents.attribute-differs" == told[1]["problem"]["code"]


@pytest.mark.parametrize(
    ("path", "media", "body", "code"),
    [
        (ONE, "application/cloudevents+json", b"{}", "cloudevents.json-data"),
        (ONE, "application/cloudevents+json", b"[]", "cloudevents.json"),
        (ONE, "application/cloudevents+json", b"{", "cloudevents.json"),
        (ONE, "application/cloudevents+json", b'{"id": "1", "id": "2"}', "cloudevents.json"),
        (ONE, "application/cloudevents+json; charset=latin-1", b"{}", "api.media-type"),
        (ONE, "application/cloudevents-batch+json", b"[]", "api.media-type"),
        (ONE, "application/cloudevents+xml", b"<x/>", "api.media-type"),
        (ONE, "application/vnd.unefois.declaration.v1+avro", b"x", "cloudevents.missing"),
        (MANY, "application/cloudevents-batch+json", b"[]", "cloudevents.batch-size"),
        (MANY, "application/cloudevents-batch+json", b"{}", "cloudevents.batch-size"),
        (MANY, "application/cloudevents-batch+json", json.dumps([{}] * 101).encode(), "cloudevents.batch-size"),
        (MANY, "application/cloudevents-batch+json", b"[1]", "cloudevents.json"),
        (MANY, "application/cloudevents-batch+json", b'[{"id": 1}]', "cloudevents.attribute"),
    ],
)
async def test_what_is_no_event_is_refused_whole(served: Served, path: str, media: str, body: bytes, code: str) -> None:
    portal = await served.caller(PORTAL)
    status = 415 if code == "api.media-type" else 422
    assert (status, code) == await portal.problem("POST", path, body, content_type=media)


async def test_sent_again_while_the_first_is_under_way_it_is_one_declaration_with_one_receipt(served: Served) -> None:
    await served.here.give(CAF, MOVED, FAMILY, ["subject"])
    portal, event = await served.caller(PORTAL), await made(served)
    message = http.to_structured(event, JSONFormat())
    answers = await asyncio.gather(*(sent(portal, message) for _ in range(4)))
    await served.here.home.router.route()

    assert {202} == {each.status_code for each in answers}
    assert 1 == len({json.dumps(each.json()["receipt"], sort_keys=True) for each in answers})
    assert 1 == len(await served.here.take(CAF))


async def test_a_correction_over_http_goes_to_those_who_got_what_it_corrects(served: Served) -> None:
    here = served.here
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    portal, caf = await served.caller(PORTAL), await served.caller(CAF)
    first = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    content = await here.home.desk.envelope(PORTAL, MOVED, here.moved(), corrects=first.declaration_id)
    answer = await portal.asks("POST", ONE, content, content_type="application/avro")
    await here.home.router.route()
    told = await portal.told("GET", answer.headers["location"])

    assert first.declaration_id.hex() == told["corrects"].replace("-", "")
    assert 1 == (await caf.told("GET", "/v1/status"))["waiting"]
    assert 0 == (await (await served.caller(CPAM)).told("GET", "/v1/status"))["waiting"]
