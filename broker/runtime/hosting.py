"""Hosting: agencies whose connectors run beside the broker, each described by one file of the home.

    <home>/agencies/<any name>.yaml
        party: urn:fr:siret:21350238800019        # whose mailbox
        routes:                                   # what is written where, one for each event type
          - mapping: commune-table                # packaged; with a slash: a file, from this folder
            connector: table                      # as announced under the entry point `unefois.connectors`
            settings: {url: "sqlite+aiosqlite:////var/lib/town/town.db", table: moves}
            limits: {deadline_s: 20, windows: [{start: "22:00", end: "06:00"}]}   # optional: `connectors.guarding`
        notify: {kind: webhook, settings: {...}}  # optional: tell somebody that a delivery waits

Refuses: a file with a mistake, with its name and a pointer, before anything is delivered; two files for one mailbox.
Keeps: a hosted agency goes through mailbox and gate like a remote one, and opens with its own key.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from platform import node
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from broker.flow.deliveries import load_own
from broker.observability import spans
from broker.observability.observe import logger
from broker.runtime.membership import claim
from broker.setup.wiring import Home
from connectors import mapping_check, registry, strict_yaml
from connectors.contract import Agency, Expecting, Ground, Writer, checked
from connectors.description import described
from connectors.guarding import Guard, Guarded, Limits
from connectors.journal import Journal
from connectors.mapping import Direction
from connectors.mapping import Mapping as MappingFile
from connectors.mapping_check import check_rows
from connectors.mapping_files import find, named
from connectors.notify import TellReport, tell_ready
from connectors.retry import Backoff
from connectors.runner import Route, RunReport, run_routes
from schemas import catalogue
from schemas.errors import Refused
from schemas.names import Instant, PartyId

FOLDER: Final = "agencies"
"""Below the home."""


@dataclass(frozen=True, slots=True)
class HostedRoute:
    """One event type's way into the agency's system. Settings may hold passwords."""

    mapping: MappingFile
    connector: str
    settings: Mapping[str, Any] = field(repr=False)
    guard: Guard = field(default_factory=lambda: Guard(Limits()), repr=False, compare=False)
    """Its limits, and what this process remembers of the system's failures from one turn to the next."""

    def is_to_look(self, at: Instant) -> bool:
        """Whether its system is to be asked now for what it answers later."""
        made = registry.connector(self.connector)
        return issubclass(made, Expecting) and made.expects(self.settings) and self.guard.is_to_look(at)


@dataclass(frozen=True, slots=True)
class HostedNotifier:
    """Who is told that a delivery waits, and where it is remembered who was."""

    kind: str
    settings: Mapping[str, Any] = field(repr=False)
    journal: Path


@dataclass(frozen=True, slots=True)
class Hosted:
    """One agency hosted here. Made by `load`."""

    party: PartyId
    file: str
    routes: tuple[HostedRoute, ...]
    notify: HostedNotifier | None


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


_Settings = Annotated[dict[str, Any], Field(default_factory=dict)]


class _Route(_Model):
    mapping: str
    connector: str
    settings: _Settings
    limits: _Settings


class _Notifier(_Model):
    kind: str
    settings: _Settings


class _File(_Model):
    party: str
    routes: list[_Route] = Field(default_factory=list)
    notify: _Notifier | None = None


def load(folder: Path) -> tuple[Hosted, ...]:
    """Every agency described in a folder, by file name; none where there is no such folder. Nothing is opened.

    Raises Refused with the file's name in the details: `yaml.*`, `hosting.*`, `name.party`, `mapping.*`.
    """
    agencies: dict[PartyId, Hosted] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            hosted = _hosted(path)
            if hosted.party in agencies:
                raise Refused("hosting.party-twice", "/party", other=agencies[hosted.party].file)
        except Refused as fault:
            raise fault if "file" in fault.details else named(fault, path.name) from None
        agencies[hosted.party] = hosted
    return tuple(agencies.values())


async def run_hosted(home: Home, hosted: Hosted, limit: int = 100) -> RunReport:
    """One pull, as `pulls` does. Raises as it does."""
    async with aclosing(pulls(home, hosted, limit)) as reports:
        return await anext(reports, RunReport())


async def pulls(home: Home, hosted: Hosted, limit: int = 100) -> AsyncGenerator[RunReport, None]:
    """Open the connectors, and pull until nothing waits: they stay open from one delivery to the next, and no longer,
    for another process of this agency may want them. Each pull has its report. Nothing is opened for nothing; where a
    system answers later, it is looked for that once a minute.

    Whoever does not take all of them closes this (`contextlib.aclosing`). Raises Refused: `connector.*` and what a
    connector refuses of its settings; Unavailable; Corrupt.
    """
    inbox, backoff = home.inbox(hosted.party), Backoff(home.entropy)
    resting = all(route.guard.rests_ms(home.clock()) for route in hosted.routes)  # of no route, too
    looks = [route.is_to_look(home.clock()) for route in hosted.routes]
    if resting or not (any(looks) or await inbox.ready(1)):
        return
    async with _opened(home, hosted) as routes:
        while True:
            agency = await agency_of(home, hosted.party)
            report = await run_routes(inbox, agency, routes, clock=home.clock, limit=limit, backoff=backoff)
            yield report
            if not (report.pulled or report.withheld):
                return


async def agency_of(home: Home, party: PartyId) -> Agency:
    """What an agency hosted here opens with, and whom it trusts. Raises Refused `hosting.no-key`."""
    directory = await home.lookup.newest(home.store)
    keys = home.keyring.recipient(directory, party)
    if not keys:
        raise Refused("hosting.no-key", "/party", party=party)
    return Agency(party=party, sealing_keys=keys, directory=directory, catalogue=home.catalogue)


async def tell_hosted(home: Home, hosted: Hosted, limit: int = 100) -> TellReport | None:
    """Tell what waits; None where nobody wants to be told, or another place does it.

    Who was told stands in a journal, and the journal in one place: two places would tell everything twice, so one of
    them claims it. Processes of one place share the journal, which lets in one at a time.
    Raises Refused, Unavailable as `run_hosted` does.
    """
    if hosted.notify is None or not await home.inbox(hosted.party).ready(1):
        return None
    place = sha256(f"{node()}\0{hosted.notify.journal.absolute()}".encode()).hexdigest()[:32]
    if not await claim(home.store, f"notify/{hosted.party}", place, home.clock):
        return None
    notifier = await registry.notifier(hosted.notify.kind).open(hosted.notify.settings, _ground(home))
    try:
        journal = Journal.open(hosted.notify.journal)
        try:
            report = await tell_ready(
                home.inbox(hosted.party),
                notifier,
                journal,
                clock=home.clock,
                limit=limit,
                backoff=Backoff(home.entropy),
            )
            await _say_told(home, hosted.party, report)
            return report
        finally:
            journal.close()
    finally:
        await notifier.close()


async def _say_told(home: Home, party: PartyId, report: TellReport) -> None:
    """Each by the trace id of its declaration."""
    if not report.told:
        return
    async with home.store.read() as tx:
        found = await load_own(tx, party, report.told)
    for one in found.values():
        logger().info("notify.told", delivery=one.id, recipient=party, trace_id=one.trace)
        spans.ended("notify.told", one.trace, one.planned_at, home.clock(), delivery=one.id, recipient=party)


@asynccontextmanager
async def _opened(home: Home, hosted: Hosted) -> AsyncIterator[tuple[Route, ...]]:
    opened: list[Route] = []
    try:
        for number, route in enumerate(hosted.routes):
            try:
                connector = await Guarded.open(_opening(home, route), route.guard, home.clock)
            except Refused as fault:
                pointer = f"/routes/{number}/settings{fault.pointer}"
                raise named(Refused(fault.code, pointer, **fault.details), hosted.file) from None
            about = described(registry.connector(route.connector))
            at_once = route.guard.limits.at_once or (1 if about is None else about.at_once)
            opened.append(Route(route.mapping, connector, at_once))
        yield tuple(opened)
    finally:
        for route_opened in opened:
            await route_opened.connector.close()


def _opening(home: Home, route: HostedRoute) -> Callable[[], Awaitable[Writer]]:
    """How this route's connector is opened, the first time and anew."""

    async def opening() -> Writer:
        return await registry.connector(route.connector).open(route.settings, route.mapping.targets, _ground(home))

    return opening


def _ground(home: Home) -> Ground:
    return Ground(home.clock, home.entropy)


def _hosted(path: Path) -> Hosted:
    file = _read(path)
    party = _party(file.party)
    if not file.routes and file.notify is None:
        raise Refused("hosting.nothing-to-do", "/routes")
    routes: list[HostedRoute] = []
    for number, route in enumerate(file.routes):
        mapping = find(route.mapping, path.parent)
        _check_mapping(mapping, routes, f"/routes/{number}/mapping")
        check_rows(mapping, registry.connector(route.connector), f"/routes/{number}/connector")
        try:
            limits = checked(Limits, route.limits)
        except Refused as fault:
            raise fault.under(f"/routes/{number}/limits") from None
        routes.append(HostedRoute(mapping, route.connector, route.settings, Guard(limits)))
    return Hosted(party, path.name, tuple(routes), _notifier(file.notify, path))


def _read(path: Path) -> _File:
    try:
        raw = path.read_bytes()
    except OSError:
        raise Refused("hosting.cannot-read") from None
    try:
        return _File.model_validate(strict_yaml.read(raw))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise Refused("hosting.malformed", "".join(f"/{part}" for part in first["loc"]), wrong=first["type"]) from None


def _party(text: str) -> PartyId:
    try:
        return PartyId(text)
    except Refused as fault:
        raise fault.under("/party") from None


def _check_mapping(mapping: MappingFile, before: list[HostedRoute], pointer: str) -> None:
    if mapping.direction is not Direction.OUT:
        raise Refused("hosting.direction", pointer, mapping=mapping.name)
    if any(route.mapping.event_type == mapping.event_type for route in before):
        raise Refused("hosting.type-twice", pointer, event_type=mapping.event_type)
    for problem in mapping_check.check_event(mapping, catalogue.builtin().by_type(mapping.event_type)):
        raise named(problem, mapping.name)


def _notifier(notify: _Notifier | None, path: Path) -> HostedNotifier | None:
    if notify is None:
        return None
    registry.notifier(notify.kind)
    return HostedNotifier(notify.kind, notify.settings, path.with_name(f".{path.stem}.told"))
