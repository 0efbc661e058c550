"""The runbook by symptom: each trouble is planted, then found and mended by the page's commands alone."""

import re
import shutil
import sqlite3
from typing import Any, Final

import pytest

from broker.access.credentials import Scope
from broker.cli.exits import Exit
from broker.web.common.bodies import b64u
from schemas import catalogue
from schemas.names import Instant, rfc3339
from tests.drills.runbook import GIB, TYPE, Operator, allow, declare, routed, shown, signing_key, steps, take, token
from tests.program import host, move_in
from tests.world import CAF, DAY, MOVED, PORTAL, RENNES, World

pytestmark = pytest.mark.sqlite
HERE, THIEF = "192.0.2.7", "203.0.113.9"


def test_a_declaration_that_the_router_set_aside(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(operator)
    stuck = declare(operator)
    with monkeypatch.context() as older:
        older.setattr(catalogue, "builtin", lambda: catalogue.Catalogue(()))
        routed(operator)

    with operator.follows("A declaration does not arrive"):
        operator.does("unefois track", DECLARATION=stuck, NUMBER=1)
        operator.does("unefois dead show")
        operator.does("unefois dead replay")
        operator.does("unefois run --once")
        assert "urn:unefois:caf" in operator.does("unefois track")
        assert 1 == take(operator)
    assert ["done"] == steps(operator, stuck, CAF)


def test_an_administration_that_does_not_come(operator: Operator) -> None:
    allow(operator)
    of, old = token(operator, days=2)
    assert 200 == operator.asks(old, "GET", "/v1/status").status_code
    operator.days(3)
    declare(operator)
    routed(operator)
    operator.days(2)
    assert 401 == operator.asks(old, "GET", "/v1/status").status_code

    with operator.follows("An administration is away"):
        late = operator.does("unefois party behind")
        assert re.search(rf"{CAF} +1 +0 .*contact@example\.fr", late)
        assert of in operator.does("unefois token list", PARTY=CAF)
        new = shown("token", operator.does("unefois token issue"))
        assert 200 == operator.asks(new, "GET", "/v1/status").status_code
        operator.does("unefois party edit", CONTACT="caf@caf.example")
        assert 1 == take(operator)
        operator.does("unefois party behind")


def test_a_token_that_somebody_else_has(operator: Operator) -> None:
    allow(operator)
    of, leaked = token(operator, days=90)
    assert 200 == operator.asks(leaked, "GET", "/v1/status", address=HERE).status_code
    declare(operator)
    routed(operator)
    operator.clock.pass_(DAY)
    since = rfc3339(operator.clock())
    stolen = operator.asks(leaked, "POST", "/v1/deliveries:pull", {"max": 10}, address=THIEF)
    assert 200 == stolen.status_code, stolen.text
    assert 1 == len(stolen.json()["deliveries"])

    with operator.follows("A token has leaked"):
        assert of in operator.does("unefois token list", PARTY=CAF)
        used = operator.does("unefois token uses", TOKEN=of)
        assert re.search(rf"{THIEF} .*\n{HERE} ", used)  # the newest first
        new = shown("token", operator.does("unefois token issue"))
        operator.does("unefois token revoke")
        assert 401 == operator.asks(leaked, "GET", "/v1/status", address=THIEF).status_code
        assert 200 == operator.asks(new, "GET", "/v1/status").status_code
        assert used == operator.does("unefois token uses")  # who is not let in leaves no trace
        listed = operator.does("unefois subscribe list")
        assert CAF in listed
        (mine,) = [
            one["id"]
            for one in operator.unefois.told("subscribe", "list")["subscriptions"]
            if (one["recipient"], one["event_type"]) == (CAF, MOVED)
        ]
        assert "subject" in operator.does("unefois subscribe released", SUBSCRIPTION=mine, WHEN=since)


def test_a_key_that_signs_for_somebody_else(operator: Operator) -> None:
    allow(operator)
    allow(operator, RENNES)
    host(operator.unefois, operator.folder)
    good = declare(operator)
    routed(operator)
    operator.clock.pass_(DAY)
    since = rfc3339(operator.clock())
    operator.clock.pass_(1)
    stolen, false = signing_key(operator, PORTAL), declare(operator)
    routed(operator)
    waits = declare(operator)

    with operator.follows("A party's signing key is stolen"):
        operator.does("unefois party forbid", PARTY=PORTAL)
        operator.does("unefois run --once")
        told = operator.does("unefois party signed", KID=stolen, WHEN=since)
        assert {(False, True, True)} == {tuple(one in told for one in (good, false, waits))}
        assert re.search(rf"{RENNES} +2 +contact@example\.fr", told)
        assert "0" == shown("not routed yet, by any key", told)
        operator.does("unefois party rotate")
        operator.does("unefois party revoke-key")
        operator.does("unefois party allow")
        operator.does("unefois declare", FILE=move_in(operator.folder), TYPE=TYPE, DECLARATION=false)
        operator.does("unefois run --once")
        assert 4 == take(operator)  # the three, and the correction


def test_the_gates_key_in_other_hands(operator: Operator) -> None:
    allow(operator, RENNES)
    host(operator.unefois, operator.folder)
    under_way = declare(operator)
    stolen = operator.unefois.told("epoch", "list")["gate"][0]["kid"]

    with operator.follows("The gate's key is stolen"):
        assert stolen in operator.does("unefois epoch list", KID=stolen)
        operator.does("unefois epoch rotate gate")
        operator.does("unefois run --once")
        operator.does("unefois party behind")
        operator.does("unefois epoch destroy")
        operator.does("unefois epoch rotate consent")
    assert ["done"] == steps(operator, under_way, RENNES)
    assert not (operator.unefois.home / "keys" / "gate" / stolen).exists()
    later = declare(operator)
    routed(operator)
    assert ["done"] == steps(operator, later, RENNES)


def test_a_key_that_has_ended(operator: Operator) -> None:
    allow(operator)
    old = signing_key(operator, PORTAL)
    operator.unefois.told("party", "rotate", PORTAL, "--overlap-days", 2)
    operator.unefois.told("party", "revoke-key", signing_key(operator, PORTAL), "--yes")
    operator.days(3)
    refused = operator.unefois.run("declare", move_in(operator.folder), "--type", TYPE, "--source", PORTAL)
    assert Exit.REFUSED == refused.exit_code

    with operator.follows("A key has ended"):
        assert old in operator.does("unefois party list")
        operator.does("unefois party rotate", PARTY=PORTAL)
        operator.clock.pass_(1)
        late = declare(operator)
        operator.does("unefois run --once")
    assert ["sent"] == steps(operator, late, CAF)


def test_an_approval_that_was_a_mistake(operator: Operator) -> None:
    allow(operator)
    left = declare(operator)
    routed(operator)
    assert 1 == take(operator)
    operator.clock.pass_(DAY)
    stays = declare(operator)
    routed(operator)
    (mine,) = [
        one["id"]
        for one in operator.unefois.told("subscribe", "list")["subscriptions"]
        if (one["recipient"], one["event_type"]) == (CAF, MOVED)
    ]

    with operator.follows("An approval was a mistake"):
        assert mine in operator.does("unefois subscribe list")
        operator.does("unefois subscribe end", SUBSCRIPTION=mine)
        assert 0 == take(operator)
        told = operator.does("unefois subscribe released")
        assert ("1", "1") == (shown("persons concerned", told), shown("deliveries opened", told))
        assert left in told
        assert stays not in told


def test_a_source_that_floods(operator: Operator) -> None:
    allow(operator)

    async def made(here: World) -> tuple[str, list[str]]:
        home, at = here.home, here.clock()
        async with home.store.begin() as tx:
            until = Instant(at + DAY)
            issued = await home.credentials.issue(tx, PORTAL, [Scope.PUBLISH], expires_at=until, at=at)
        envelopes = [b64u(await home.desk.envelope(PORTAL, MOVED, here.moved())) for _ in range(21)]
        return issued.token, envelopes

    with_token, envelopes = operator.plants(made)
    path = "/v1/declarations:batch"
    assert 200 == operator.asks(with_token, "POST", path, {"declarations": envelopes[:20]}).status_code
    routed(operator)

    with operator.follows("A source floods"):
        operator.does("unefois top --once")
        assert re.search(rf"{PORTAL} +20 ", operator.does("unefois party busiest"))
        operator.does("unefois party forbid", PARTY=PORTAL)
        operator.clock.pass_(1)
        refused = operator.asks(with_token, "POST", path, {"declarations": envelopes[20:]}).json()["results"][0]
        assert "directory.not-entitled" == refused["problem"]["code"]
        operator.does("unefois run --once")
        operator.does("unefois party allow")
        declare(operator)
        routed(operator)


def test_a_clock_that_is_wrong(operator: Operator) -> None:
    operator.days(1)
    operator.clock.pass_(40 * DAY)
    assert "clock.ahead" in operator.unefois.run("run", "--once").output

    with operator.follows("The clock is wrong"):
        operator.does("unefois clock show")
        operator.clock.pass_(-40 * DAY)  # set right
        operator.does("unefois clock show")
        operator.clock.pass_(40 * DAY)  # switched off meanwhile
        operator.does("unefois clock accept")
        operator.does("unefois run --once")
    assert [] == operator.unefois.told("run", "--once")["troubles"]


CONNECT: Final = sqlite3.connect


def no_larger(*where: Any, **how: Any) -> sqlite3.Connection:
    """A database that cannot grow by a page."""
    connection = CONNECT(*where, **how)
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={max(1, pages)}")
    return connection


def test_a_disk_that_is_full(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(operator)
    before = declare(operator)
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: (100 * GIB, 100 * GIB - 4096, 4096))
        full.setattr(sqlite3, "connect", no_larger)
        refused = operator.unefois.run("declare", move_in(operator.folder), "--type", TYPE, "--source", PORTAL)
        assert (Exit.UNAVAILABLE, True) == (refused.exit_code, "store.disk-full" in refused.output)
        with operator.follows("A disk is full"):
            operator.does("unefois doctor")
            operator.does("unefois prune --dry-run")
            operator.does("unefois prune")
            full.undo()
            operator.does("unefois run --once")
    assert ["sent"] == steps(operator, before, CAF)


def test_a_machine_that_is_lost(operator: Operator) -> None:
    allow(operator)
    declared = declare(operator)
    routed(operator)
    home, away = operator.unefois.home, operator.folder / "elsewhere"
    operator.unefois.told("backup", away / "backup")
    for kept in ("keys", "endings"):
        shutil.copytree(home / kept, away / kept)
    shutil.copy(home / "unefois.toml", away)
    shutil.rmtree(home)  # the machine is gone
    home.mkdir(mode=0o700)
    for kept in ("keys", "endings"):
        shutil.copytree(away / kept, home / kept)
    shutil.copy(away / "unefois.toml", home)

    with operator.follows("A machine is lost"):
        operator.does("unefois restore", BACKUP=away / "backup")
        operator.does("unefois run --once")
        assert 1 == take(operator)
        operator.does("unefois backup", NEXT=away / "next")
    assert ["done"] == steps(operator, declared, CAF)
