"""Observe: what the machine says while it runs, one line of JSON for each event, and never a citizen's value.

Refuses: free text. An event is a static name, a key is one of KEYS, a value is of that key's own type: a number, a
member of a closed list, an identifier. Anything else is dropped and counted, in exceptions and in what other libraries
say too.
Keeps: whatever is thrown at a logger, what comes out holds nothing that a person typed. The tests throw canaries at it;
that events are literals they read in the source, for here a literal looks like any other string. And a logger never
raises: a line that cannot be written is counted and gone, for what it tells of has happened.

A pattern that scrubs text afterwards misses the name that it does not know. So nothing is scrubbed: it is named, typed,
or gone.
"""

import json
import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from enum import Enum
from types import TracebackType
from typing import Any, Final, Self, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from broker.observability.tracing import TraceId
from broker.ports import Clock
from schemas import messages
from schemas.errors import Fault
from schemas.names import (
    ChannelId,
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
    RuleId,
    SchemaId,
    uuid_text,
)

Json = str | int | float | bool | list[str] | None
FRAMES: Final = 12
"""How many frames of an exception are told, innermost last; each is a file, a line and a function, never data."""

UNDER_WAY_MS: Final = 60_000
"""For how long a commit may be under way whose endings are written already."""
_EVENT: Final = re.compile(r"[a-z]+(?:-[a-z]+)*(?:\.[a-z]+(?:-[a-z]+)*)+")
_NUMBER: Final = 2**63
_UNNAMED: Final = "observe.unnamed-event"


class RowName(str):
    """Names a row in a line of the log: its table, and its key in hexadecimal. Nobody's value is in it."""

    __slots__ = ()

    @classmethod
    def of(cls, table: str, key: bytes) -> Self:
        """`table/hexadecimal`, cut after 96 digits: whoever writes to the database does not write the log."""
        return cls(f"{table}/{key.hex()[:96]}")


def _number(value: object) -> Json:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -_NUMBER < value < _NUMBER else None  # neither NaN nor an infinity, which JSON does not have


def _code(value: object) -> Json:
    """A fault's code, which is one of a list; a string that only looks like one is not."""
    return value if isinstance(value, str) and value in messages.table() else None


def _member(value: object) -> Json:
    """A member of a closed enumeration of ours."""
    ours = isinstance(value, Enum) and type(value).__module__.partition(".")[0] in _PACKAGES
    return value.name.lower() if isinstance(value, Enum) and ours else None


def _error(value: object) -> Json:
    """An exception's or a class's own name, without what it says."""
    kind = value if isinstance(value, type) else type(value)
    return kind.__name__ if issubclass(kind, BaseException) else None


def _only(*types: type) -> Callable[[object], Json]:
    """Identifiers that were checked when they were made, and of exactly this type: a plain string is none."""

    def read(value: object) -> Json:
        if type(value) not in types:
            return None
        if isinstance(value, DeclarationId | DeliveryId | GrantId | RuleId | ChannelId):
            return uuid_text(value)
        return value.hex() if isinstance(value, bytes) else str(value)

    return read


_PACKAGES: Final = frozenset({"schemas", "consent", "broker", "connectors"})
_COUNTS: Final = ("count", "size", "limit", "attempts", "partition", "offset", "position", "duration_ms", "wait_ms")
_VERSIONS: Final = ("version", "grant_version", "epoch", "status", "port", "line")

KEYS: Final[Mapping[str, Callable[[object], Json]]] = {
    **dict.fromkeys((*_COUNTS, *_VERSIONS), _number),
    **dict.fromkeys(("party", "source", "recipient"), _only(PartyId)),
    **dict.fromkeys(("state", "reason", "kind", "stage", "role"), _member),
    "event_type": _only(EventType),
    "purpose": _only(Purpose),
    "schema": _only(SchemaId),
    "declaration": _only(DeclarationId, ManifestDigest),
    "delivery": _only(DeliveryId),
    "grant": _only(GrantId),
    "rule": _only(RuleId),
    "channel": _only(ChannelId),
    "kid": _only(Kid),
    "row": _only(RowName),
    "actor": _only(OperatorName),
    "entry": _only(LeafHash),
    "trace_id": _only(TraceId),
    "code": _code,
    "error": _error,
}
"""Every key that may stand in a line, and what its value must be. A subject reference is on purpose not among them."""


def logger() -> FilteringBoundLogger:
    """A logger: `log.info("router.batch-planned", count=12)`. The event is a literal; keys are those of KEYS.

    In a process that nobody configured (a command, a test) what is below `warning` is not said at all; the rest is, by
    the same rule, to the standard error.
    """
    made: FilteringBoundLogger = structlog.get_logger() if structlog.is_configured() else _QUIET
    return made


def every_detail() -> bool:
    """Whether lines of the level `debug` are said: to make one may cost a query."""
    return structlog.is_configured() and logger().is_enabled_for(logging.DEBUG)


@contextmanager
def bound(trace_id: TraceId) -> Iterator[None]:
    """Every line that is said inside tells this trace id, too."""
    with structlog.contextvars.bound_contextvars(trace_id=trace_id):
        yield


@contextmanager
def by(actor: OperatorName) -> Iterator[None]:
    """Every line that is said inside tells who acts, too: somebody of the broker's own."""
    with structlog.contextvars.bound_contextvars(actor=actor):
        yield


class _Unheard:
    """How many lines of this process nobody could hear."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """What fails inside for want of a stream that takes it (closed, full, a reader that went away) is counted."""
        try:
            yield
        except (OSError, ValueError):  # of a file that was closed Python says ValueError
            with self._lock:
                self.count += 1


_UNHEARD: Final = _Unheard()


def unheard() -> int:
    """Lines that this process could not write since it began: for `unefois_unheard_lines_total`."""
    return _UNHEARD.count


def unraised() -> AbstractContextManager[None]:
    """For who prints lines of its own, around the printing alone: every OSError and ValueError inside is counted."""
    return _UNHEARD.counted()


class _Stream:
    """Where lines go, one at a time and whole. Its methods are the levels, as structlog calls them.

    Crash in the middle of a line: a part of it stands there; nothing of ours reads it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def msg(self, line: str) -> None:
        """Write one line, or count it."""
        with self._lock, _UNHEARD.counted():
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = msg


def configure(level: str, clock: Clock, stream: TextIO) -> None:
    """Send every line of this process to `stream`, from `level` (debug, info, warning, error) on.

    Other libraries are heard from `warning` on, without their text. An exception that nobody caught is told without its
    message too.
    """
    number, lines = logging.getLevelNamesMapping()[level.upper()], _Stream(stream)
    structlog.configure(
        processors=_processors(clock),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Library()]
    root.setLevel(max(number, logging.WARNING))
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda told: _uncaught(told.exc_type, told.exc_value, told.exc_traceback)


def _processors(clock: Clock) -> list[Processor]:
    return [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, _Settled(clock), _Line(clock)]


def hush(library: str) -> None:
    """Hear no more of a library's logger, whatever it has to say."""
    logging.getLogger(library).setLevel(logging.CRITICAL)


class _Settled:
    """Drops what may be a commit that is under way: whoever ends something writes the journal of endings first, and
    whoever reads before the commit sees a row that contradicts it. `_ended_at`: of when the record is that a line is
    about; None: it is about none.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, wrapped: object, method: str, told: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        ended_at = told.pop("_ended_at", None)
        if ended_at is not None and abs(self._clock() - ended_at) < UNDER_WAY_MS:
            raise structlog.DropEvent
        return told


class _Line:
    """The last processor: makes the line, and lets through only what is named and typed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, wrapped: object, method: str, told: MutableMapping[str, Any]) -> str:
        event, level = told.pop("event", None), told.pop("level", "info")
        line: dict[str, Json] = {
            "at": datetime.fromtimestamp(self._clock() / 1000, UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "event": event if isinstance(event, str) and _EVENT.fullmatch(event) else _UNNAMED,
        }
        line |= _exception(told.pop("exc_info", None))
        line |= _foreign(told.pop("_library", None))
        dropped = 0
        for key, value in told.items():
            if value is None and key in KEYS:
                continue  # there is none of it, and nothing to tell
            allowed = KEYS[key](value) if key in KEYS else None
            if allowed is None:
                dropped += 1
            else:
                line[key] = allowed
        if dropped:
            line["dropped"] = dropped
        return json.dumps(line)


def _exception(told: object) -> dict[str, Json]:
    """Class, code and the places it passed, innermost last; no message, no local variable."""
    if told is True:
        told = sys.exc_info()[1]
    if isinstance(told, tuple):
        told = told[1] if len(told) == 3 else None
    if not isinstance(told, BaseException):
        return {}
    frames = traceback.extract_tb(told.__traceback__)[-FRAMES:]
    line: dict[str, Json] = {"error": type(told).__name__, "frames": [_place(frame) for frame in frames]}
    if isinstance(told, Fault):
        line["code"] = _code(told.code)
    return line


def _place(frame: traceback.FrameSummary) -> str:
    file = "/".join(frame.filename.rsplit("/", 3)[-3:])
    return f"{file}:{frame.lineno} {frame.name}"


def _foreign(record: object) -> dict[str, Json]:
    if not isinstance(record, logging.LogRecord):
        return {}
    # A logger may be named after anything; the name of a module that was imported is a name that a programmer gave.
    library = record.name.partition(".")[0]
    return {"library": library if library in sys.modules or library == "py" else "?", "line": record.lineno}


class _Library(logging.Handler):
    """Hears other libraries: that they said something, where, how loud. What they said may hold anything."""

    def emit(self, record: logging.LogRecord) -> None:
        speak = logger().error if record.levelno >= logging.ERROR else logger().warning
        speak("library.message", _library=record, exc_info=record.exc_info)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logger().critical("process.uncaught", exc_info=(kind, error, trace))


def _now() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


_QUIET: Final[FilteringBoundLogger] = structlog.wrap_logger(
    _Stream(sys.stderr),
    processors=_processors(_now),
    wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
)
