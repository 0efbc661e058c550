"""Route x role x object: every route of the app has its row, and each row holds. A new route without a row fails."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from broker.access.credentials import Scope
from broker.services import representations
from broker.services.households import Filled, fill_in
from broker.web.agencies.app import PREFIX, ROUTES
from broker.web.agencies.examples import EXAMPLES, PUBLIC
from broker.web.common.frame import ALWAYS
from broker.web.common.strict import StrictRoute
from broker.web.portals.app import PREFIX as PORTALS
from tests.unit.broker.web.agencies.calls import Served
from tests.world import CAF, CPAM, ELISE, FAMILY, MOVED, PORTAL, YANN

pytestmark = pytest.mark.asyncio
NOBODY = "00000000-0000-0000-0000-000000000000"
ENVELOPE = object()
WISH = {"event_type": MOVED, "purpose": "town-planning", "fields": ["subject"]}
ACK = {"acknowledgements": [{"delivery": NOBODY, "outcome": "applied"}]}

HANDED = EXAMPLES["POST", "/v1/keys"]["request"]

# route -> who may come, with what, and what a caller with that scope alone is answered
CONFIRMED = {"code": "AA", "declaration": "AA"}
TABLE: dict[tuple[str, str], tuple[Scope, Any, int]] = {
    ("POST", "/subjects:resolve"): (Scope.PUBLISH, {}, 422),
    ("POST", "/declarations"): (Scope.PUBLISH, b"no envelope", 422),
    ("POST", "/declarations:batch"): (Scope.PUBLISH, {"declarations": ["AA"]}, 200),
    ("GET", "/declarations/{declaration}"): (Scope.PUBLISH, None, 404),
    ("POST", "/households"): (Scope.PUBLISH, {"members": []}, 422),
    ("POST", "/households/{household}:confirm"): (Scope.PUBLISH, CONFIRMED, 422),
    ("POST", "/households/{household}:refuse"): (Scope.PUBLISH, {"code": "AA"}, 404),
    ("POST", "/representations"): (Scope.PUBLISH, {}, 422),
    ("POST", "/representations/{represented}:end"): (Scope.PUBLISH, None, 403),
    ("POST", "/declarations/{declaration}:link"): (Scope.PUBLISH, {"old": ELISE, "new": ELISE}, 404),
    ("POST", "/deliveries:pull"): (Scope.RECEIVE, {}, 200),
    ("POST", "/deliveries:ack"): (Scope.RECEIVE, ACK, 200),
    ("POST", "/deliveries:release"): (Scope.RECEIVE, {"deliveries": [NOBODY]}, 404),
    ("POST", "/deliveries:replay"): (Scope.RECEIVE, {"deliveries": [NOBODY]}, 200),
    ("GET", "/declarations/{declaration}/receipt"): (Scope.PUBLISH, None, 404),
    ("GET", "/deliveries/{delivery}/receipt"): (Scope.RECEIVE, None, 404),
    ("GET", "/dead-letters"): (Scope.RECEIVE, None, 200),
    ("GET", "/status"): (Scope.RECEIVE, None, 200),
    ("POST", "/webhooks"): (Scope.RECEIVE, {"url": "http://a.example/"}, 422),
    ("GET", "/webhooks"): (Scope.RECEIVE, None, 200),
    ("GET", "/webhooks/{webhook}"): (Scope.RECEIVE, None, 404),
    ("POST", "/webhooks/{webhook}:prove"): (Scope.RECEIVE, None, 404),
    ("POST", "/webhooks/{webhook}:rotate"): (Scope.RECEIVE, {}, 404),
    ("POST", "/webhooks/{webhook}:end"): (Scope.RECEIVE, None, 404),
    ("GET", "/webhooks/{webhook}/attempts"): (Scope.RECEIVE, None, 404),
    ("POST", "/keys:challenge"): (Scope.KEYS, {"use": "signing", "kind": 1, "public": PUBLIC}, 200),
    ("POST", "/keys"): (Scope.KEYS, HANDED, 422),
    ("GET", "/directory"): (Scope.READ, None, 200),
    ("GET", "/directory:signed"): (Scope.READ, None, 200),
    ("GET", "/directory/notes"): (Scope.READ, None, 200),
    ("GET", "/directory/jwks"): (Scope.READ, None, 200),
    ("GET", "/law:signed"): (Scope.READ, None, 200),
    ("GET", "/law/notes"): (Scope.READ, None, 200),
    ("GET", "/schemas"): (Scope.READ, None, 200),
    ("GET", "/schemas/{schema}"): (Scope.READ, None, 404),
    ("GET", "/subscriptions"): (Scope.READ, None, 200),
    ("GET", "/subscriptions/{subscription}"): (Scope.READ, None, 404),
    ("POST", "/subscriptions/{subscription}:pause"): (Scope.SUBSCRIBE, None, 404),
    ("POST", "/subscriptions/{subscription}:resume"): (Scope.SUBSCRIBE, None, 404),
    ("POST", "/subscriptions"): (Scope.SUBSCRIBE, WISH, 422),
    ("POST", "/subscriptions/{subscription}:end"): (Scope.SUBSCRIBE, None, 404),
}
PUBLIC = {"/openapi.json"}
"""For everybody: no party's object is there."""
ANYBODYS = {("GET", "/schemas/{schema}")}
"""Objects that are nobody's own."""
KEPT = {"/directory", "/directory:signed", "/directory/jwks", "/law:signed", "/schemas/{schema}"}
"""What may be kept by who asked: keys and schemas, no citizen."""


def strict() -> list[StrictRoute]:
    """Every route that the API includes, described or not."""
    found = [route for routes in ROUTES for route in routes.routes]
    assert all(isinstance(route, StrictRoute) for route in found)
    return [route for route in found if isinstance(route, StrictRoute)]


async def test_every_route_has_its_row_and_every_row_its_route(served: Served) -> None:
    described = (await served.client.get("/v1/openapi.json")).json()["paths"]
    found = {(method, route.path): route.access for route in strict() for method in route.methods or ()}

    assert {row: scope for row, (scope, _, _) in TABLE.items()} == {
        row: access and access.scope for row, access in found.items()
    }
    assert set(TABLE) == {(method.upper(), path) for path, item in described.items() for method in item}
    assert {path for _, path in TABLE} | PUBLIC == set(_paths(served.app))


def _paths(app: FastAPI) -> Iterator[str]:
    """Whatever the app answers besides what it includes."""
    told = (getattr(route, "path", "") for route in app.routes)
    mine = (path for path in told if path.startswith(PREFIX) and not path.startswith(PORTALS))
    yield from (path.removeprefix(PREFIX) for path in mine)
    yield from (route.path for route in strict())


async def test_a_stranger_is_let_in_nowhere_and_another_scope_neither(served: Served) -> None:
    callers = {scope: await served.caller(CAF, *(set(Scope) - {scope})) for scope in Scope}
    for (method, path), (scope, body, _) in TABLE.items():
        where = "/v1" + re.sub(r"\{\w+\}", NOBODY, path)
        assert (401, "api.no-credential") == await served.stranger.problem(method, where, body), path
        assert (403, "api.scope") == await callers[scope].problem(method, where, body), path


async def test_who_has_the_scope_is_answered_with_every_header_and_nothing_personal_is_kept(served: Served) -> None:
    callers = {scope: await served.caller(CAF, scope) for scope in Scope}
    for (method, path), (scope, body, status) in TABLE.items():
        where = "/v1" + re.sub(r"\{\w+\}", NOBODY, path)
        more = {"content_type": "application/avro"} if path == "/declarations" else {}
        response = await callers[scope].asks(method, where, body, **more)
        assert status == response.status_code, (path, response.text)
        assert set(map(str.lower, ALWAYS)) <= set(response.headers), path
        if path not in KEPT:
            assert "no-store" == response.headers["cache-control"], path


async def test_what_is_anothers_gives_the_answer_of_what_never_was(served: Served) -> None:
    here = served.here
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    declared = await here.declare(MOVED, here.moved())
    (delivery,) = await here.inbox(CAF).lease(1)
    async with here.home.store.begin() as tx:
        hook = await here.home.webhooks.add(tx, CAF, "https://caf.example/", here.clock())
    form = await fill_in(here.home, PORTAL, MOVED, [Filled(here.moved()), Filled({"subject": YANN}, waits=True)])
    act = {"measure": "guardianship", "proof": "TJ Rennes 25/01234"}
    acting = await representations.start(here.home, representative=YANN, subject=ELISE, **act)
    own = {
        "{webhook}": (CAF, hook.id),
        "{declaration}": (PORTAL, declared.declaration_id),
        "{subscription}": (CAF, here.subscriptions[CAF, MOVED].id),
        "{delivery}": (CAF, delivery.id),
        "{household}": (PORTAL, form.household),
        "{represented}": (PORTAL, acting.representation.id),
        "delivery": (CAF, delivery.id),
    }
    cpam = await served.caller(CPAM)
    asked = (
        ("GET", "/declarations/{declaration}", None),
        ("GET", "/declarations/{declaration}/receipt", None),
        ("GET", "/deliveries/{delivery}/receipt", None),
        ("GET", "/subscriptions/{subscription}", None),
        ("POST", "/subscriptions/{subscription}:end", None),
        ("GET", "/webhooks/{webhook}", None),
        ("GET", "/webhooks/{webhook}/attempts", None),
        ("POST", "/webhooks/{webhook}:prove", None),
        ("POST", "/webhooks/{webhook}:rotate", {}),
        ("POST", "/webhooks/{webhook}:end", None),
        ("POST", "/subscriptions/{subscription}:pause", None),
        ("POST", "/subscriptions/{subscription}:resume", None),
        ("POST", "/households/{household}:confirm", CONFIRMED),
        ("POST", "/households/{household}:refuse", {"code": "AA"}),
        ("POST", "/representations/{represented}:end", None),
        ("POST", "/declarations/{declaration}:link", {"old": ELISE, "new": ELISE}),
        ("POST", "/deliveries:ack", ACK),
        ("POST", "/deliveries:release", {"deliveries": [NOBODY]}),
        ("POST", "/deliveries:replay", {"deliveries": [NOBODY]}),
    )
    listed = {(method, path) for method, path, _ in asked}
    assert {row for row in TABLE if "{" in row[1]} - ANYBODYS <= listed
    for method, path, body in asked:
        name = next((name for name in own if name in path), "delivery")
        theirs = own[name][1].hex()
        theirs = "-".join((theirs[:8], theirs[8:12], theirs[12:16], theirs[16:20], theirs[20:]))
        answers = []
        for one in (theirs, NOBODY):
            sent = None if body is None else json.loads(json.dumps(body).replace(NOBODY, one))
            response = await cpam.asks(method, "/v1" + path.replace(name, one), sent)
            answers.append((response.status_code, _without(response.json(), one)))
        assert answers[0] == answers[1], path


def _without(told: Any, one: str) -> str:
    """An answer without the id that was asked for and the trace's."""
    return re.sub(r"'trace_id': '[0-9a-f]{32}'", "", repr(told)).replace(one, "ID")
