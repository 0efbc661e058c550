"""The sandbox: each fault does what it is named after, and nothing else; the clock moves; citizens decide."""

import asyncio
from pathlib import Path

import httpx2
import pytest

from broker.lab.sandbox import news
from broker.lab.sandbox.mischief import Mischief
from broker.messages.mail import address_in
from schemas import catalogue, evolution
from schemas.delivery import WITHHELD
from schemas.errors import Refused
from schemas.names import DeclarationId
from tests.unit.broker.sandbox.conftest import AGENCY, MOVED, Trial, trying

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_every_wrong_field_of_a_declaration_is_told_at_once(trial: Trial) -> None:
    changes = {"effective_date": "soon", "phone": "06", "occupants": "two"}

    told = await trial.asked("POST", "/sandbox/events", {"changes": changes}, 422)

    assert "avro.wrong-type" == told["code"]
    assert [
        ("/occupants", "avro.wrong-type"),
        ("/effective_date", "values.date"),
        ("/phone", "values.phone"),
    ] == [(each["pointer"], each["code"]) for each in told["errors"]]
    assert all(each["detail"] for each in told["errors"])


async def test_an_event_on_demand_is_received_verified_and_of_the_person_named(trial: Trial) -> None:
    ids = await trial.event(citizen="maelle", changes={"new_address": {"street": "quai des Embruns"}})
    (delivery,) = await trial.opened(await trial.pull())

    assert ids == [one["delivery"] for one in await _mail(trial) if one["state"] == "released"]
    assert "Maelle" == delivery.record["subject"]["family_name"]
    assert ("quai des Embruns", "maelle@example.org") == (
        delivery.record["new_address"]["street"],
        delivery.record["email"],
    )


async def test_many_events_are_of_as_many_people(trial: Trial) -> None:
    await trial.event(citizen="crowd", count=30)
    names = {one.record["subject"]["family_name"] for one in await trial.emptied()}

    assert 30 == len(names)


async def test_a_correction_names_what_it_corrects(trial: Trial) -> None:
    made = await trial.asked("POST", "/sandbox/events", {"citizen": "corrects"}, 201)
    await trial.event(citizen="corrects", corrects=made["declarations"][0])
    first, second = await trial.emptied()

    assert first.declaration_id == second.corrects


@pytest.mark.parametrize(("decision", "state"), [("revoke", "revoked"), ("pause", "paused")])
async def test_what_is_on_its_way_when_a_citizen_says_no_does_not_come(trial: Trial, decision: str, state: str) -> None:
    await trial.event(citizen=f"{decision}s")
    told = await trial.asked("POST", "/sandbox/consents", {"citizen": f"{decision}s", "decision": decision})

    assert [state] == [one["status"] for one in told["consents"]]
    assert [] == (await trial.pull())["deliveries"]


async def test_what_a_pause_held_back_comes_when_it_ends(trial: Trial) -> None:
    (delivery,) = await trial.event(citizen="resumes")
    for decision in ("pause", "resume"):
        await trial.asked("POST", "/sandbox/consents", {"citizen": "resumes", "decision": decision})

    assert [delivery] == [one["id"] for one in (await trial.pull())["deliveries"]]


async def test_a_field_that_is_no_more_allowed_is_withheld(trial: Trial) -> None:
    await trial.event(citizen="narrows")
    await trial.emptied()
    body = {"citizen": "narrows", "decision": "narrow", "fields": ["subject", "new_address"]}
    await trial.asked("POST", "/sandbox/consents", body)
    await trial.event(citizen="narrows")
    (delivery,) = await trial.emptied()

    assert WITHHELD is delivery.record["email"]


async def test_a_consent_ends_when_the_clock_has_moved_past_it(trial: Trial) -> None:
    body = {"citizen": "expires", "decision": "grant", "lasts_seconds": 3600}
    await trial.asked("POST", "/sandbox/consents", body)
    await trial.event(citizen="expires")
    moved = await trial.asked("POST", "/sandbox/clock", {"seconds": 3601})

    assert 3601 == moved["moved_seconds"]
    assert [] == (await trial.pull())["deliveries"]
    assert 0 == (await trial.asked("POST", "/sandbox/clock", {"reset": True}))["moved_seconds"]


async def test_a_duplicate_is_the_same_answer_again_and_opens_again(trial: Trial) -> None:
    (delivery,) = await trial.event(citizen="twice")
    first = await trial.pull()
    await trial.ack(delivery)
    await trial.switch(duplicate=1)
    second, third = await trial.pull(), await trial.pull()

    assert first["deliveries"] == second["deliveries"]
    assert [delivery] == [str(one) for one in _ids(second)]
    assert 1 == len(await trial.opened(second))
    assert [True] == [one["ok"] for one in (await trial.ack(delivery))["results"]]
    assert [] == third["deliveries"]


async def test_two_events_in_reverse_come_the_newer_one_first(trial: Trial) -> None:
    older, newer = await trial.event(citizen="reverse", kind="reversed", changes={"email": None})
    first = await trial.pull()
    assert [newer] == _ids(first)
    assert [] == (await trial.pull())["deliveries"]
    await trial.ack(newer)
    second = await trial.pull()
    assert [older] == _ids(second)
    (late,), (early,) = await trial.opened(second), await trial.opened(first)

    assert late.issued_at <= early.issued_at
    assert ("reverse@example.org", None) == (late.record["email"], early.record["email"])


async def test_who_waits_at_the_door_gets_the_newer_one_first_too(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    play, door = trial.live.play, trial.live.play.door
    set_aside = play.set_aside

    async def slowly(declared: list[DeclarationId]) -> None:
        for _ in range(5):  # whoever could pull meanwhile would have
            await trial.asked("GET", "/v1/status")
        await set_aside(declared)

    monkeypatch.setattr(play, "set_aside", slowly)
    before = door.idle_pulls
    pulling = asyncio.create_task(trial.pull(wait=20))

    async def waits() -> bool:
        return door.idle_pulls > before

    assert await door.until(waits, 20)
    older, newer = await trial.event(citizen="waited", kind="reversed")
    assert [newer] == _ids(await pulling)
    assert [True] == [one["ok"] for one in (await trial.ack(newer))["results"]]
    assert [older] == _ids(await trial.pull())


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("bad_signature", "manifest.signature"),
        ("wrong_statement", "delivery.other-recipient"),
        ("forged_statement", "delivery.statement-signature"),
    ],
)
async def test_a_tampered_delivery_is_refused_for_the_one_thing_that_was_changed(
    trial: Trial, fault: str, code: str
) -> None:
    await trial.event(citizen="tampered")
    await trial.switch(**{fault: 1})
    tampered = await trial.pull()

    with pytest.raises(Refused) as refused:
        await trial.opened(tampered)
    assert code == refused.value.code
    await trial.asked("POST", "/sandbox/leases:end")
    assert 1 == len(await trial.opened(await trial.pull()))


@pytest.mark.parametrize("kind", ["second-schema", "new-symbol"])
async def test_a_second_schema_is_known_to_who_holds_it_and_to_nobody_else(trial: Trial, kind: str) -> None:
    await trial.event(citizen="schema", kind=kind)
    pulled = await trial.pull()
    (delivery,) = await trial.opened(pulled, news.events())

    assert kind == ("new-symbol" if delivery.record["occupancy"] == news.SYMBOL else "second-schema")
    with pytest.raises(Refused) as refused:
        await trial.opened(pulled)
    assert "catalogue.unknown-schema" == refused.value.code
    told = await trial.http.get(f"/v1/schemas/{delivery.schema_id.hex()}")
    assert news.second(MOVED).schema.raw == told.content


async def test_a_lease_that_ends_lets_the_delivery_come_again(trial: Trial) -> None:
    (delivery,) = await trial.event(citizen="leases")
    await trial.pull()
    await trial.switch(expired_lease=1)
    ends = {"acknowledgements": [{"delivery": delivery, "outcome": "applied"}]}
    answer = await trial.http.post("/v1/deliveries:ack", json=ends)

    assert (503, "1") == (answer.status_code, answer.headers["retry-after"])
    assert [(delivery, 1)] == [(one["id"], one["attempts"]) for one in (await trial.pull())["deliveries"]]


async def test_answers_of_503_and_500_do_nothing(trial: Trial) -> None:
    await trial.event(citizen="errors")
    await trial.switch(unavailable=1, server_error=1)
    codes = {(await trial.http.post("/v1/deliveries:pull", json={})).status_code for _ in range(2)}

    assert {500, 503} == codes
    assert [0] == [one["attempts"] for one in (await trial.pull())["deliveries"]]


async def test_a_lost_answer_is_done_and_cut_off(trial: Trial) -> None:
    (delivery,) = await trial.event(citizen="losing")
    await trial.pull()
    await trial.switch(lost_answer=1)
    with pytest.raises(httpx2.RemoteProtocolError):
        await trial.ack(delivery)

    assert "applied" == next(one["state"] for one in await _mail(trial) if one["delivery"] == delivery)
    assert 0 == (await trial.asked("GET", "/sandbox/requests"))["requests"][-1]["status"]


@pytest.mark.parametrize("whose", ["source", "broker", "agency"])
async def test_after_a_rotation_the_new_keys_are_used_and_the_directory_has_them(trial: Trial, whose: str) -> None:
    rotated = await trial.asked("POST", "/sandbox/keys:rotate", {"whose": whose})
    await trial.event(citizen="rotates")
    pulled = await trial.pull()
    (delivery,) = await trial.opened(pulled)

    assert delivery.disclosed
    assert rotated["keys"]
    if whose == "agency":
        assert rotated["party"] == AGENCY
        assert rotated["keys"][-1] in trial.live.agency_file.read_text()


async def test_a_pull_that_waits_ends_when_something_comes(trial: Trial) -> None:
    import asyncio

    comes = _comes(trial)
    waiting = asyncio.create_task(trial.pull(wait=20))
    assert await trial.live.play.door.until(comes, 10)
    ids = await trial.event(citizen="waits")

    assert ids == _ids(await waiting)


async def test_who_has_hung_up_takes_nothing_from_who_comes_next(trial: Trial) -> None:
    import asyncio

    comes = _comes(trial)
    waiting = asyncio.create_task(trial.pull(wait=20))
    assert await trial.live.play.door.until(comes, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await trial.asked("GET", "/v1/status")
    ids = await trial.event(citizen="hangsup")

    assert ids == _ids(await trial.pull())


async def test_who_may_not_come_is_not_let_in_by_the_door(trial: Trial) -> None:
    await trial.event(citizen="doors")
    trial.live.play.door.queued.append({"deliveries": [], "withheld": []})
    answer = await trial.http.post("/v1/deliveries:pull", json={}, headers={"Authorization": "Bearer nobody"})

    assert 401 == answer.status_code
    assert 1 == len(trial.live.play.door.queued)


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("PUT", "faults", {"faults": {"no-such": 1}}, "sandbox.mischief"),
        ("PUT", "faults", {"faults": {"slow": 10_001}}, "sandbox.mischief"),
        ("POST", "clock", {"seconds": 400_000_000}, "sandbox.clock"),
        ("POST", "events", {"changes": {"no_such": 1}}, "sandbox.field"),
        (
            "POST",
            "events",
            {"event_type": "fr.unefois.bank-account.changed.v1", "kind": "new-symbol"},
            "sandbox.no-enum",
        ),
        ("GET", "citizens/Somebody", None, "sandbox.citizen"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(
    trial: Trial, method: str, path: str, body: dict[str, object] | None, code: str
) -> None:
    assert code == (await trial.asked(method, f"/sandbox/{path}", body, 422))["code"]


async def test_a_page_in_a_browser_may_not_move_it(trial: Trial) -> None:
    answer = await trial.http.post("/sandbox/clock", json={"seconds": 9}, headers={"Origin": "https://evil.example"})

    assert (422, "sandbox.origin") == (answer.status_code, answer.json()["code"])
    assert 0 == trial.live.play.clock.moved_ms


async def test_its_addresses_are_described_and_its_state_is_told(trial: Trial) -> None:
    described = await trial.asked("GET", "/sandbox/openapi.json")
    state = await trial.asked("GET", "/sandbox/state")

    assert {"/events", "/consents", "/clock", "/faults"} <= set(described["paths"])
    assert {one.value for one in Mischief} == set(state["faults"])
    assert AGENCY == (await trial.asked("GET", "/v1/status"))["party"]


async def test_every_second_schema_may_follow_the_first() -> None:
    for first in catalogue.builtin().newest:
        assert () == evolution.check(first.schema, news.second(first.event_type).schema)
        assert first.schema.id == news.events().by_type(first.event_type).schema.id


async def test_a_named_folder_is_kept_without_the_agencys_keys_and_opens_again_as_it_was(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        async with trying(tmp_path / "kept") as made:
            assert 0o600 == made.live.agency_file.stat().st_mode & 0o777
            seen.append(len(await _mail(made)))
            await made.event(citizen="stays")

    assert [0, 1] == seen
    assert ["home"] == [path.name for path in (tmp_path / "kept").iterdir()]


async def _mail(trial: Trial) -> list[dict[str, object]]:
    found: list[dict[str, object]] = (await trial.asked("GET", "/sandbox/deliveries"))["deliveries"]
    return found


def _ids(pulled: dict[str, list[dict[str, str]]]) -> list[str]:
    return [one["id"] for one in pulled["deliveries"]]


def _comes(trial: Trial):
    before = trial.live.play.door.idle_pulls

    async def came() -> bool:
        return trial.live.play.door.idle_pulls > before

    return came


async def test_nobody_in_a_sandbox_can_be_written_a_letter(trial: Trial) -> None:
    home = trial.live.play.home
    async with home.store.read() as tx:
        found = await home.lookup.parties(tx)
    others = [one.contact for one in found if one.id != home.party]
    assert [None, None] == [address_in(contact) for contact in others]
