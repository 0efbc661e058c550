"""Health: what a supervisor, a load balancer and Prometheus ask for.

    GET /health/live     200 as long as this process answers, and which version and commit it is
    GET /health/ready    200 when work can be done here, else 503; each check by its name, with code and sentences
    GET /metrics         Prometheus text; of this process, and of the whole broker as this process sees it

Refuses: to guess. A check that does not end within CHECK_SECONDS has failed.
Keeps: nothing here changes anything, and no label or sentence tells of a citizen. However often somebody asks, each
question is put to database and log once at a time: what does not answer is not asked again before it has.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.responses import JSONResponse, PlainTextResponse, Response

from broker.flow.router import TOPIC
from broker.maintenance.expiring import What
from broker.observability import measures, observe
from broker.observability.build import Build, this_build
from broker.runtime.serving import Serving
from broker.runtime.stats import Stats, Tally, oldest_waiting, take
from broker.setup.wiring import Home
from broker.store import migrate
from broker.web.common.answered import answers
from broker.web.common.problems import language_of
from broker.web.public import forms
from schemas.errors import Corrupt, Fault, Unavailable
from schemas.facts import FactKind
from schemas.messages import Language, explain, table

CHECK_SECONDS: Final = 5
LATE_MS: Final = 60_000
"""An entry that waits longer for its place in the ledger, once its window is over, says that nobody orders it."""

REFUSALS: Final = (FactKind.REFUSED, FactKind.WITHHELD, FactKind.REJECTED)


def routes(home: Home, serving: Serving | None = None) -> APIRouter:
    """The three answers; `serving`: the work that is done in this process, if any."""
    router, asked, of = APIRouter(tags=["health"]), _Asked(), this_build()
    exposition = _Exposition(asked, of)

    @router.get("/health/live", response_class=JSONResponse, responses=answers(forms.Live))
    async def live() -> Response:
        """Whether this process answers, and what it was made of."""
        return JSONResponse({"live": True, "version": of.version, "commit": of.commit})

    @router.get("/health/ready", response_class=JSONResponse, responses=forms.READY)
    async def ready(request: Request) -> Response:
        """Whether work can be done here."""
        checks = await _checked(home, serving, asked)
        told = {name: _told(fault, language_of(request)) for name, fault in checks.items()}
        good = not any(checks.values())
        return JSONResponse({"ready": good, "checks": told}, 200 if good else 503, {"Cache-Control": "no-store"})

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """For Prometheus."""
        return PlainTextResponse(await exposition.text(home), media_type=CONTENT_TYPE_LATEST)

    return router


class _Asked:
    """Questions that are under way, by name."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def answer(self, name: str, ask: Callable[[], Coroutine[Any, Any, None]]) -> Fault | None:
        """None when it is well; else what is wrong, if only that no answer came in time.

        It is not cancelled then: a client that is broken off in the middle of connecting leaves its connection behind.
        """
        task = self._tasks.get(name)
        if task is None or task.done():
            task = self._tasks[name] = asyncio.create_task(ask())
        await asyncio.wait((task,), timeout=CHECK_SECONDS)
        if not task.done():
            return Unavailable("health.no-answer", seconds=CHECK_SECONDS)
        try:
            task.result()
        except Fault as fault:
            return fault
        return None


async def _checked(home: Home, serving: Serving | None, asked: _Asked) -> Mapping[str, Fault | None]:
    """Every check by its name: None when it is well, else what is wrong."""
    looks = {"database": _database, "log": _log, "ledger": _ledger, "clock": _clock}
    found = await asyncio.gather(*(asked.answer(name, partial(look, home)) for name, look in looks.items()))
    work = None if serving is None else _work(serving)
    return {**dict(zip(looks, found, strict=True)), "work": work}


async def _database(home: Home) -> None:
    await migrate.check(home.store)


async def _log(home: Home) -> None:
    await home.log.end(TOPIC, 0)


async def _clock(home: Home) -> None:
    """Whoever works by a clock that nobody believes dates what comes, and ends what has not ended."""
    await home.timekeeping.judge()


async def _ledger(home: Home) -> None:
    """Well as long as nothing waits, however long nothing has come."""
    async with home.store.read() as tx:
        oldest = await oldest_waiting(tx, home.settings.ledger_window_seconds)
    age = 0 if oldest is None else home.clock() - oldest
    if age > LATE_MS:
        raise Unavailable("health.ledger-late", seconds=age // 1000)


def _work(serving: Serving) -> Fault | None:
    """The loops of this process: a contradiction stopped them, or they wait, or they are about to end."""
    if serving.stopping:
        return Unavailable("health.stopping")
    for one in serving.troubles:
        kind: Callable[..., Fault] = Unavailable if one.retriable else Corrupt
        return kind(one.code, one.pointer, **one.details)
    return None if serving.begun else Unavailable("health.not-begun")


def _told(fault: Fault | None, language: Language) -> dict[str, Any]:
    if fault is None:
        return {"ok": True}
    message = explain(fault, language) if fault.code in table() else None
    sentences = {"message": message.wrong, "remedy": message.remedy} if message is not None else {}
    return {"ok": False, "code": fault.code, **sentences}


class _Exposition(Collector):
    """What Prometheus is told: a registry of our own, so that no library adds to it."""

    def __init__(self, asked: _Asked, of: Build) -> None:
        self._build = of
        self._registry = CollectorRegistry()
        self._asked = asked
        self._tally = Tally()
        self._figures: Stats | None = None
        for measure in measures.ALL:
            self._registry.register(measure)
        self._registry.register(self)

    async def text(self, home: Home) -> bytes:
        """The whole page; without the broker's figures when the database or the log is away."""
        if await self._asked.answer("figures", partial(self._look, home)) is not None:
            self._figures = None
        return generate_latest(self._registry)

    async def _look(self, home: Home) -> None:
        await self._tally.follow(home.store)
        self._figures = await take(home)

    def describe(self) -> list[Metric]:
        """Nothing yet: the registry must not ask for figures before there are some."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Figures and counts."""
        yield GaugeMetricFamily("unefois_up", "1 when database and log answered.", int(self._figures is not None))
        if self._figures is not None:
            yield from _gauges(self._figures)
        yield from _counters(self._tally)
        told = {"version": self._build.version, "commit": self._build.commit, "python": self._build.python}
        info = GaugeMetricFamily("unefois_build_info", "1; its labels say which program this is.", labels=list(told))
        info.add_metric(list(told.values()), 1)
        yield info
        yield CounterMetricFamily("unefois_unheard_lines", "Log lines that could not be written.", observe.unheard())


def _gauges(figures: Stats) -> Iterator[Metric]:
    lag = GaugeMetricFamily("unefois_lag_records", "Accepted and not routed yet.", labels=["partition"])
    for partition, count in figures.lag.items():
        lag.add_metric([str(partition)], count)
    yield lag
    hooks = GaugeMetricFamily("unefois_webhooks", "Webhooks, by status.", labels=["status"])
    for status, count in figures.webhooks.items():
        hooks.add_metric([status], count)
    yield hooks
    of, ages = (
        GaugeMetricFamily("unefois_witness_entries", "Of the newest checkpoint that it cosigned.", labels=["witness"]),
        GaugeMetricFamily("unefois_witness_age_seconds", "Since it cosigned one.", labels=["witness"]),
    )
    for witness, (entries, age) in figures.witnesses.items():
        of.add_metric([witness], entries)
        ages.add_metric([witness], _s(age))
    yield from (of, ages)
    ends = GaugeMetricFamily("unefois_expiring_seconds", "Until the next one of its kind ends.", labels=["what"])
    for what in What:
        soon = [one.at - figures.at for one in figures.expiring if one.what == what.value]
        if soon:
            ends.add_metric([what.value], min(soon) / 1000)
    yield ends
    quotas = GaugeMetricFamily("unefois_quota_per_minute", "Of each process that answers; 0: none.", labels=["policy"])
    for policy, quota in figures.quotas.items():
        quotas.add_metric([policy], quota)
    yield quotas
    yield from _of_this_machine(figures)
    if figures.unknown_keys is not None:
        told = "Epoch keys that the database does not know; where there are some to look at."
        yield GaugeMetricFamily("unefois_unknown_keys", told, figures.unknown_keys)
    for name, told, figure in (
        ("unefois_undelivered_age_seconds", "Of the oldest delivery on its way; 0: none.", _s(figures.undelivered_age)),
        ("unefois_dead_letters", "Dead letters that nobody replayed yet.", figures.letters),
        ("unefois_ledger_entries", "Entries that the newest checkpoint covers.", figures.ledger_size),
        ("unefois_ledger_head_age_seconds", "Since the newest checkpoint was signed.", _s(figures.ledger_age)),
        ("unefois_ledger_waiting_entries", "Committed, and not in a checkpoint yet.", figures.waiting),
        ("unefois_ledger_waiting_age_seconds", "Since the oldest's window was over; 0: none.", _s(figures.waiting_age)),
        ("unefois_witnessed_entries", "Of the newest checkpoint that a quorum cosigned.", figures.witnessed),
        ("unefois_inlet_lag_records", "On sources' topics, and not taken yet.", figures.inlet_lag),
        ("unefois_webhook_age_seconds", "Of the oldest message not heard yet; 0: none.", _s(figures.webhook_age)),
        ("unefois_messages_waiting", "To citizens, and not taken yet.", figures.messages.get("waiting", 0)),
        ("unefois_messages_given_up", "To citizens, and tried for too long.", figures.messages.get("given-up", 0)),
        ("unefois_message_age_seconds", "Of the oldest news not told yet; 0: none.", _s(figures.message_age)),
        (
            "unefois_relay_age_seconds",
            "Of the oldest delivery not on its agency's topic; 0: none.",
            _s(figures.relay_age),
        ),
        ("unefois_webhooks_disabled", "Webhooks that were given up.", figures.webhooks_disabled),
        ("unefois_routers", "Router processes that were heard of lately.", figures.routers),
        ("unefois_clock_ahead_seconds", "Of the last instant known; below 0: behind.", figures.clock_ahead / 1000),
        ("unefois_clock_believed", "1 when this process's clock is near that instant.", int(figures.clock_believed)),
    ):
        yield GaugeMetricFamily(name, told, figure)


def _of_this_machine(figures: Stats) -> Iterator[Metric]:
    """Where `fsck` and `backup` run, there it is known when they did; elsewhere nothing is told."""
    if figures.check is not None:
        age, found = (figures.at - figures.check.at) / 1000, sum(figures.check.findings.values())
        yield GaugeMetricFamily("unefois_fsck_age_seconds", "Since the last check by fsck on this machine.", age)
        yield GaugeMetricFamily("unefois_fsck_findings", "What that check found.", found)
    if figures.backup is not None:
        age = (figures.at - figures.backup.at) / 1000
        yield GaugeMetricFamily("unefois_backup_age_seconds", "Since the last backup on this machine.", age)
    free = GaugeMetricFamily("unefois_disk_free_ratio", "Of the disk that a folder is on.", labels=["folder"])
    for folder, usage in figures.disks.items():
        free.add_metric([folder], usage.free / max(1, usage.total))
    yield free


def _counters(tally: Tally) -> Iterator[Metric]:
    released = tally.counted[FactKind.RELEASED, None]
    yield CounterMetricFamily("unefois_releases", "Deliveries opened, since this process was first asked.", released)
    refusals = CounterMetricFamily("unefois_refusals", "By kind and reason, likewise.", labels=["kind", "reason"])
    for (kind, reason), count in sorted(tally.counted.items(), key=lambda one: (one[0][0].value, str(one[0][1]))):
        if kind in REFUSALS and reason is not None:
            refusals.add_metric([kind.value, reason.value], count)
    yield refusals


def _s(milliseconds: int | None) -> float:
    return 0.0 if milliseconds is None else milliseconds / 1000
