"""Tracing: one id from the request to the acknowledgement, in every line and every span, whoever said it first."""

import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import select, update

from broker.observability import observe, spans, tracing
from broker.observability.tracing import CURRENT, TraceId
from broker.store.tables import declarations
from schemas.errors import Refused
from schemas.names import DeclarationId
from tests.world import CAF, CPAM, FAMILY, HEALTH, MOVED, VOICE, YANN, World

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TOLD = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def lines(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What this process says, from `debug` on."""
    stream = io.StringIO()
    observe.configure("debug", lambda: 0, stream)  # type: ignore[arg-type, return-value]
    yield stream
    structlog.reset_defaults()


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    """The spans that were collected."""
    exporter = InMemorySpanExporter()
    spans.collect(SimpleSpanProcessor(exporter))
    yield exporter
    spans.collect(None)


def said(lines: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


async def a_day(here: World) -> DeclarationId:
    """A declaration with a trace id, and one without, from consent to acknowledgement. Returns the second's id."""
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    denied = await here.give(CPAM, MOVED, HEALTH, ["subject"])
    await here.give(CAF, MOVED, FAMILY, ["subject"], person=YANN)
    token = CURRENT.set(TraceId.read(TOLD))
    await here.declare(MOVED, here.moved(), route=False)
    CURRENT.reset(token)
    other = await here.declare(MOVED, here.moved(YANN))
    await here.home.consents.revoke(denied.grant.id, VOICE)
    await here.take(CAF)
    await here.home.ledger.sequence_unfinished()
    return other.declaration_id


@pytest.mark.parametrize(
    "told",
    [
        "",
        "00-",
        TOLD.replace("00-4bf", "ff-4bf"),
        TOLD.upper(),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        TOLD + "-more",
        f" {TOLD}",
        f"00-{TRACE[:-1]}é-00f067aa0ba902b7-01",
    ],
)
def test_what_is_no_traceparent_is_nobodys_trace(told: str) -> None:
    assert TraceId.read(told) is None
    assert TraceId.read(told.encode()) is None


def test_a_trace_is_handed_on_as_it_came() -> None:
    trace = TraceId.read(TOLD)
    assert trace is not None
    assert TRACE == trace.hex()
    assert trace == TraceId.read(trace.header) == tracing.carried({"traceparent": trace.header})
    assert tracing.carried({}) is None


def test_without_one_it_follows_from_the_declaration() -> None:
    one, other = DeclarationId(bytes(15) + b"\x01"), DeclarationId(bytes(15) + b"\x02")
    assert TraceId.of(one) == tracing.stored(None, one) != TraceId.of(other)
    assert 16 == len(TraceId.of(one))


@pytest.mark.asyncio
async def test_one_declaration_has_one_id_in_the_lines_of_every_role(here: World, lines: io.StringIO) -> None:
    other = await a_day(here)

    steps: dict[str, list[tuple[str, str]]] = {}
    for line in said(lines):
        steps.setdefault(line.get("trace_id", "-"), []).append((line["event"], line.get("kind", "")))
    assert {TRACE, TraceId.of(other).hex()} <= set(steps)
    assert [
        ("intake.accepted", ""),
        ("router.routed", ""),
        ("delivery.recorded", "planned"),
        ("delivery.recorded", "planned"),
        ("delivery.recorded", "withheld"),
        ("delivery.recorded", "released"),
        ("delivery.recorded", "applied"),
    ] == [step for step in steps[TRACE] if step[0] != "planner.withheld"]
    assert 1 == steps[TRACE].count(("planner.withheld", ""))  # Rennes has no consent
    ordered = [kind for event, kind in steps["-"] if event == "ledger.ordered"]  # whose the ledger does not know
    told = {"received": 2, "planned": 3, "closed": 1, "released": 2, "applied": 2}
    assert told == {kind: ordered.count(kind) for kind in told}
    assert ("delivery.recorded", "applied") in steps[TraceId.of(other).hex()]


@pytest.mark.asyncio
async def test_a_line_is_said_only_when_what_it_tells_is_committed(here: World, lines: io.StringIO) -> None:
    await here.declare(MOVED, here.moved(), route=False)

    async def goes_wrong(*_: object) -> None:
        raise Refused("router.not-accepted")

    here.home.router._plan = goes_wrong  # type: ignore[method-assign]
    with pytest.raises(Refused):
        await here.home.router.route()
    assert ["intake.accepted"] == [line["event"] for line in said(lines)]
    del here.home.router._plan
    await here.home.router.route()
    assert "router.routed" in {line["event"] for line in said(lines)}


@pytest.mark.asyncio
async def test_each_step_is_a_span_of_that_trace_and_says_nothing_of_the_citizen(
    here: World, exported: InMemorySpanExporter
) -> None:
    await a_day(here)

    mine = [one for one in exported.get_finished_spans() if f"{one.context.trace_id:032x}" == TRACE]
    assert ["intake.accepted", "router.routed", *(f"delivery.{kind}" for kind in _KINDS)] == [one.name for one in mine]
    assert {TraceId.fromhex(TRACE).root} == {one.parent.span_id.to_bytes(8) for one in mine if one.parent is not None}
    told = {key for one in mine for key in one.attributes or {}}
    assert {
        f"unefois.{key}" for key in ("declaration", "delivery", "recipient", "reason", "source", "event_type")
    } == told
    subject = here.subject().hex()
    assert not [one for one in mine if subject in repr(one.to_json()) or "Martin" in repr(one.to_json())]


_KINDS = ("planned", "planned", "withheld", "released", "applied")


@pytest.mark.asyncio
async def test_nobody_collects_unless_asked(here: World, exported: InMemorySpanExporter) -> None:
    spans.collect(None)
    await a_day(here)
    assert () == exported.get_finished_spans()


@pytest.mark.asyncio
async def test_a_trace_id_that_is_none_is_found(here: World) -> None:
    await here.declare(MOVED, here.moved())
    await here.home.ledger.sequence_unfinished()
    async with here.home.store.begin() as tx:
        assert [None] == list((await tx.execute(select(declarations.c.trace))).scalars())
        await tx.execute(update(declarations).values(trace=bytes(16)))
    assert {"declarations.mac", "declarations.trace"} == {one.check for one in await here.home.fsck.check()}
    async with here.home.store.begin() as tx:
        await tx.execute(update(declarations).values(trace=None))


def test_without_the_extra_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(Refused, match=r"otel\.no-driver"):
        spans.collect(object())
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with pytest.raises(Refused, match=r"otel\.no-driver"):
        spans.export_to("http://127.0.0.1:4318/v1/traces")
    spans.collect(None)
