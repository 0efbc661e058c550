"""The law over HTTP: rules and purposes in a signed chain beside the directory's, which an agency's wheel reads."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from broker.services import purposes, rules
from broker.store.tables import directory_notes
from connectors.client import Client
from connectors.pinning import Pin
from consent.rules import Rule
from schemas import directory_note
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.law import Law, LawRule
from schemas.names import RuleId
from tests.faults.day import MEALS
from tests.unit.broker.test_rules import asked
from tests.unit.broker.web.agencies.calls import Served
from tests.world import CAF, World

pytestmark = pytest.mark.asyncio
BOTH = ("new_address", "household")


async def approved(here: World, **more: Any) -> Rule:
    """A rule that acts in three days."""
    return await rules.approve(here.home, (await asked(here, **more)).id)


async def shown(client: Client, pin: Pin, rule: RuleId) -> LawRule:
    """One rule as the agency's wheel reads it."""
    (found,) = [one for one in (await client.law(pin)).rules if one.id == rule]
    return found


async def test_an_agency_reads_every_rule_and_every_purpose_and_compares_them_with_the_ledger(
    served: Served, tmp_path: Path
) -> None:
    here, caf, pin = served.here, await served.caller(CAF), Pin(tmp_path / "pin")
    transport = httpx2.ASGITransport(served.app)
    async with Client.open("https://broker.example", caf.token or "", transport=transport) as client:
        before = await client.law(pin)
        assert () == before.rules
        assert {1} == {one.version for one in before.purposes}

        rule = await approved(here, fields=BOTH, territories=["35"])
        added = await purposes.add(here.home, MEALS)
        assert "school-meals" not in {one.id for one in (await client.law(pin)).purposes}
        await purposes.approve(here.home, added.entry.id)
        law = await client.law(pin)

        assert [rule.id] == [one.id for one in law.acting(CAF, rule.acts_from or here.clock())]
        (entry,) = await here.entries(FactKind.RULE_APPROVED)
        seen = await shown(client, pin, rule.id)
        assert (("35",), tuple(sorted(BOTH))) == (seen.territories, seen.fields)
        assert (entry.detail or b"").hex() == seen.detail
        (said,) = await here.entries(FactKind.PURPOSE_APPROVED)
        (meals,) = [one for one in law.purposes if one.id == "school-meals"]
        assert ((said.detail or b"").hex(), "Cantine") == (meals.detail, meals.label_fr)

        await rules.narrow(here.home, rule.id, fields=["new_address"])
        seen = await shown(client, pin, rule.id)
        (narrowed,) = await here.entries(FactKind.RULE_NARROWED)
        assert (("new_address",), (narrowed.detail or b"").hex()) == (seen.fields, seen.detail)
        assert seen.narrowed_at == here.clock()

        await rules.end(here.home, rule.id)
        assert not (await client.law(pin)).acting(CAF, rule.acts_from or here.clock())
        assert here.clock() == (await shown(client, pin, rule.id)).ended_at


async def test_a_rule_that_was_only_asked_for_is_in_no_law(served: Served) -> None:
    caf = await served.caller(CAF)
    await asked(served.here)

    assert () == Law.from_json((await caf.told("GET", "/v1/law:signed"))["law"]).rules


async def test_its_notes_are_one_chain_with_the_versions_of_the_directory(served: Served) -> None:
    caf = await served.caller(CAF)
    for number in range(3):
        await purposes.add(served.here.home, MEALS | {"id": f"school-meals-{'abc'[number]}"})
        signed = await caf.told("GET", "/v1/law:signed")
        directory = await caf.told("GET", "/v1/directory:signed")
        assert directory["note"].splitlines()[2] == signed["note"].splitlines()[2]
    notes = (await caf.told("GET", "/v1/law/notes"))["notes"]
    assert 3 == len(notes)
    assert [] == (await caf.told("GET", f"/v1/law/notes?since={notes[-1]['version']}"))["notes"]
    digests = [one["note"].splitlines()[3].split()[1] for one in notes]
    assert digests[:-1] == [one["note"].splitlines()[4].split()[1] for one in notes[1:]]
    assert sha256(signed["law"].encode()).digest() == directory_note.digest_of(signed["law"])


async def test_a_version_that_was_signed_before_there_was_a_law_gets_its_note(served: Served) -> None:
    caf = await served.caller(CAF)
    before = await caf.told("GET", "/v1/directory:signed")
    async with served.here.home.store.begin() as tx:
        await tx.execute(update(directory_notes).values(law_digest=None, law_note=None))

    assert [] == (await caf.told("GET", "/v1/law/notes?since=99"))["notes"]
    assert (await caf.told("GET", "/v1/law:signed"))["note"].startswith("unefois-law/v1\n")
    assert before == await caf.told("GET", "/v1/directory:signed")


async def test_an_older_law_is_refused_by_who_has_seen_a_newer_one(served: Served, tmp_path: Path) -> None:
    here, caf, pin = served.here, await served.caller(CAF), Pin(tmp_path / "pin")
    transport = httpx2.ASGITransport(served.app)
    async with Client.open("https://broker.example", caf.token or "", transport=transport) as client:
        await client.law(pin)
        old = await caf.told("GET", "/v1/law:signed")
        await approved(here)
        await client.law(pin)
        with pytest.raises(Refused, match=r"directory\.rolled-back"):
            pin.take_law(old["law"], old["note"])
        with pytest.raises(Refused, match=r"directory\.note-differs"):
            pin.take_law(old["law"], (await caf.told("GET", "/v1/law:signed"))["note"])
    again = Pin(tmp_path / "pin")  # another process, which has the directory's pin
    with pytest.raises(Refused, match=r"directory\.rolled-back"):
        again.take_law(old["law"], old["note"])
    with pytest.raises(Refused, match=r"pins\.no-ledger"):
        Pin(None).take_law(old["law"], old["note"])
