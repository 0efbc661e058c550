"""Health: alive while it answers, ready while work can be done, and figures that tell of nobody."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from prometheus_client import Counter, Histogram

from broker.access.credentials import Scope
from broker.log.sql import SqlLog
from broker.maintenance.last import note_backup, note_check
from broker.observability import measures, observe
from broker.observability.build import this_build
from broker.runtime.serving import Serving
from broker.setup.roles import ProcessRole
from broker.store import migrate
from broker.web.app import build
from broker.web.public import health
from schemas import cloudevents
from schemas import topics as names
from schemas.envelope import SignedDeclaration
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.manifest import Manifest
from schemas.names import Instant
from tests.endpoints import Endpoints, echo, send, status
from tests.world import CAF, CPAM, DAY, ELISE, FAMILY, MOVED, PORTAL, VOICE, World, world

STATUSES = ("proving", "active", "disabled")

pytestmark = pytest.mark.asyncio


async def _current(_: object) -> None:
    return


@pytest_asyncio.fixture
async def here(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A furnished broker, whose tables are taken for those of this version; no check of it ends too late by chance."""
    monkeypatch.setattr(migrate, "check", _current)
    monkeypatch.setattr(health, "CHECK_SECONDS", 600)
    async with world(tmp_path, stepped=True) as made:
        yield made


class Asking:
    """Somebody who asks one process."""

    def __init__(self, here: World) -> None:
        self.stop = asyncio.Event()
        self.serving = Serving(here.home, ProcessRole.API, (), self.stop, lambda *_: None)
        self.serving._seen.set()
        app = build(here.home, self.serving)
        self._client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://broker.example")

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self._client.get(path, headers=headers)

    async def ready(self) -> tuple[int, dict[str, Any]]:
        answer = await self.get("/health/ready")
        told = answer.json()
        assert told["ready"] is (answer.status_code == 200)
        return answer.status_code, {
            name: check.get("code", "ok") for name, check in told["checks"].items() if not check["ok"]
        }

    async def metrics(self) -> dict[str, float]:
        lines = (await self.get("/metrics")).text.splitlines()
        return {name: float(told) for name, _, told in (one.rpartition(" ") for one in lines if one[0] != "#")}


@pytest.fixture
def asking(here: World) -> Asking:
    return Asking(here)


async def test_a_process_that_answers_is_alive_whatever_else(
    asking: Asking, here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "check", _raising(Unavailable("store.away", error="closed")))

    answer = await asking.get("/health/live")

    assert (200, True) == (answer.status_code, answer.json()["live"])


async def test_which_program_it_is_can_be_asked_and_is_counted(asking: Asking) -> None:
    of = this_build()
    told = {"live": True, "version": of.version, "commit": of.commit}
    labels = f'commit="{of.commit}",python="{of.python}",version="{of.version}"'

    assert told == (await asking.get("/health/live")).json()
    assert 1 == (await asking.metrics())[f"unefois_build_info{{{labels}}}"]


async def test_where_all_is_well_each_check_says_so_by_its_name(asking: Asking) -> None:
    answer = await asking.get("/health/ready")

    assert {"database", "log", "ledger", "clock", "work"} == set(answer.json()["checks"])
    assert (200, "no-store") == (answer.status_code, answer.headers["cache-control"])


def _raising(fault: BaseException) -> Any:
    async def raises(*_: object) -> None:
        raise fault

    return raises


@pytest.mark.parametrize(
    "fault",
    [
        Unavailable("store.away", error="closed"),
        Refused("store.newer-version", found="9"),
        Corrupt("store.corrupt", error="XX000"),
    ],
)
async def test_a_database_that_is_away_or_of_another_version_is_not_ready(
    asking: Asking, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    monkeypatch.setattr(migrate, "check", _raising(fault))

    assert (503, {"database": fault.code}) == await asking.ready()


async def test_a_log_that_is_away_is_not_ready(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SqlLog, "_end", _raising(Unavailable("kafka.timeout")))

    assert (503, {"log": "kafka.timeout"}) == await asking.ready()


async def test_what_does_not_answer_in_time_is_not_ready_and_is_not_asked_again_before_it_has(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answer = [], asyncio.Event()

    async def slow(_: object) -> None:
        asked.append(True)
        await answer.wait()

    monkeypatch.setattr(health, "CHECK_SECONDS", 0)
    monkeypatch.setattr(migrate, "check", slow)
    for _ in range(3):
        _, wrong = await asking.ready()
        assert "health.no-answer" == wrong["database"]
    assert [True] == asked

    monkeypatch.setattr(health, "CHECK_SECONDS", 5)
    answer.set()
    assert (200, {}) == await asking.ready()


async def test_entries_that_nobody_orders_are_told_after_a_minute_and_not_before(asking: Asking, here: World) -> None:
    window = here.home.settings.ledger_window_seconds * 1000
    here.clock.pass_(window - here.clock() % window)  # the first instant of one
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    here.clock.pass_(window + health.LATE_MS)
    assert 200 == (await asking.ready())[0]

    here.clock.pass_(1)
    assert (503, {"ledger": "health.ledger-late"}) == await asking.ready()

    await here.home.ledger.sequence_unfinished()
    here.clock.pass_(10 * health.LATE_MS)
    assert 200 == (await asking.ready())[0]


async def test_a_process_that_has_not_begun_or_is_ending_sends_others_away(asking: Asking) -> None:
    asking.serving._seen.clear()
    assert (503, {"work": "health.not-begun"}) == await asking.ready()

    asking.stop.set()
    assert (503, {"work": "health.stopping"}) == await asking.ready()


async def test_what_a_loop_waits_for_is_told_with_its_sentences_in_the_language_asked_for(asking: Asking) -> None:
    from broker.runtime.turns import Turn, trouble

    done = Turn(troubles=[trouble(None, Unavailable("store.locked")), trouble(CAF, Unavailable("table.away"))])
    asking.serving._tell(asking.serving._beginning, done)

    told = (await asking.get("/health/ready", **{"Accept-Language": "fr-FR"})).json()["checks"]["work"]

    assert ("store.locked", True) == (told["code"], "base" in told["message"])


async def test_metrics_tell_what_waits_where_and_for_how_long(asking: Asking, here: World) -> None:
    window = here.home.settings.ledger_window_seconds * 1000
    here.clock.pass_(2 * window - here.clock() % window - 7_000)  # 7 seconds before the end of one
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    await here.home.ledger.sequence_unfinished()
    await here.declare(MOVED, here.moved(), route=False)
    here.clock.pass_(6_000)
    await here.give(CPAM, MOVED, FAMILY, ["subject"])
    assert 0 == (await asking.metrics())["unefois_ledger_waiting_age_seconds"]  # nobody could have ordered it
    here.clock.pass_(4_000)

    told = await asking.metrics()

    assert (1, 1) == (told["unefois_up"], told['unefois_lag_records{partition="0"}'])
    assert (10, 10) == (told["unefois_undelivered_age_seconds"], told["unefois_ledger_head_age_seconds"])
    assert (1, 3) == (told["unefois_ledger_waiting_entries"], told["unefois_ledger_waiting_age_seconds"])


async def test_metrics_tell_how_long_until_a_token_that_nothing_outlasts_ends(asking: Asking, here: World) -> None:
    assert 'unefois_expiring_seconds{what="token"}' not in await asking.metrics()
    async with here.home.store.begin() as tx:
        at = here.clock()
        await here.home.credentials.issue(tx, CAF, [Scope.READ], expires_at=Instant(at + 2 * DAY), at=at)
    here.clock.pass_(5_000)

    assert 2 * 86_400 - 5 == (await asking.metrics())['unefois_expiring_seconds{what="token"}']


async def test_metrics_count_from_the_ledger_what_was_released_and_what_was_refused_and_why(
    asking: Asking, here: World
) -> None:
    before = (await asking.metrics())["unefois_releases_total"]
    granted = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await here.declare(MOVED, here.moved())
    await here.home.consents.revoke(granted.grant.id, VOICE)
    await here.home.ledger.sequence_unfinished()

    told = await asking.metrics()

    assert (0, 1) == (before, told["unefois_releases_total"])
    assert 1 == told['unefois_refusals_total{kind="withheld",reason="revoked"}']
    again = await asking.metrics()
    of_the_ledger = {name: value for name, value in told.items() if "_releases_" in name or "_refusals_" in name}
    assert of_the_ledger == {name: again[name] for name in of_the_ledger}  # what was counted is not counted again


async def test_metrics_tell_how_long_revocations_took(asking: Asking, here: World) -> None:
    before = (await asking.metrics())["unefois_revocation_seconds_count"]
    granted = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.home.consents.revoke(granted.grant.id, VOICE)

    assert before + 1 == (await asking.metrics())["unefois_revocation_seconds_count"]


async def test_metrics_tell_how_many_lines_nobody_could_hear(asking: Asking) -> None:
    before = (await asking.metrics())["unefois_unheard_lines_total"]
    with observe.unraised():
        raise BrokenPipeError

    assert before + 1 == (await asking.metrics())["unefois_unheard_lines_total"]


async def test_metrics_tell_how_many_webhooks_are_well_and_what_came_of_their_messages(
    asking: Asking, here: World
) -> None:
    before = await asking.metrics()
    async with here.home.store.begin() as tx:
        for party in (CAF, CPAM):
            await here.home.webhooks.add(tx, party, f"https://{party[-3:]}.example/hook", here.clock())
    here.clock.pass_(9_000)
    waiting = await asking.metrics()
    await send(here, Endpoints(echo, status(500)))
    told = await asking.metrics()

    status_of = [{one: m[f'unefois_webhooks{{status="{one}"}}'] for one in STATUSES} for m in (before, waiting, told)]
    assert {"proving": 0, "active": 0, "disabled": 0} == status_of[0]
    assert ({"proving": 2, "active": 0, "disabled": 0}, 9) == (status_of[1], waiting["unefois_webhook_age_seconds"])
    assert {"proving": 1, "active": 1, "disabled": 0} == status_of[2]
    for outcome in ("heard", "failed"):
        name = f'unefois_webhook_attempts_total{{outcome="{outcome}"}}'
        assert 1 == told[name] - before.get(name, 0)


async def test_metrics_tell_what_comes_and_goes_by_topic(asking: Asking, here: World) -> None:
    here.home.log.for_others = True  # type: ignore[misc]
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    async with here.home.store.begin() as tx:
        await here.home.topic_users.allow(tx, PORTAL, "portal", receives=False, declares=True, at=here.clock())
    envelope, topic = await here.home.desk.envelope(PORTAL, MOVED, here.moved()), names.declarations(PORTAL)
    before = await asking.metrics()
    for value, headers in ((b"no envelope", {}), _as_event(envelope)):
        await here.home.log.append(topic, b"k", value, headers)
    waiting = await asking.metrics()
    await here.home.inlet.take(PORTAL)
    await here.home.router.route()
    await here.home.relay.relay(CAF)
    told = await asking.metrics()

    lag = [figures["unefois_inlet_lag_records"] for figures in (before, waiting, told)]
    assert [0, 2, 0] == lag
    for name in (
        "unefois_inlet_accepted_total",
        'unefois_inlet_refused_total{reason="invalid-envelope"}',
        "unefois_relayed_deliveries_total",
    ):
        assert 1 == told[name] - before.get(name, 0), name


def _as_event(envelope: bytes) -> tuple[bytes, dict[str, bytes]]:
    """As a source's SDK writes it."""
    manifest = Manifest.decode(SignedDeclaration.decode(envelope).payload)
    event = cloudevents.declaration(
        manifest.source,
        manifest.event_type,
        manifest.schema,
        declaration_id=manifest.declaration_id,
        issued_at=manifest.issued_at,
        envelope=envelope,
    )
    headers, value = cloudevents.to_kafka(event)
    return value, dict(headers)


async def test_every_measure_is_told_and_stands_on_the_operators_page() -> None:
    made = [one for one in vars(measures).values() if isinstance(one, Counter | Histogram)]
    page = (Path(__file__).parents[4] / "docs" / "operate.md").read_text("utf-8")

    assert set(made) == set(measures.ALL)
    assert [] == [family.name for one in made for family in one.describe() if family.name not in page]


async def test_without_a_database_metrics_say_so_and_tell_no_old_figures(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asking.metrics()
    monkeypatch.setattr(SqlLog, "_end", _raising(Unavailable("kafka.timeout")))

    told = await asking.metrics()

    assert 0 == told["unefois_up"]
    assert "unefois_dead_letters" not in told


async def test_no_answer_tells_of_a_citizen_or_of_an_administration(asking: Asking, here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await here.home.ledger.sequence_unfinished()

    text = (await asking.get("/metrics")).text + (await asking.get("/health/ready")).text

    for secret in (str(ELISE["family_name"]), here.subject().hex(), "urn:", str(CAF)):
        assert secret not in text


async def test_what_was_answered_is_counted_by_status_and_each_problem_by_its_code(asking: Asking) -> None:
    before = await asking.metrics()
    await asking.get("/nowhere")
    await asking.get("/nowhere")

    told = await asking.metrics()

    for name in ('unefois_http_answers_total{status="404"}', 'unefois_http_problems_total{code="api.not-found"}'):
        assert 2 == told[name] - before.get(name, 0)


async def test_check_and_backup_are_told_where_they_were_made_and_how_full_the_disks_are(
    asking: Asking, here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: (200, 150, 50))
    nothing = await asking.metrics()
    folder = here.home.settings.endings_folder
    note_check(folder, here.clock(), ["parties.edited", "parties.lost"], full=True)
    note_backup(folder, here.clock(), 7)
    here.clock.pass_(3_600_000)

    told = await asking.metrics()

    assert "unefois_fsck_findings" not in nothing
    assert (2, 3600, 3600) == (
        told["unefois_fsck_findings"],
        told["unefois_fsck_age_seconds"],
        told["unefois_backup_age_seconds"],
    )
    assert 0.25 == told['unefois_disk_free_ratio{folder="home"}']
