"""Check: what `unefois config check` tells an operator before the machine would, and what it never would.

Refuses: nothing; it lists.
Keeps: it changes nothing and opens no database; no secret is in what it tells.
"""

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from broker.observability.crashpoints import VARIABLE as CRASH
from broker.settings.choices import UNSET, Settings, refusals
from broker.settings.sources import FILE, PREFIX, SECRETS
from schemas.errors import Refused

# Read by others than these settings: where a test finds its services, and where it may not skip.
_TESTS = {f"{PREFIX}{name}" for name in ("REQUIRE", "TEST_POSTGRES", "TEST_KAFKA", "TEST_DATABASE")}
_ELSEWHERE = frozenset({*_TESTS, f"{PREFIX}HOME", f"{PREFIX}DEBUG", CRASH})


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `schemas.messages.explain(problem.fault, language)` gives its sentences.

    `serious`: the machine would not start, or not keep a promise; otherwise it is advice.
    """

    key: str
    fault: Refused
    serious: bool


def check_all(environment: Mapping[str, str], **chosen: Any) -> tuple[Problem, ...]:
    """Read the settings as `load` would, and list everything that is wrong, not the first only."""
    found = list(_variables(environment))
    try:
        settings = Settings(**{name: told for name, told in chosen.items() if told is not None})
    except ValidationError as invalid:
        found += [Problem(refused.pointer[1:], refused, serious=True) for refused in refusals(invalid)]
    except Refused as refused:
        found.append(Problem(refused.pointer[1:], refused, serious=True))
    else:
        found += check(settings)
    return tuple(found)


def check(settings: Settings) -> tuple[Problem, ...]:
    """What is wrong or unwise with settings that could be read."""
    return tuple(
        problem
        for look in (*_RELATIONS, _home, _placeholders, _keys, _kafka, _mail, _messages, _party, _http)
        for problem in look(settings)
    )


def _variables(environment: Mapping[str, str]) -> list[Problem]:
    """A variable that nobody reads is a setting that somebody believes in."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | _ELSEWHERE
    known |= {f"{PREFIX}{name.upper()}_FILE" for name in SECRETS}
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    found = [Problem(name, Refused("settings.unknown", key=name), serious=True) for name in unknown]
    if environment.get(CRASH):
        found.append(Problem(CRASH, Refused("settings.crash-armed", key=CRASH), serious=True))
    return found


def _retry_order(settings: Settings) -> list[Problem]:
    if settings.retry_first_seconds <= settings.retry_most_seconds:
        return []
    return [Problem("retry_first_seconds", Refused("settings.retry-order", "/retry_first_seconds"), serious=True)]


def _gate_retention(settings: Settings) -> list[Problem]:
    """No key is destroyed while a declaration that was sealed to it in its last hour may still be delivered."""
    needed = settings.gate_epoch_days + settings.gate_overlap_days + settings.declaration_days
    if settings.gate_retention_days >= needed:
        return []
    short = Refused("settings.gate-retention", "/gate_retention_days", days=needed)
    return [Problem("gate_retention_days", short, serious=True)]


_RELATIONS: tuple[Callable[[Settings], list[Problem]], ...] = (_retry_order, _gate_retention)


def _home(settings: Settings) -> list[Problem]:
    if not settings.home.is_dir():
        return [Problem("home", Refused("settings.no-home", "/home"), serious=True)]
    closed = {settings.home: "home", settings.home / FILE: FILE}
    return [
        Problem(key, Refused("settings.readable-by-others", key=key), serious=False)
        for path, key in closed.items()
        if path.exists() and _open_to_others(path)
    ]


def _open_to_others(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _placeholders(settings: Settings) -> list[Problem]:
    unset = [name for name in ("address", "contact") if getattr(settings, name) == UNSET]
    found = []
    if is_placeholder(settings.ledger_origin):
        if others_rely(settings):
            named = Refused("home.placeholder-origin", "/ledger_origin", found=settings.ledger_origin)
            found.append(Problem("ledger_origin", named, serious=True))
        else:
            unset.append("ledger_origin")
    found += [Problem(name, Refused("settings.placeholder", f"/{name}", key=name), serious=False) for name in unset]
    return found


def is_placeholder(origin: str) -> bool:
    """Whether a ledger has a name for trying things out."""
    return origin.startswith("unefois.example/")


def others_rely(settings: Settings) -> bool:
    """Whether the settings let others than this machine see, cosign or hear of the ledger."""
    inside = settings.listen == "none" or is_here(settings.listen.rpartition(":")[0])
    return not inside or bool(settings.witnesses or settings.trusted_proxies or settings.mail_server)


def is_here(host: str) -> bool:
    """Whether a host's name or address is this very machine's."""
    name = host.strip("[]")
    return name in {"localhost", "::1"} or name.startswith("127.")


def _keys(settings: Settings) -> list[Problem]:
    found = []
    inside = settings.keys_folder.is_relative_to(settings.home)
    if inside and settings.database_url.startswith("sqlite"):
        found.append(Problem("keys_folder", Refused("settings.keys-beside-database", "/keys_folder"), serious=False))
    if settings.keys_passphrase is None:
        found.append(Problem("keys_passphrase", Refused("settings.no-passphrase", "/keys_passphrase"), serious=False))
    for name in SECRETS:
        file = os.environ.get(f"{PREFIX}{name.upper()}_FILE")
        if file is not None and _open_to_others(Path(file)):
            key = f"{PREFIX}{name.upper()}_FILE"
            found.append(Problem(key, Refused("settings.readable-by-others", key=key), serious=True))
    return found


def _kafka(settings: Settings) -> list[Problem]:
    """On this machine nobody else listens; beyond it, who writes to whom is worth hiding, and a password even more."""
    hosts = {address.rpartition(":")[0] for address in settings.kafka_bootstrap}
    clear = settings.kafka_security in ("plaintext", "sasl_plaintext")
    if settings.log != "kafka" or not clear or hosts <= {"localhost", "127.0.0.1"}:
        return []
    serious = settings.kafka_security == "sasl_plaintext"
    return [Problem("kafka_security", Refused("settings.kafka-in-clear", "/kafka_security"), serious=serious)]


def _mail(settings: Settings) -> list[Problem]:
    """Letters name administrations and their endpoints; on this machine nobody else listens."""
    near = settings.mail_server is None or settings.mail_server.rpartition(":")[0] in {"localhost", "127.0.0.1"}
    if near or settings.mail_security != "none":
        return []
    return [Problem("mail_security", Refused("settings.mail-in-clear", "/mail_security"), serious=False)]


def _messages(settings: Settings) -> list[Problem]:
    """What is for trials holds addresses in clear; who is told that there is news wants to know where."""
    ways = {name: getattr(settings, name) for name in ("message_email", "message_mobile")}
    found = [
        Problem(name, Refused("settings.messages-for-trials", f"/{name}", key=name), serious=False)
        for name, way in ways.items()
        if way in ("console", "file")
    ]
    if set(ways.values()) & {"smtp", "http"} and settings.message_link is None:
        found.append(Problem("message_link", Refused("settings.messages-without-link", "/message_link"), serious=False))
    return found


def _party(settings: Settings) -> list[Problem]:
    """Two brokers of one name would take each other's assertions and access tokens' audience for their own."""
    if settings.party != Settings.model_fields["party"].default or not others_rely(settings):
        return []
    return [Problem("party", Refused("settings.party-of-everybody", "/party"), serious=False)]


def _http(settings: Settings) -> list[Problem]:
    """Tokens go over HTTP: beyond this machine a proxy has to end TLS in front of it."""
    if settings.listen == "none" or is_here(settings.listen.rpartition(":")[0]) or settings.trusted_proxies:
        return []
    return [Problem("listen", Refused("settings.http-in-clear", "/listen"), serious=False)]
