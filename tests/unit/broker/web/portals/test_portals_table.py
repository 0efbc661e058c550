"""Route x caller x object, made from the OpenAPI document: a route that is forgotten here is in it all the same."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
from sqlalchemy import func, select

from broker.citizens.sessions import PORTAL_MS
from broker.store.tables import metadata
from broker.web.common.answered import operations
from broker.web.common.frame import ALWAYS
from broker.web.common.strict import StrictRoute
from broker.web.portals.app import PREFIX, ROUTES, describe
from broker.web.portals.examples import EXAMPLES
from schemas import messages
from tests.unit.broker.web.portals.calls import Portals, Town
from tests.unit.broker.web.portals.story import Sent, story
from tests.world import CAF

pytestmark = pytest.mark.asyncio
NOBODY: Final = "00000000-0000-0000-0000-000000000000"
WITHOUT_SESSION: Final = {("POST", "/nonces"), ("POST", "/sessions"), ("POST", "/session:end"), ("GET", "/types")}
EVERYBODYS: Final = {"rule"}
"""Parameters that name what is nobody's own."""
SECRET: Final = ("Martin", "1985-04-12", "44109", "FR7630006000011234567890189", "rue de la Monnaie")


def table() -> Iterator[tuple[str, str, str, Any]]:
    """Every operation: its method, its path in the document, where a request goes, and with what."""
    for method, path, operation in operations(describe()):
        example = EXAMPLES[method, PREFIX + path]
        where = re.sub(r"\{\w+\}", NOBODY, path)
        if example.get("query"):
            where += "?" + "&".join(f"{name}={value}" for name, value in example["query"].items())
        body = example.get("request")
        yield method, path, where, {} if body is None and "requestBody" in operation else body


async def test_the_document_has_every_route_and_every_route_is_strict() -> None:
    routes = [route for router in ROUTES for route in router.routes]
    strict = {
        (method, one.path)
        for one in routes
        if isinstance(one, StrictRoute) and one.access
        for method in one.methods or ()
    }

    assert strict == {(method, path) for method, path, _, _ in table()}
    assert len(routes) == len(strict)


async def test_a_stranger_is_let_in_nowhere_and_a_token_for_something_else_neither(portals: Portals) -> None:
    every = Town(portals.client, await portals.token(CAF, *(one for one in _others())))
    for method, path, where, body in table():
        assert (401, "api.no-credential") == await portals.stranger.problem(method, where, body), path
        assert (403, "api.scope") == await every.problem(method, where, body), path


def _others() -> Iterator[Any]:
    from broker.access.credentials import Scope

    yield from (one for one in Scope if one is not Scope.CITIZENS)


async def test_without_a_session_that_stands_and_is_this_portals_nothing_is_done(portals: Portals) -> None:
    """No session; one of another credential of the same party; of another party; that was ended; that is too old."""
    mine, ended, old = await portals.citizen(), await portals.citizen(), await portals.citizen()
    await ended.told("POST", "/session:end")
    same_party, foreign = await portals.token(), await portals.token(CAF)
    callers = {
        "none": replace(mine, session=None),
        "another credential": replace(mine, token=same_party),
        "another party": replace(mine, token=foreign),
        "ended": ended,
        "never was": replace(mine, session="A" * 43),
    }
    before = await counts(portals)
    for method, path, where, body in table():
        if (method, path) in WITHOUT_SESSION:
            continue
        for why, caller in callers.items():
            assert (403, "citizens.signed-out") == await caller.problem(method, where, body), (path, why)
    portals.here.clock.pass_(PORTAL_MS)
    for method, path, where, body in table():
        if (method, path) not in WITHOUT_SESSION:
            assert 403 == (await old.problem(method, where, body))[0], path
    assert before == await counts(portals)


async def test_another_citizens_object_gives_the_answer_of_what_never_was_and_nothing_changes(portals: Portals) -> None:
    told = [one for one in await story(portals) if one.path and not EVERYBODYS >= set(one.path)]
    assert {"session_id", "declaration", "household", "grant", "of"} == {name for one in told for name in one.path}
    stranger = await portals.citizen("maiwenn")
    await portals.citizen()
    before = await counts(portals)
    for one in told:
        mine = await told_to(stranger, one, one.path)
        never = await told_to(stranger, one, dict.fromkeys(one.path, NOBODY))
        none = await told_to(stranger, one, dict.fromkeys(one.path, "nothing"))
        assert mine == never == none, one.name
        assert 400 <= mine[0] < 500, one.name
    assert before == await counts(portals)


async def told_to(town: Town, one: Sent, path: Any) -> tuple[int, str, str]:
    """What somebody is answered who sends the same: status, code and words."""
    where = one.route
    for name, value in path.items():
        where = where.replace(f"{{{name}}}", value)
    if one.query:
        where += "?" + "&".join(f"{name}={value}" for name, value in one.query.items())
    told = (await town.asks(one.method, where, one.body)).json()
    return told["status"], told["code"], told["detail"]


async def test_every_answer_has_every_header_and_nothing_personal_is_kept_on_the_way(portals: Portals) -> None:
    mine = await portals.citizen()
    for method, path, where, body in table():
        response = await mine.asks(method, where, body)
        assert set(map(str.lower, ALWAYS)) <= set(response.headers), path
        assert "no-store" == response.headers["cache-control"], path
        assert response.status_code < 500, (path, response.text)


async def test_no_value_that_was_declared_comes_back_anywhere(portals: Portals) -> None:
    """Names and addresses go in, and are in no answer: but on the paper, where the portal sends them itself, and where
    the citizen is told, in the export.
    """
    told = await story(portals)
    for one in told:
        text = json.dumps(one.answer, ensure_ascii=False)
        if not one.route.endswith(":acknowledgement"):
            assert [] == [secret for secret in SECRET if secret in text], one.name


@pytest.mark.parametrize("wrong", [b"", b"null", b"7", b"[]", b'{"a":1', b'{"unknown":1}', b"\xff", b"[" * 50_000])
async def test_what_is_no_form_is_refused_everywhere_and_nothing_is_written(portals: Portals, wrong: bytes) -> None:
    mine = await portals.citizen()
    before = await counts(portals)
    for method, path, operation in operations(describe()):
        if "requestBody" not in operation:
            continue
        where = re.sub(r"\{\w+\}", NOBODY, path)
        status, code = await mine.problem(method, where, wrong, content_type="application/json")
        assert (True, True) == (400 <= status < 500, code in messages.table()), (path, code)
    assert before == await counts(portals)


async def test_each_member_of_another_type_or_too_long_is_told_by_its_place(portals: Portals) -> None:
    mine, wrong = await portals.citizen(), []
    before = await counts(portals)
    for method, path, where, body in table():
        for name, value in (body or {}).items():
            for other in (1.5, None, "\ud800", ["x"] * 300, "x" * 20_000):
                if type(other) is type(value) is list:
                    continue
                told = (await mine.asks(method, where, {**body, name: other})).json()
                pointers = [one["pointer"] for one in told.get("errors", ())]
                if told.get("code") == "api.json" or any(one.startswith(f"/{name}") for one in pointers):
                    continue
                if other is None and name in {"person", "capacity", "until", "record"}:
                    continue
                wrong.append((path, name, str(other)[:20], told.get("code")))
    assert [] == wrong
    assert before == await counts(portals)


async def counts(portals: Portals) -> dict[str, int]:
    """Rows of every table, but those that say when and from where a token was used."""
    async with portals.here.home.store.read() as tx:
        return {
            name: int((await tx.execute(select(func.count()).select_from(one))).scalar_one())
            for name, one in metadata.tables.items()
            if name not in {"credential_uses", "kept_answers"}
        }
