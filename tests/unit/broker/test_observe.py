"""What the machine says: named, typed, or gone."""

import ast
import asyncio
import contextlib
import errno
import io
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from enum import Enum
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

import broker
from broker.observability import observe
from broker.observability.observe import KEYS, configure, logger
from broker.store.engine import Store
from broker.store.tables import meta
from schemas.errors import Corrupt, Refused
from schemas.names import (
    Capacity,
    DeclarationId,
    DeliveryId,
    EventType,
    GrantId,
    Instant,
    Kid,
    LeafHash,
    ManifestDigest,
    OperatorName,
    PartyId,
    Purpose,
    Reason,
    RuleId,
    SchemaId,
    SubjectRef,
)

CANARY = "CANARYdupont"
ROOT = Path(broker.__file__).parents[1]


class Foreign(Enum):
    CANARY = CANARY


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Everything said so far, as it came out."""
    stream = io.StringIO()
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    configure("debug", lambda: Instant(1_700_000_000_123), stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(False)
    root.handlers[:], level, sys.excepthook, threading.excepthook = before
    root.setLevel(level)


Lines = Callable[[], list[dict[str, Any]]]
NO_ID = "00000000-0000-0000-0000-000000000000"


def test_a_line_says_when_how_loud_what_and_about_which(lines: Lines) -> None:
    logger().info("router.batch-planned", count=12, partition=0, recipient=PartyId("urn:unefois:caf"))
    assert [
        {
            "at": "2023-11-14T22:13:20.123+00:00",
            "level": "info",
            "event": "router.batch-planned",
            "count": 12,
            "partition": 0,
            "recipient": "urn:unefois:caf",
        }
    ] == lines()


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("count", 0, 0),
        ("duration_ms", 1.5, 1.5),
        ("party", PartyId("urn:unefois:caf"), "urn:unefois:caf"),
        ("source", PartyId("urn:unefois:caf"), "urn:unefois:caf"),
        ("event_type", EventType("fr.test.moved.v1"), "fr.test.moved.v1"),
        ("purpose", Purpose("family-benefits"), "family-benefits"),
        ("schema", SchemaId(bytes(32)), "00" * 32),
        ("declaration", DeclarationId(bytes(16)), NO_ID),
        ("declaration", ManifestDigest(bytes(32)), "00" * 32),
        ("delivery", DeliveryId(bytes(16)), NO_ID),
        ("grant", GrantId(bytes(16)), NO_ID),
        ("rule", RuleId(bytes(16)), NO_ID),
        ("kid", Kid(bytes(32)), "00" * 32),
        ("entry", LeafHash(bytes(32)), "00" * 32),
        ("code", "store.locked", "store.locked"),
        ("reason", Reason.NO_GRANT, "no_grant"),
        ("state", Capacity.SELF, "self"),
        ("error", KeyError(CANARY), "KeyError"),
        ("error", KeyError, "KeyError"),
    ],
)
def test_a_value_of_its_keys_own_type_is_shown(lines: Lines, key: str, value: object, shown: object) -> None:
    logger().info("flow.step", **{key: value})
    assert shown == lines()[0][key]


ANYTHING = (
    CANARY,
    CANARY.encode(),
    [CANARY],
    {"name": CANARY},
    (CANARY,),
    Foreign.CANARY,
    SubjectRef(b"CANARYdupont" + bytes(20)),
    object(),
    None,
    2**70,
    float("nan"),
    float("inf"),
    Refused(CANARY),
)


@pytest.mark.parametrize(
    "key", [*KEYS, "name", "family_name", "message", "_library", "exc_info", "stack_info", "level_"]
)
def test_a_value_of_any_other_type_is_dropped(lines: Lines, key: str) -> None:
    for value in ANYTHING:
        logger().info("flow.step", **{key: value})
    assert CANARY not in json.dumps(lines())
    assert CANARY.encode().hex() not in json.dumps(lines())
    for line in lines():
        assert {"at", "level", "event", "dropped", "error", "frames", "code"} >= set(line)


def test_what_was_dropped_is_counted(lines: Lines) -> None:
    logger().info("flow.step", name=CANARY, count=CANARY, party=CANARY, size=1)
    assert (3, 1) == (lines()[0]["dropped"], lines()[0]["size"])


def test_a_subject_reference_has_no_key(lines: Lines) -> None:
    subject = SubjectRef(bytes(range(32)))
    for key in (*KEYS, "subject"):
        logger().info("flow.step", **{key: subject})
    assert subject.hex() not in json.dumps(lines())


@pytest.mark.parametrize(
    "event",
    [
        CANARY,
        f"router.{CANARY}",
        "router",
        "Router.step",
        "router.step ",
        f"router.step {CANARY}",
        "",
        "a.b\nc.d",
        None,
        7,
    ],
)
def test_an_event_without_a_proper_name_loses_it(lines: Lines, event: Any) -> None:
    logger().info(event)
    assert "observe.unnamed-event" == lines()[0]["event"]
    assert CANARY not in json.dumps(lines())


def test_text_formatted_into_an_event_is_gone(lines: Lines) -> None:
    logger().info("router.step %s", CANARY)
    assert CANARY not in json.dumps(lines())


def test_bound_and_contextual_keys_are_held_to_the_same_rule(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(name=CANARY, partition=3)
    logger().bind(contact=CANARY, offset=4).info("flow.step")
    assert (3, 4, 2) == (lines()[0]["partition"], lines()[0]["offset"], lines()[0]["dropped"])
    assert CANARY not in json.dumps(lines())


def test_an_exception_is_told_by_its_class_and_place_without_its_message(lines: Lines) -> None:
    try:
        int(CANARY)
    except ValueError:
        logger().exception("flow.failed")
    line = lines()[0]
    assert ("ValueError", "error") == (line["error"], line["level"])
    assert "test_observe.py" in line["frames"][-1]
    assert CANARY not in json.dumps(line)


def test_a_fault_is_told_by_its_code_without_its_details(lines: Lines) -> None:
    try:
        raise Corrupt("store.corrupt", f"/{CANARY}", error=CANARY)
    except Corrupt as error:
        logger().error("flow.failed", exc_info=error)
    assert ("Corrupt", "store.corrupt") == (lines()[0]["error"], lines()[0]["code"])
    assert CANARY not in json.dumps(lines())


def test_what_caused_an_exception_is_not_told_either(lines: Lines) -> None:
    try:
        try:
            raise ValueError(CANARY)
        except ValueError as cause:
            raise KeyError(CANARY) from cause
    except KeyError:
        logger().exception("flow.failed")
    assert CANARY not in json.dumps(lines())


def test_another_librarys_message_is_told_without_its_text(lines: Lines) -> None:
    try:
        raise ValueError(CANARY)
    except ValueError:
        logging.getLogger("asyncio").exception("executing %s", CANARY, extra={"name_": CANARY})
    logging.getLogger(CANARY).warning(CANARY)
    logging.getLogger("asyncio").info(CANARY)
    assert [("asyncio", "error"), ("?", "warning")] == [(x["library"], x["level"]) for x in lines()]
    assert CANARY not in json.dumps(lines())


def test_a_warning_is_told_without_its_text(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(CANARY, UserWarning, stacklevel=1)
    assert [("py", "warning")] == [(line["library"], line["level"]) for line in lines()]
    assert CANARY not in json.dumps(lines())


def test_an_exception_that_nobody_caught_is_told_without_its_message(lines: Lines) -> None:
    def fail() -> None:
        raise ValueError(CANARY)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    try:
        fail()
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    assert [("process.uncaught", "ValueError")] * 2 == [(line["event"], line["error"]) for line in lines()]
    assert CANARY not in json.dumps(lines())


def test_stopping_by_hand_is_no_event(lines: Lines) -> None:
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert [] == lines()


def test_a_lost_task_of_the_event_loop_is_told_without_its_message(lines: Lines) -> None:
    async def lose() -> None:
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": CANARY, "exception": ValueError(CANARY)})

    asyncio.run(lose())
    assert ["asyncio"] == [line["library"] for line in lines()]
    assert CANARY not in json.dumps(lines())


@pytest.mark.parametrize(("level", "heard"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_a_level_is_where_the_talk_begins(level: str, heard: int, lines: Lines) -> None:
    stream = io.StringIO()
    configure(level, lambda: Instant(0), stream)
    for speak in (logger().debug, logger().info, logger().warning, logger().error):
        speak("flow.step")
    assert heard == len(stream.getvalue().splitlines())


@pytest.mark.parametrize(
    ("since", "heard"),
    [(0, 0), (59_999, 0), (60_000, 1), (86_400_000, 1), (-5, 0), (-60_000, 1)],
)
def test_a_row_that_contradicts_the_journal_is_told_once_no_commit_can_be_under_way(since: int, heard: int) -> None:
    stream = io.StringIO()
    configure("error", lambda: Instant(1_700_000_000_000), stream)
    logger().error("endings.row-contradicts", _ended_at=Instant(1_700_000_000_000 - since), rule=RuleId(bytes(16)))
    assert heard * ["endings.row-contradicts"] == [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert "_ended_at" not in stream.getvalue()
    assert "dropped" not in stream.getvalue()


def test_a_row_of_which_the_journal_has_nothing_is_told_at_once(lines: Lines) -> None:
    logger().error("endings.row-contradicts", _ended_at=None, rule=RuleId(bytes(16)))
    assert ["endings.row-contradicts"] == [line["event"] for line in lines()]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from([*KEYS, "name", "x"]), st.text(min_size=1) | st.binary(min_size=1), max_size=5))
def test_no_free_text_gets_out(lines: Lines, keys: dict[str, object]) -> None:
    logger().info("flow.step", **keys)
    allowed = {"at", "level", "event", "dropped"} | {
        key for key, value in keys.items() if key == "code" and value in observe.messages.table()
    }
    assert allowed >= set(lines()[-1])


@pytest.fixture
def broken_pipe() -> Iterator[TextIO]:
    """What a log is when its reader has gone."""
    reads, writes = os.pipe()
    os.close(reads)
    stream = os.fdopen(writes, "w", buffering=1)
    yield stream
    with contextlib.suppress(BrokenPipeError):
        stream.close()


@pytest.fixture
def full_device() -> Iterator[TextIO]:
    """What a log is on a disk that is full."""
    stream = open("/dev/full", "w", buffering=1)  # noqa: SIM115
    yield stream
    with contextlib.suppress(OSError):
        stream.close()


@pytest.fixture
def closed_file(tmp_path: Path) -> TextIO:
    """What a log is when somebody closed it."""
    with (tmp_path / "log").open("w") as stream:
        return stream


def speak_of_everything() -> None:
    """Each way in which a line begins."""
    logger().info("flow.step", count=1)
    logging.getLogger("asyncio").error(CANARY)
    sys.excepthook(ValueError, ValueError(CANARY), None)


@pytest.mark.parametrize("stream", ["broken_pipe", "full_device", "closed_file"])
def test_a_line_that_cannot_be_written_is_counted_and_raises_nothing(
    stream: str, lines: Lines, request: pytest.FixtureRequest
) -> None:
    configure("info", lambda: Instant(0), request.getfixturevalue(stream))
    before = observe.unheard()
    speak_of_everything()
    assert 3 == observe.unheard() - before


def test_lines_are_heard_again_once_the_disk_has_room(lines: Lines, tmp_path: Path) -> None:
    class Disk(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(errno.ENOSPC, CANARY)
            return super().write(text)

    disk = Disk()
    configure("info", lambda: Instant(0), disk)
    logger().info("flow.step", count=1)
    disk.full = False
    logger().info("flow.step", count=2)
    assert [2] == [json.loads(line)["count"] for line in disk.getvalue().splitlines()]


@pytest.mark.parametrize("stream", ["broken_pipe", "full_device"])
@pytest.mark.asyncio
async def test_what_is_committed_stands_though_nobody_can_hear_of_it(
    stream: str, lines: Lines, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    configure("info", lambda: Instant(0), request.getfixturevalue(stream))
    before = observe.unheard()
    async with Store.open(f"sqlite+aiosqlite:///{tmp_path / 'store.db'}") as store:
        async with store.begin() as tx:
            await tx.conn.run_sync(meta.create)
        async with store.begin() as tx:
            tx.add(meta, {"name": "told", "value": "once"})
            tx.after(lambda: logger().info("flow.step"))
            tx.after(lambda: logger().info("flow.step"))
        async with store.read() as tx:
            assert ["once"] == list((await tx.execute(select(meta.c.value))).scalars())
    assert 2 == observe.unheard() - before


def test_a_process_that_nobody_configured_keeps_to_the_same_rule() -> None:
    speak = f"from broker.observability.observe import logger; logger().warning('flow.step', name='{CANARY}', count=3)"
    told = subprocess.run([sys.executable, "-c", speak], capture_output=True, text=True, check=True, cwd=ROOT).stderr
    assert ("flow.step", 3, 1) == itemgetter("event", "count", "dropped")(json.loads(told))


SPEAKS = {"debug", "info", "warning", "error", "critical", "exception"}


def spoken() -> list[tuple[str, ast.Call]]:
    """Every call in the source that speaks to one of our loggers."""
    found = []
    for package in ("schemas", "consent", "broker", "connectors"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SPEAKS:
                    named = ast.unparse(node.func.value)
                    if named in ("log", "_log", "logger()", "observe.logger()", "self._log"):
                        found.append((f"{file.relative_to(ROOT)}:{node.lineno}", node))
    return found


def test_every_event_in_the_source_is_a_literal_with_known_keys() -> None:
    for place, call in spoken():
        event = call.args[0] if call.args else None
        literal = isinstance(event, ast.Constant) and isinstance(event.value, str)
        assert literal, place
        assert observe._EVENT.fullmatch(event.value), place
        assert 1 == len(call.args), place
        names = {keyword.arg for keyword in call.keywords} - {"exc_info", "_library", "_ended_at"}
        assert names <= set(KEYS), place


def test_no_module_speaks_through_another_door() -> None:
    """Only `observe` may know the logging libraries: whoever takes a logger of theirs goes around the rule."""
    doors = []
    for package in ("schemas", "consent", "broker"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                doors += [
                    file.relative_to(ROOT).as_posix()
                    for name in names
                    if name.partition(".")[0] in ("logging", "structlog")
                ]
    assert {"broker/observability/observe.py"} == set(doors)


def test_what_a_person_does_is_told_with_the_name_of_their_account(lines: Callable[[], list[dict[str, Any]]]) -> None:
    with observe.by(OperatorName("anne.martin")):
        logger().info("router.batch-planned", count=1)
    logger().info("router.batch-planned", count=1, actor=CANARY)

    first, second = lines()
    assert "anne.martin" == first["actor"]
    assert "actor" not in second
    assert 1 == second["dropped"]
