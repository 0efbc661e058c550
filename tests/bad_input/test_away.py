"""An agency's system that is away for hours or days: what is meant for it waits, is told, and arrives; once."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from broker.flow.mailbox import RetryPolicy
from broker.runtime.hosting import FOLDER, Hosted, load
from broker.runtime.turns import Trouble, Turn, turn
from connectors.contract import Retry, Unknown
from connectors.table import TableConnector
from schemas.facts import FactKind
from schemas.names import Reason
from tests.bad_input.door import Door
from tests.bad_input.person import Person
from tests.bad_input.telling import LANGUAGES, leaks, sentences_of
from tests.world import CAF, DAY, FAMILY, MINUTE, MOVED, YANN, settings

HOUR = 60 * MINUTE
MAPPING = """
name: small
version: 1
event_type: fr.unefois.address.changed.v1
direction: out
fields: {nom: record.subject.family_name}
"""


def host(home: Path, system: Path) -> tuple[Hosted, ...]:
    """The family fund with a table of its own."""
    folder = home / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / "small.mapping").write_text(MAPPING)
    settings = {"url": f"sqlite+aiosqlite:///{system}", "table": "t", "create": True}
    route = {"mapping": "./small.mapping", "connector": "table", "settings": settings}
    (folder / "fund.yaml").write_text(json.dumps({"party": CAF, "routes": [route]}))
    return load(folder)


def names_in(system: Path) -> list[str]:
    """What the fund's table holds."""
    with closing(sqlite3.connect(system)) as connection:
        return [name for (name,) in connection.execute("SELECT nom FROM t ORDER BY rowid")]


def patience_of(door: Door) -> RetryPolicy:
    """How long and how often this broker tries."""
    patience: RetryPolicy = door.here.home.mailbox._patience
    return patience


async def turns(door: Door, agencies: tuple[Hosted, ...], *, hours: int, every: int) -> list[Trouble]:
    """The machine works while hours go by; nothing may arrive and nothing may be given up."""
    told: list[Trouble] = []
    for _ in range(0, hours * HOUR, every):
        done: Turn = await turn(door.here.home, agencies)
        assert (0, 0) == (done.applied, done.rejected)
        told += done.troubles
        door.here.clock.pass_(every)
    return told


@pytest.mark.asyncio
async def test_a_system_that_is_away_for_a_day_gets_everything_once_when_it_is_back(door: Door, tmp_path: Path) -> None:
    here, system = door.here, tmp_path / "fund.db"
    agencies = host(tmp_path, system)
    system.write_text("no database")
    await here.give(CAF, MOVED, FAMILY, ("subject",), person=YANN)
    for occupants in (1, 2):
        await here.declare(MOVED, door.move(effective_date=f"2026-12-0{occupants}"))
    await here.declare(MOVED, here.moved(YANN))

    troubles = await turns(door, agencies, hours=24, every=HOUR)

    assert {(CAF, "table.away", True)} == {(one.party, one.code, one.retriable) for one in troubles}
    assert 24 == len(troubles)
    for language in LANGUAGES:
        assert [] == leaks("".join(sentences_of(Retry("table.away"), language)))
    assert [] == await here.home.dead_letters.list()
    system.unlink()
    assert 3 == (await turn(here.home, agencies)).applied
    assert ["Martin", "Quenouillard", "Quenouillard"] == sorted(names_in(system))
    await here.step()
    assert 0 == (await turn(here.home, agencies)).applied


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", [Retry("table.away"), Unknown("table.commit")], ids=["away", "nobody-knows"])
async def test_a_system_that_takes_no_row_for_two_days_gets_it_when_it_does(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Retry | Unknown
) -> None:
    """Here the mailbox hands out, and each time the row cannot be written: the waits grow, a system that failed five
    times in a row rests for a minute, and nobody gives up.
    """
    here, system = door.here, tmp_path / "fund.db"
    agencies = host(tmp_path, system)
    await here.declare(MOVED, door.move())

    async def write(*_: object) -> None:
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(TableConnector, "write", write)
        away, attempt, told = 0, 0, []
        while away < 2 * DAY:
            done = await turn(here.home, agencies)
            attempt += 1
            away += (wait := patience_of(door).wait_ms(attempt))
            here.clock.pass_(wait)
            assert all((one.party, one.retriable) == (CAF, True) for one in done.troubles)
            told.append({one.code for one in done.troubles})

    assert {fault.code} == told[0]
    assert "runner.resting" in set().union(*told)
    assert set().union(*told) <= {fault.code, "connector.resting", "runner.resting"}
    assert [] == names_in(system)
    assert [] == await here.home.dead_letters.list()
    assert 1 == (await turn(here.home, agencies)).applied
    assert ["Quenouillard"] == names_in(system)
    assert 1 == len(await here.entries(FactKind.APPLIED))


def test_nobody_is_needed_before_nine_days_are_over(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    patience = RetryPolicy(
        attempts=chosen.delivery_attempts,
        first_ms=chosen.retry_first_seconds * 1000,
        most_ms=chosen.retry_most_seconds * 1000,
    )

    assert 8.9 * DAY < sum(patience.wait_ms(attempt) for attempt in range(1, patience.attempts)) < 9.1 * DAY
    assert RetryPolicy().attempts == patience.attempts


@pytest.mark.asyncio
async def test_a_system_that_is_away_for_good_leaves_its_deliveries_to_an_operator_with_the_reason(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, system = door.here, tmp_path / "fund.db"
    agencies = host(tmp_path, system)
    await here.declare(MOVED, door.move())

    async def write(*_: object) -> None:
        raise Retry("table.away")

    with monkeypatch.context() as patched:
        patched.setattr(TableConnector, "write", write)
        patched.setattr(here.home.mailbox, "_patience", replace(patience_of(door), attempts=4))
        for _ in range(4):
            await turn(here.home, agencies)
            here.clock.pass_(here.home.settings.retry_most_seconds * 1000)

    (letter,) = await here.home.dead_letters.list()
    assert ("table.away", Reason.PARKED) == (letter.code, letter.reason)
    assert await here.home.dead_letters.replay(letter.id) is None
    assert 1 == (await turn(here.home, agencies)).applied
    assert ["Quenouillard"] == names_in(system)


@pytest.mark.asyncio
async def test_a_consent_that_ends_while_the_system_is_away_is_not_outlived_by_what_waits(
    door: Door, tmp_path: Path
) -> None:
    here, system = door.here, tmp_path / "fund.db"
    agencies = host(tmp_path, system)
    system.write_text("no database")
    await here.give(CAF, MOVED, FAMILY, ("subject",), person=YANN, expires_at=here.clock() + DAY)
    await here.declare(MOVED, here.moved(YANN))

    await turns(door, agencies, hours=25, every=5 * HOUR)
    system.unlink()
    done = await turn(here.home, agencies)

    assert (0, 1) == (done.applied, len(await here.entries(FactKind.EXPIRED)))
    assert Reason.EXPIRED in {entry.reason for entry in await here.entries(FactKind.WITHHELD)}


def test_an_operator_is_told_that_a_system_is_away_and_that_it_will_be_tried_again(
    person: Person, tmp_path: Path
) -> None:
    program, system = person.program, tmp_path / "fund.db"
    host(person.home, system)
    system.write_text("no database")
    (path := tmp_path / "citizen.json").write_text(json.dumps(person.record()["subject"]))
    program.told(
        *("grant", "--person", path, "--recipient", CAF, "--type", "address.changed"),
        *("--purpose", "family-benefits", "--field", "subject"),
    )
    program.told("declare", person.file, "--type", "address.changed")

    for language in LANGUAGES:
        result = program.run("run", "--once", "--lang", language)
        assert (4, "") == (result.exit_code, result.stderr)
        wrong, remedy = sentences_of(Retry("table.away"), language)
        assert f"! table.away  {CAF}\n    {wrong} {remedy}\n" in result.stdout
        assert [] == leaks(result.output)
    system.unlink()
    assert 1 == program.told("run", "--once")["applied"]
    assert ["Quenouillard"] == names_in(system)
    assert program.told("fsck")["clean"]
