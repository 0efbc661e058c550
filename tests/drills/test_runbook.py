"""The runbook by symptom: each trouble is planted, then found and mended by the page's commands alone."""

import re
import shutil
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import typer

from broker.access.credentials import Scope
from broker.cli.app import app
from broker.cli.exits import Exit
from broker.ports import KeyKind
from broker.web.common.bodies import b64u
from schemas import catalogue
from schemas.instants import rfc3339
from schemas.names import Instant, PartyId
from tests.drills.runbook import RUNBOOK, Operator, sections
from tests.endpoints import Endpoints, send, status
from tests.program import elise_in, host, move_in
from tests.world import CAF, DAY, MOVED, PORTAL, RENNES, World

pytestmark = pytest.mark.sqlite
TYPE: Final = "address.changed"
GIB: Final = 1 << 30
HERE, THIEF = "192.0.2.7", "203.0.113.9"


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: (100 * GIB, 40 * GIB, 60 * GIB))


def allow(operator: Operator, recipient: str = CAF) -> None:
    """Élise lets somebody know."""
    words = [word for name in ("subject", "new_address", "effective_date") for word in ("--field", name)]
    purpose = {CAF: "family-benefits", RENNES: "local-services"}[PartyId(recipient)]
    asked = ("--recipient", recipient, "--type", TYPE, "--purpose", purpose)
    operator.unefois.told("grant", "--person", elise_in(operator.folder), *asked, *words)


def declare(operator: Operator) -> str:
    """The portal declares her move."""
    file = move_in(operator.folder)
    told: str = operator.unefois.told("declare", file, "--type", TYPE, "--source", PORTAL)["declaration"]
    return told


def routed(operator: Operator) -> None:
    operator.unefois.told("run", "--once")


def take(operator: Operator, party: PartyId = CAF) -> int:
    """An administration fetches, opens and applies what waits. Returns how much it was."""

    async def taken(here: World) -> int:
        count = 0
        while found := await here.take(party):  # a citizen's next one comes after the one before
            count += len(found)
        return count

    return operator.plants(taken)


def token(operator: Operator, days: int) -> tuple[str, str]:
    """Issued to CAF: its id, and what is shown once."""

    async def issued(here: World) -> tuple[str, str]:
        home, at = here.home, here.clock()
        scopes, until = (Scope.RECEIVE, Scope.READ), Instant(at + days * DAY)
        async with home.store.begin() as tx:
            made = await home.credentials.issue(tx, CAF, scopes, expires_at=until, at=at)
        return made.credential.id.hex(), made.token

    return operator.plants(issued)


def shown(name: str, printed: str) -> str:
    """What stands beside a word."""
    found = re.search(rf"^ *{name} +(\S+)", printed, re.MULTILINE)
    assert found, f"no {name} in\n{printed}"
    return found[1]


def steps(operator: Operator, declared: str, recipient: str) -> list[str]:
    told = operator.unefois.told("track", declared)["steps"]
    return [one["progress"] for one in told if one["recipient"] == recipient]


def signing_key(operator: Operator, party: str) -> str:
    (one,) = [each for each in operator.unefois.told("party", "list")["parties"] if each["id"] == party]
    keys = [key for key in one["keys"] if key["use"] == "signing" and key["valid_to"] is None]
    kid: str = keys[0]["kid"]
    return kid


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


# ── by alert ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_dead_letters_wait(operator: Operator) -> None:
    allow(operator, RENNES)
    host(operator.unefois, operator.folder)
    town = operator.folder / "town.db"
    with closing(sqlite3.connect(town)) as table:
        table.execute("CREATE TABLE t (nom TEXT, rue VARCHAR(3))")  # too short for most streets
    declared = declare(operator)
    routed(operator)

    with operator.follows("UnefoisDeadLetters"):
        assert re.search(r"^1 +delivery +table.too-long ", operator.does("unefois dead list"), re.MULTILINE)
        operator.does("unefois dead show", NUMBER=1)
        with closing(sqlite3.connect(town)) as table:
            table.executescript("DROP TABLE t; CREATE TABLE t (nom TEXT, rue VARCHAR(100))")
        operator.does("unefois dead replay")
        operator.does("unefois run --once")
        assert "table.too-long" not in operator.does("unefois dead list")
    assert "done" in steps(operator, declared, RENNES)


def test_a_token_is_about_to_end(operator: Operator) -> None:
    of, old = token(operator, days=10)

    with operator.follows("UnefoisExpiring"):
        assert f"{CAF}  token receive" in operator.does("unefois top --once")
        issued = operator.does("unefois token issue", PARTY=CAF, SCOPE="receive --scope read")
        assert 200 == operator.asks(shown("token", issued), "GET", "/v1/status").status_code
        used = operator.does("unefois token list")
        assert 1 == len(re.findall(r"Z *$", used, re.MULTILINE))  # the next one is in use, the old one never was
        operator.does("unefois token revoke", TOKEN=of)
        assert "expires soon" not in operator.does("unefois top --once")
    assert 401 == operator.asks(old, "GET", "/v1/status").status_code


def test_a_key_that_no_book_knows(operator: Operator) -> None:
    async def copied(here: World) -> None:
        here.home.keys.write(KeyKind.GATE, "ab" * 32, bytes(32))

    operator.plants(copied)
    assert Exit.FINDINGS == operator.unefois.run("fsck").exit_code

    with operator.follows("UnefoisUnknownKeys"):
        assert "ab" * 32 in operator.does("unefois keys unknown list", NAME="ab" * 32)
        operator.does("unefois keys unknown destroy")
        operator.does("unefois keys unknown list")


def test_a_webhook_was_given_up(operator: Operator) -> None:
    async def gone(here: World) -> str:
        async with here.home.store.begin() as tx:
            hook = await here.home.webhooks.add(tx, CAF, "https://caf.example/hook", here.clock())
        await send(here, Endpoints(status(410)))
        return hook.id.hex()

    async def mended(here: World) -> None:
        await send(here, Endpoints())

    of = operator.plants(gone)
    with operator.follows("UnefoisWebhookDisabled"):
        listed = operator.does("unefois webhook list", ID=of)
        assert "disabled" in listed
        assert "410" in operator.does("unefois webhook attempts")
        operator.does("unefois webhook prove")
        operator.plants(mended)
    assert ["active"] == [one["status"] for one in operator.unefois.told("webhook", "list")["webhooks"]]


def test_no_backup_was_made(operator: Operator) -> None:
    with operator.follows("UnefoisBackupOld"):
        operator.does("unefois doctor")
        operator.does("unefois backup", DIR=operator.folder / "backup")
        operator.does("unefois fsck")
        operator.does("unefois doctor")


# ── the page itself ─────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def root() -> Any:
    """The program, as its words are looked up."""
    return typer.main.get_command(app)


def named() -> list[list[str]]:
    """Every command of the page, in its blocks and in its sentences, as words."""
    text = RUNBOOK.read_text("utf-8")
    shown = [command for section in sections().values() for command, _ in section.left]
    inside = [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    found = [each.removeprefix("unefois ").split() for each in (*shown, *inside) if each.startswith("unefois ")]
    return found + [words for words in map(str.split, inside) if words[0] in root().commands]


def wrong_with(words: list[str]) -> str | None:
    """What the program does not know of a command."""
    one = root()
    while getattr(one, "commands", None) and words and words[0] in one.commands:
        one, words = one.commands[words[0]], words[1:]
    group = getattr(one, "commands", None) and not getattr(one, "invoke_without_command", False)
    if group and words and not words[0].startswith("--"):
        return f"no command {words[0]}"
    options = {option for each in one.params for option in each.opts}
    unknown = [word for word in words if word.startswith("--") and word not in options]
    return f"no option {unknown[0]} of {one.name}" if unknown else None


def test_every_command_that_the_page_names_exists_with_its_options() -> None:
    commands = named()
    assert len(commands) > 100
    assert [] == [(words, wrong) for words in commands if (wrong := wrong_with(words)) is not None]


@pytest.mark.parametrize(
    "words", ["party frobnicate", "party forbid --hard", "frobnicate", "subscribe released ID --soon"]
)
def test_a_command_that_is_none_is_found(words: str) -> None:
    assert wrong_with(words.split()) is not None


def test_every_section_with_commands_has_its_drill() -> None:
    drilled = re.findall(r'with operator\.follows\("([^"]+)"\)', Path(__file__).read_text("utf-8"))
    assert sorted(sections()) == sorted(drilled)


def test_what_is_in_capitals_is_told_by_the_drill(operator: Operator) -> None:
    with pytest.raises(AssertionError, match="what is it"), operator.follows("A token has leaked"):
        operator.does("unefois token list")


def test_a_command_that_is_not_the_next_of_the_page_cannot_be_run(operator: Operator) -> None:
    with pytest.raises(AssertionError, match="the page says"), operator.follows("A token has leaked"):
        operator.does("unefois token revoke", PARTY=CAF, TOKEN="0" * 16)


def test_a_section_is_followed_to_its_end(operator: Operator) -> None:
    with pytest.raises(AssertionError, match="not followed to its end"), operator.follows("The clock is wrong"):
        pass
