"""A call is made again where that is safe, after a wait that has jitter, and never too often."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from connectors import calls
from connectors.access import ApiToken, Ask
from connectors.calls import Call
from connectors.conversation import PATIENCE_MS, Conversation, Failed, Reply, Send, Wait
from connectors.retry import Backoff
from schemas.errors import Refused, Unavailable
from schemas.names import DeliveryId, Instant, SchemaId

AT = Instant(1_795_521_493_000)
MOST_JITTER = Backoff(lambda size: b"\xff" * size, base_ms=500, cap_ms=20_000)
GOOD = Reply(200, None, b"{}")
AWAY = Reply(503, None, b"")
BROKEN = Failed("ReadError", unsent=False)
UNREACHED = Failed("ConnectError", unsent=True)


def run(
    call: Call[Any], answers: Sequence[Reply | Failed], access: Any = None, tries: int = 4
) -> tuple[Any, list[Any]]:
    """What came out, and every step on the way."""
    steps = Conversation(access or ApiToken("t"), lambda: AT, MOST_JITTER, tries).of(call)
    left, seen, told = list(answers), [], None
    while True:
        try:
            step = steps.send(told)
        except StopIteration as end:
            return end.value, seen
        except (Refused, Unavailable) as fault:
            return fault, seen
        seen.append(step)
        told = left.pop(0) if isinstance(step, Send) else None


REPLAY = calls.replay([DeliveryId(bytes(16))])


@pytest.mark.parametrize("trouble", [AWAY, BROKEN, UNREACHED, Reply(429, None, b"")])
def test_what_may_be_done_twice_is_tried_again(trouble: Reply | Failed) -> None:
    told, seen = run(calls.status(), [trouble, GOOD])

    assert {} == told
    assert [Send, Wait, Send] == [type(step) for step in seen]


@pytest.mark.parametrize(
    ("trouble", "again"), [(AWAY, False), (BROKEN, False), (UNREACHED, True), (Reply(429, None, b""), True)]
)
def test_what_must_not_be_done_twice_is_tried_again_only_if_it_was_not_done(
    trouble: Reply | Failed, again: bool
) -> None:
    told, seen = run(REPLAY, [trouble, Reply(200, None, b'{"results": []}')])

    assert again == (told == {})
    assert again == (len(seen) == 3)
    assert again or isinstance(told, Unavailable)


def test_the_waits_grow_and_the_last_failure_is_told() -> None:
    told, seen = run(calls.status(), [AWAY] * 4)

    assert isinstance(told, Unavailable)
    assert [499, 999, 1999] == [step.milliseconds for step in seen if isinstance(step, Wait)]
    assert 4 == sum(isinstance(step, Send) for step in seen)


def test_a_wait_is_not_shorter_than_the_broker_asks() -> None:
    _, seen = run(calls.status(), [Reply(429, "7", b""), GOOD])

    assert [7_499] == [step.milliseconds for step in seen if isinstance(step, Wait)]


def test_a_broker_that_asks_for_longer_than_anybody_waits_is_away() -> None:
    told, seen = run(calls.status(), [Reply(503, str(PATIENCE_MS // 1000 + 1), b"")])

    assert isinstance(told, Unavailable)
    assert 61_000 == told.details["after_ms"]
    assert [Send] == [type(step) for step in seen]


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_a_refusal_is_not_tried_again(status: int) -> None:
    problem = json.dumps({"code": "x.y", "errors": [{"pointer": "/a"}]}).encode()

    told, seen = run(calls.status(), [Reply(status, None, problem)])

    assert ("client.refused", "/a", "x.y") == (told.code, told.pointer, told.details["told"])
    assert 1 == len(seen)


def test_every_place_that_the_broker_names_is_told_and_its_whole_answer_is_kept() -> None:
    errors = [
        {"pointer": "/a", "code": "x.y"},
        {"pointer": "/b", "code": "x.z"},
        {"pointer": "", "code": "faults.more"},
    ]
    problem = {"code": "x.y", "title": "Wrong.", "detail": "Mend it.", "errors": errors, "trace_id": "00"}

    told, _ = run(calls.status(), [Reply(422, "7", json.dumps(problem).encode())])

    assert ("client.refused", "/a", "x.y") == (told.code, told.pointer, told.details["told"])
    assert [("/b", "x.z"), ("", "faults.more")] == [(each.pointer, each.details["told"]) for each in told.also]
    assert problem | {"status": 422, "retry_after": 7} == told.problem
    assert told.problem == told.under("/record").problem


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_who_is_not_let_in_or_has_to_wait_hears_what_the_broker_said(status: int) -> None:
    problem = {"code": "api.scope", "title": "This needs the scope publish."}

    told, _ = run(calls.status(), [Reply(status, None, json.dumps(problem).encode())] * 4)

    assert problem | {"status": status} == told.problem


@pytest.mark.parametrize(
    "content",
    [b"<html>", b"[]", b"null", b'{"errors": "x", "title": 7}', b'{"errors": ["x", {"pointer": 3}], "more": "y"}'],
)
def test_an_answer_that_is_no_problem_has_its_status(content: bytes) -> None:
    told, _ = run(calls.status(), [Reply(422, None, content)])

    assert ("client.refused", "", "-") == (told.code, told.pointer, told.details["told"])
    assert told.problem is not None
    assert {"status": 422} == {name: each for name, each in told.problem.items() if name != "errors"}


def test_a_broker_that_says_too_much_is_cut_short() -> None:
    problem = {"code": "x" * 1_000_000, "title": "t" * 1_000_000, "errors": [{"pointer": "/" * 1_000}] * 1_000}

    told, _ = run(calls.status(), [Reply(422, None, json.dumps(problem).encode())])

    assert len(json.dumps(told.problem)) < 20_000
    assert 50 == len(told.also)


class Renewable:
    """Gives tokens 1, 2, 3 through the endpoint."""

    renewable = True

    def __init__(self) -> None:
        self.asked: list[bool] = []
        self.held = ""

    def ask(self, at: Instant, fresh: bool) -> str | Ask:
        if self.held and not fresh:
            return self.held
        self.asked.append(fresh)
        return Ask("/oauth2/token", "application/x-www-form-urlencoded", b"form")

    def told(self, content: bytes, at: Instant) -> str:
        self.held = content.decode()
        return self.held


def tokens(seen: Sequence[Any]) -> list[str | None]:
    return [step.headers.get("Authorization") for step in seen if isinstance(step, Send)]


def test_a_token_is_asked_for_once() -> None:
    access = Renewable()

    _, first = run(calls.status(), [Reply(200, None, b"one"), GOOD], access)
    _, second = run(calls.status(), [GOOD], access)

    assert [None, "Bearer one"] == tokens(first)
    assert ["Bearer one"] == tokens(second)


def test_a_token_that_is_not_taken_any_more_is_replaced_once() -> None:
    access = Renewable()
    access.held = "old"

    told, seen = run(calls.status(), [Reply(401, None, b""), Reply(200, None, b"new"), GOOD], access)

    assert {} == told
    assert ["Bearer old", None, "Bearer new"] == tokens(seen)


def test_a_fresh_token_that_is_not_taken_either_is_told() -> None:
    refused = Reply(401, None, b"")

    told, seen = run(calls.status(), [Reply(200, None, b"a"), refused, Reply(200, None, b"b"), refused], Renewable())

    assert "client.not-let-in" == told.code
    assert 4 == len(seen)


def test_an_api_token_that_is_not_taken_is_not_tried_again() -> None:
    told, seen = run(calls.status(), [Reply(401, None, b"")])

    assert ("client.not-let-in", 1) == (told.code, len(seen))


def test_a_token_endpoint_that_is_away_is_waited_for_even_where_the_call_must_not_be_done_twice() -> None:
    answers = [Reply(429, None, b""), Reply(200, None, b"one"), Reply(200, None, b'{"results": []}')]

    told, _ = run(REPLAY, answers, Renewable())

    assert {} == told


def test_no_token_and_no_body_are_in_a_repr() -> None:
    _, seen = run(calls.resolve({"family_name": "Aubépin"}), [AWAY], ApiToken("secret-token"), tries=1)

    assert "secret" not in repr(seen)
    assert "Aub" not in repr(seen)
    assert "Aub" not in repr(calls.resolve({"family_name": "Aubépin"}))


def test_a_driver_that_says_nothing_is_told_so() -> None:
    steps = Conversation(ApiToken("t"), lambda: AT, MOST_JITTER, 1).of(calls.status())
    next(steps)

    with pytest.raises(TypeError):
        steps.send(None)


@pytest.mark.parametrize("make", [calls.directory, lambda: calls.schema(SchemaId(bytes(32)))])
def test_an_answer_that_is_no_directory_or_another_schema_is_refused(make: Callable[[], Call[Any]]) -> None:
    told, _ = run(make(), [Reply(200, None, b"\xff")])

    assert isinstance(told, Refused)


def test_a_token_is_asked_for_with_who_declares_only_where_somebody_else_does() -> None:
    person, parent = {"family_name": "Aubépin"}, {"family_name": "Lescop"}

    alone, acting = calls.resolve(person, None, "self"), calls.resolve(person, parent, "parent")

    assert {"subject": person} == json.loads(alone.body or b"")
    assert {"subject": person, "declarant": parent, "capacity": "parent"} == json.loads(acting.body or b"")
    assert "Lescop" not in repr(acting)
