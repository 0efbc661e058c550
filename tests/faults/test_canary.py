"""Canaries: values that exist once in the world are declared; they are found where they belong and nowhere else.

Not in the database, its write-ahead log, the keys, the exported ledger, the receipts, a log line, a dead letter, an
error's text, a repr: in the recipients' own systems alone.
"""

import io
import json
import logging
import sqlite3
import sys
import threading
import traceback
from base64 import b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from broker.flow.deliveries import load
from broker.observability import observe
from broker.runtime.hosting import Hosted
from broker.runtime.hosting import load as hosted_in
from broker.runtime.turns import turn
from broker.services import channels, person_erase, proofs
from broker.services.acknowledging import acknowledgement
from broker.services.consent_receipts import receipt_of
from broker.services.person_export import person_export
from broker.transparency.export import export
from schemas.errors import Fault, Unavailable
from schemas.messages import explain
from tests.announced import announce
from tests.faults import day
from tests.told import EMAIL, MOBILE, Taken, with_ways
from tests.told import held as reached
from tests.world import BANK, CAF, CPAM, DAY, FAMILY, HEALTH, MINUTE, MOVED, PORTAL, RENNES, TOWN, VOICE, World, address

pytestmark = pytest.mark.asyncio

PERSON = {
    "family_name": "Zqxfamilycanary",
    "given_names": ["Wvkgivencanary"],
    "birthdate": "1913-02-27",
    "gender": "female",
    "birthplace": "44109",
    "birthcountry": "99100",
}
HOME = address(
    housenumber="4711",
    street="Qjystreetcanary",
    dwelling="Xzdwellingcanary",
    postcode="35000",
    city="Rennes",
    commune="35238",
    country="99100",
)
TOLD = {"phone": "+33699887766", "email": "jqmailcanary@canary.example"}
ACCOUNT = {"iban": "FR1420041010050500013M02606", "holder": "Kxholdercanary"}
CANARIES = ("Zqxfamilycanary", "Wvkgivencanary", "1913-02-27", "Qjystreetcanary", "Xzdwellingcanary", *TOLD.values())
OF_THE_ACCOUNT = tuple(ACCOUNT.values())
CHANNELS = ("jrchannelcanary@canary.example", "+33788776655")
"""Where the citizen is told: in clear they are in no file and no line at all."""
NEVER = ("Pzrefusedcanary",)
"""What is refused at the desk reaches nobody."""

MAPPING = """
name: some-of-it
version: 1
event_type: fr.unefois.address.changed.v1
direction: out
fields: {{nom: record.subject.family_name, prenoms: "record.subject.given_names[0]", ne: record.subject.birthdate,
         rue: record.new_address.street, logement: record.new_address.dwelling, {more}}}
"""
SYSTEMS = (
    (CAF, "caf", "le: record.effective_date"),
    (CPAM, "cpam", "tel: record.phone, mel: record.email"),
    (RENNES, "rennes", "menage: record.household"),  # which the town is never given: it refuses what it gets
)


def spellings(canary: str) -> set[bytes]:
    """How a value may look: in clear, in UTF-16, in hexadecimal, in base64 wherever it begins."""
    raw = canary.encode()
    encoded = {
        raw,
        canary.encode("utf-16-le"),
        canary.encode("utf-16-be"),
        raw.hex().encode(),
        raw.hex().upper().encode(),
    }
    for shift in range(3):
        whole = b64encode(b"\0" * shift + raw)
        encoded.add(whole[-(-8 * shift // 6) : len(whole) - 4])
    return encoded


def found(canaries: Iterable[str], contents: Iterable[tuple[str, bytes]]) -> set[tuple[str, str]]:
    """Which canary is in what, in any spelling and any case."""
    wanted = [(canary, spelling, spelling.lower()) for canary in canaries for spelling in spellings(canary)]
    return {
        (canary, place)
        for place, content in contents
        for lower in (content.lower(),)
        for canary, exact, folded in wanted
        if exact in content or folded in lower
    }


def files(folder: Path) -> list[tuple[str, bytes]]:
    return [(str(path.relative_to(folder)), path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()]


def hosted(home: Path, systems: Path) -> tuple[Hosted, ...]:
    """Three agencies, each with a table of its own."""
    folder = home / "agencies"
    folder.mkdir()
    systems.mkdir()
    for party, name, more in SYSTEMS:
        (folder / f"{name}.mapping").write_text(MAPPING.format(more=more))
        settings = {"url": f"sqlite+aiosqlite:///{systems / name}.db", "table": "t", "create": True}
        route = {"mapping": f"./{name}.mapping", "connector": "table", "settings": settings}
        (folder / f"{name}.yaml").write_text(json.dumps({"party": party, "routes": [route]}))
    return hosted_in(folder)


async def refusals(here: World) -> list[str]:
    """Every way in which somebody hears of a refusal that a canary caused."""
    canary = NEVER[0]
    move, bank = here.moved(PERSON, new_address=HOME, **TOLD), here.bank(PERSON, joint=True, **ACCOUNT)
    wrong: list[tuple[Any, dict[str, Any]]] = [
        (MOVED, move | {"nickname": canary}),
        (MOVED, move | {"phone": canary}),
        (MOVED, move | {"email": f"{canary}@@x"}),
        (MOVED, move | {"occupants": canary}),
        (MOVED, move | {"new_commune": "Z" + canary[:4].upper()}),
        (MOVED, move | {"effective_date": canary}),
        (MOVED, move | {"new_address": HOME | {"street": canary + "\x07"}}),
        (MOVED, move | {"new_address": HOME | {"street": canary * 500}}),
        (MOVED, move | {"new_address": canary}),
        (MOVED, move | {"subject": PERSON | {"birthplace": canary}}),
        (MOVED, move | {"subject": PERSON | {"family_name": "", "given_names": [canary]}}),
        (MOVED, move | {"subject": canary}),
        (BANK, bank | {"iban": f"FR76{canary}"}),
        (BANK, bank | {"uses": [canary]}),
    ]
    heard = []
    log = observe.logger()
    for event_type, record in wrong:
        for ask in (here.home.desk.explain, here.home.desk.declare):
            with pytest.raises(Fault) as refused:
                await ask(PORTAL, event_type, record)
            fault = refused.value
            log.error("desk.refused", code=fault.code, error=fault, exc_info=fault)
            heard += [str(fault), repr(fault), *traceback.format_exception(fault, chain=True)]
            heard += [str(explain(fault, "fr")), str(explain(fault, "en"))]
    return heard


async def a_whole_life(here: World, agencies: tuple[Hosted, ...]) -> list[str]:
    """Declared, delivered, refused, replayed, revoked; what was said meanwhile to anybody but the recipients."""
    home = here.home
    given = await here.give(CAF, MOVED, FAMILY, ["subject", "new_address", "effective_date"], person=PERSON)
    await here.give(CPAM, MOVED, HEALTH, ["subject", "new_address", "phone", "email"], person=PERSON)
    town = await here.give(RENNES, MOVED, TOWN, ["subject", "new_address"], person=PERSON)
    account = await here.give(CAF, BANK, FAMILY, ["iban", "holder"], person=PERSON)
    said = [(await receipt_of(home, given)).decode()]
    taken = Taken()
    telling = with_ways(here, {EMAIL: taken, MOBILE: taken})
    said += [repr(await reached(here, telling, CHANNELS[0], person=PERSON))]
    said += [repr(await reached(here, telling, CHANNELS[1], MOBILE, person=PERSON))]
    dry = await home.desk.explain(PORTAL, MOVED, here.moved(PERSON, new_address=HOME, **TOLD))
    accepted = await here.declare(MOVED, here.moved(PERSON, new_address=HOME, **TOLD))
    held = await here.declare(BANK, here.bank(PERSON, joint=True, **ACCOUNT))
    said += [repr(dry), repr(accepted), accepted.receipt.decode(), repr(await turn(home, agencies))]
    letters = await home.dead_letters.list()
    assert [RENNES] == [letter.recipient for letter in letters]
    said += [repr(letters), repr(await home.dead_letters.show(letters[0].id))]
    await home.dead_letters.replay(letters[0].id)
    said.append(repr(await turn(home, agencies)))
    # leased, opened, and never acknowledged: what the connector of an agency has in its hands when it dies
    here.clock.pass_(MINUTE)
    (leased,) = await here.inbox(CAF).lease(1)
    said += [repr(leased), repr(await here.inbox(CAF).release([leased.id]))]
    for grant in (account, town):
        await home.consents.revoke(grant.grant.id, VOICE)
    said += [repr(await home.tracking.track(one.declaration_id)) for one in (accepted, held)]
    await home.ledger.sequence_unfinished()
    said += [repr(await telling.sending.step()), *(f"{one.subject} {one.text} {one!r}" for one in taken.taken)]
    assert {*CHANNELS} == {one.to for one in taken.taken}
    taken.faults = [Unavailable("mail.refused", status=550)] * 8
    await here.declare(MOVED, here.moved(PERSON, new_address=HOME, **TOLD))
    await home.ledger.sequence_unfinished()
    said += [repr(await telling.sending.step()), repr(await channels.of(telling, here.subject(PERSON)))]
    here.clock.pass_(8 * DAY)
    await telling.sending.step()
    await home.upkeep.turn()
    await home.ledger.sequence_unfinished()
    await export(home.store, home.ledger.verifier_key, here.folder / "log")
    said += [await proofs.prove(home, given.grant.id, None, "fr"), repr(await home.fsck.check()), repr(home)]
    async with home.store.read() as tx:
        said.append(repr(await load(tx)))
    exported = await person_export(telling, here.subject(PERSON))
    assert {*CHANNELS} == {one["address"] for one in exported["held"]["channels"]}
    for one in exported["held"]["channels"]:
        one["address"] = None  # the one place where they are whole
    said += [json.dumps(exported), repr(await person_erase.look(telling, here.subject(PERSON)))]
    said.append(json.dumps(await acknowledgement(home, accepted.declaration_id)))
    return said + await refusals(here)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What `observe` writes; afterwards the process's own loggers and hooks are as they were."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    yield io.StringIO()
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:], level, sys.excepthook, threading.excepthook = before
    root.setLevel(level)


async def test_what_was_declared_is_in_the_recipients_systems_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], lines: io.StringIO
) -> None:
    announce(monkeypatch)
    folder, systems = tmp_path / "home", tmp_path / "systems"
    folder.mkdir(mode=0o700)
    await day.found(folder)
    agencies = hosted(folder, systems)
    async with day.opened(folder, 1) as here:
        observe.configure("debug", here.clock, lines)
        said = await a_whole_life(here, agencies)
        while_open = files(folder)
        assert any(name.endswith("-wal") for name, _ in while_open)
    told = capfd.readouterr()

    everywhere = [*while_open, *files(folder), ("log", lines.getvalue().encode()), ("out", told.out.encode())]
    everywhere += [("err", told.err.encode()), *(("said", text.encode()) for text in said)]
    assert set() == found([*CANARIES, *OF_THE_ACCOUNT, *NEVER, *CHANNELS], everywhere)
    assert "messages.given-up" in lines.getvalue()
    assert lines.getvalue().count("desk.refused") == 28
    # the search itself: each is where it may be
    assert set(CANARIES) == {canary for canary, _ in found(CANARIES, files(systems))}


async def test_the_search_finds_a_value_in_every_spelling(tmp_path: Path) -> None:
    canary = CANARIES[0]
    with sqlite3.connect(tmp_path / "some.db") as database:
        database.execute("CREATE TABLE t (a)")
        database.execute("INSERT INTO t VALUES (?)", (f"x {canary} y",))
    database.close()
    (tmp_path / "hex").write_text(canary.encode().hex())
    (tmp_path / "upper").write_text(canary.upper())
    (tmp_path / "wide").write_bytes(f"ab{canary}".encode("utf-16-le"))
    for shift in range(3):
        (tmp_path / f"base64-{shift}").write_bytes(b64encode(b"q" * shift + canary.encode() + b"tail"))
    (tmp_path / "nothing").write_bytes(b"canary")

    names = {place for _, place in found([canary], files(tmp_path))}

    assert {"some.db", "hex", "upper", "wide", "base64-0", "base64-1", "base64-2"} == names
