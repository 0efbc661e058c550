"""Answers: what a call to the API has come to. The table of the settings counts first, then this one:

    2xx, with JSON or no body, `ok` as it should be     done
    400, 413, 415, 422                                  not done, and never will be as it stands: Reject
    401, 403; 429, and 503 with Retry-After; other 4xx  not done; somebody has to mend it, or it passes: Retry
    409, 3xx, other 5xx, no JSON, too large, cut        nobody knows whether it was done: Unknown
    no answer in time                                   the same, and not asked again at once: Late

Refuses: an answer over 1 MiB.
Keeps: what the answer says in words stands in no error: it may repeat values. A code stands there if a rule names it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

from connectors.contract import Answered, Otherwise, Reject, Retry, Unknown
from connectors.peers import json_of
from connectors.rest.settings import RestSettings, Rule
from schemas.names import Instant, Reason
from schemas.retry import retry_after_ms

LONGEST: Final = 1024 * 1024
_NEVER: Final = frozenset({400, 413, 415, 422})
_ANSWERS: Final = {
    "unknown-person": Reason.UNKNOWN_PERSON,
    "several-persons": Reason.SEVERAL_PERSONS,
    "document-needed": Reason.DOCUMENT_NEEDED,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the API: its status, its Retry-After, and its body; None over the limit."""

    status: int
    retry_after: str | None
    content: bytes | None = field(repr=False)

    @property
    def good(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300


def at(document: Any, pointer: str) -> Any:
    """What stands at a JSON pointer (RFC 6901), or None."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, Mapping):
            document = document.get(name)
        elif isinstance(document, list) and name.isascii() and name.isdigit() and len(name) < 7:
            document = document[int(name)] if int(name) < len(document) else None
        else:
            return None
    return document


def reference_of(settings: RestSettings, told: Any) -> str:
    """The system's own number in an answer; empty where it says none."""
    number = None if settings.reference is None else at(told, settings.reference)
    return str(number)[:200] if isinstance(number, str | int) and not isinstance(number, bool) else ""


def judged(settings: RestSettings, answer: Answer, now: Instant) -> str:
    """The system's number of what was done. Raises Reject, Otherwise, Retry, Unknown `rest.*`."""
    told = json_of(answer.content)
    rule = _rule(settings, answer.status, told)
    if rule is not None:
        return _ruled(settings, rule, answer, told, now)
    if not answer.good:
        _refused(answer, now)
    if answer.content is None:
        raise Unknown("rest.too-long", limit=LONGEST)
    wanted = bool(answer.content) or settings.ok is not None or settings.reference is not None
    if settings.json_answer and wanted and told is None:
        raise Unknown("rest.no-json" if _is_utf8(answer.content) else "rest.charset", status=answer.status)
    if settings.ok is not None and not _same(at(told, settings.ok.at), settings.ok.equals):
        raise Unknown("rest.not-ok", status=answer.status)
    return reference_of(settings, told)


def is_there(settings: RestSettings, answer: Answer, now: Instant) -> str | None:
    """What a GET of `find` has found: the system's number, or None. Raises Retry `rest.*`."""
    entries = None if settings.find is None else settings.find.entries
    if answer.status == 404:
        return None
    if not answer.good:
        try:
            _refused(answer, now)
        except Retry:
            raise
        except (Reject, Unknown) as fault:
            raise Retry(fault.code, fault.pointer, **fault.details) from None
    told = json_of(answer.content)
    found = told if entries is None else at(told, entries)
    if told is None or (entries is not None and not isinstance(found, list)):
        raise Retry("rest.no-json", status=answer.status)
    if entries is not None:
        return reference_of(settings, found[0]) if found else None
    return reference_of(settings, told)


def _rule(settings: RestSettings, status: int, told: Any) -> Rule | None:
    code = None if settings.code is None else at(told, settings.code)
    said = str(code) if isinstance(code, str | int) else None
    fits = (
        rule for rule in settings.answers if rule.status in {None, status} and (rule.code is None or rule.code == said)
    )
    return next(fits, None)


def _ruled(settings: RestSettings, rule: Rule, answer: Answer, told: Any, now: Instant) -> str:
    details: dict[str, Any] = {"status": answer.status, "told": rule.code or "-"}
    if rule.means in {"applied", "already-there"}:
        return reference_of(settings, told)
    if rule.means in _ANSWERS:
        raise Otherwise(Answered(_ANSWERS[rule.means]))
    if rule.means == "awaiting-human":
        until = datetime.fromtimestamp(now / 1000, UTC) + timedelta(days=rule.days or 1)
        raise Otherwise(Answered(Reason.AWAITING_HUMAN, until.date().isoformat()))
    if rule.means == "rejected":
        raise Reject("rest.refused", **details)
    wait = retry_after_ms(answer.retry_after, now)
    raise Retry("rest.not-now", **details, after_ms=wait or 0)


def _refused(answer: Answer, now: Instant) -> NoReturn:
    """What a status other than 2xx means, where no rule says it."""
    status, wait = answer.status, retry_after_ms(answer.retry_after, now)
    if status in {401, 403}:
        raise Retry("rest.not-let-in", status=status)
    if status == 429 or (status == 503 and wait is not None):
        raise Retry("rest.busy", status=status, after_ms=wait or 0)
    if status in _NEVER:
        raise Reject("rest.refused", status=status, told="-")
    if status == 409:
        raise Unknown("rest.conflict")
    if 300 <= status < 400:
        raise Unknown("rest.redirect", status=status)
    if 400 <= status < 500:
        raise Retry("rest.not-now", status=status, told="-")
    raise Unknown("rest.failed", status=status)


def _same(found: Any, wanted: Any) -> bool:
    """Equal, and of one kind: `true` is not 1."""
    return found == wanted and isinstance(found, bool) is isinstance(wanted, bool)


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
