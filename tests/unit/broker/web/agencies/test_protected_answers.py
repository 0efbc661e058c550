"""At the API nobody tells a protected person from one who allowed nothing, nor from one of whom nobody has heard."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from broker.consents.protecting import Wanted
from schemas.names import uuid_text
from tests.unit.broker.web.agencies.calls import Served
from tests.world import ELISE, MOVED, PORTAL, RENNES, TOWN, VOICE, YANN

pytestmark = pytest.mark.asyncio

UNKNOWN = ELISE | {"given_names": ["Rozenn"], "birthdate": "1991-01-09"}
WARM = ELISE | {"given_names": ["Tugdual"], "birthdate": "1979-09-01"}
HERS = ("subject", "new_address")
_DRAWN = re.compile(r'"(subject_token|declaration|delivery|id|manifest|sig|payload|keyid|receipt|trace_id)": ?"[^"]*"')


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that the database is asked meanwhile."""
    asked: list[str] = []

    def add(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", add)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", add)


def bare(text: str) -> tuple[int, str]:
    """An answer's length, and its text without what is drawn anew each time."""
    return len(text), _DRAWN.sub(r'"\1": "…"', text)


async def protect(served: Served) -> None:
    """Élise is kept from Rennes."""
    here = served.here
    await here.home.protecting.protect(Wanted(subject=here.subject(), places=frozenset({"35238"})))


async def test_a_source_gets_the_same_bytes_for_the_same_questions(served: Served) -> None:
    portal, here = await served.caller(PORTAL), served.here
    await protect(served)
    found: list[tuple[Any, ...]] = []
    for person in (WARM, ELISE, YANN, UNKNOWN):  # the first: what is read and written once in a process
        with counted() as statements:
            token = await portal.asks("POST", "/v1/subjects:resolve", {"subject": person})
            content = await here.home.desk.envelope(PORTAL, MOVED, here.moved(person))
            handed = await portal.asks("POST", "/v1/declarations", content, content_type="application/avro")
            await here.home.router.route()
            followed = await portal.asks("GET", f"/v1/declarations/{handed.json()['declaration']}")
        assert [200, 202, 200] == [one.status_code for one in (token, handed, followed)]
        found.append((bare(token.text), handed.status_code, bare(followed.text), statements))

    assert found[1] == found[2] == found[3]


async def test_the_former_town_gets_what_it_gets_of_anybody_who_takes_a_consent_back(served: Served) -> None:
    """What it had leased and not opened, what it asks for again, and what it pulls next."""
    town, here = await served.caller(RENNES), served.here
    answers: list[tuple[Any, ...]] = []
    for person in (ELISE, YANN):
        given = await here.give(RENNES, MOVED, TOWN, HERS, person=person)
        await here.declare(MOVED, here.moved(person))
        (leased,) = await here.inbox(RENNES).lease(10)
        if person is ELISE:
            await protect(served)
        else:
            await here.home.consents.revoke(given.grant.id, VOICE)
        one = uuid_text(leased.id)
        released = await town.asks("POST", "/v1/deliveries:release", {"deliveries": [one]})
        assert 200 == released.status_code, released.text
        said = {"acknowledgements": [{"delivery": one, "outcome": "applied"}]}
        acknowledged = await town.asks("POST", "/v1/deliveries:ack", said)
        pulled = await town.asks("POST", "/v1/deliveries:pull", {})
        answers.append(tuple((one.status_code, bare(one.text)) for one in (released, acknowledged, pulled)))

    assert answers[0] == answers[1]
