"""The loop of an agency: verified, typed, in order; decided once; surviving restarts, lost answers and brokers away."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import httpx2
import pytest

from connectors import calls
from connectors.blocking import BlockingClient, BlockingDelivery
from connectors.client import Client
from connectors.contract import Agency, Applied, Rejected
from connectors.ends import Ends
from connectors.testing import TestBroker
from schemas import avro, samples
from schemas.catalogue import Catalogue, builtin, event_schema
from schemas.delivery import WITHHELD
from schemas.errors import Refused, Unavailable
from schemas.names import DeliveryId, EventType, Instant, PartyId, Reason
from schemas.record_types import AddressChanged

TOWN = PartyId("urn:fr:siret:21350238800019")
MOVED = AddressChanged.event_type


def sample(**changes: Any) -> dict[str, Any]:
    return samples.sample(MOVED) | changes


def somebody(name: str) -> dict[str, Any]:
    return sample(subject=samples.sample(MOVED)["subject"] | {"family_name": name})


@dataclass
class Town:
    """An agency, its broker, what it was told, and how long it waited."""

    broker: TestBroker = field(default_factory=TestBroker)
    told: list[tuple[DeliveryId | None, str]] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    ends: Ends = field(default_factory=lambda: Ends.open(None))

    def __post_init__(self) -> None:
        self.agency = self.broker.agency(TOWN)
        self.token = self.broker.token(TOWN)
        self.grant = self.broker.grant(TOWN, MOVED, ["subject", "effective_date", "new_address"])

    @contextmanager
    def client(self, **more: Any) -> Iterator[BlockingClient]:
        with BlockingClient.open(
            self.broker.url,
            self.token,
            transport=self.broker.transport,
            clock=lambda: self.broker.now,
            sleep=self.waited.append,
            **more,
        ) as made:
            yield made

    def loop(self, client: BlockingClient, once: bool = True, **more: Any) -> Iterator[BlockingDelivery]:
        def watch(delivery_id: DeliveryId | None, code: str) -> None:
            self.told.append((delivery_id, code))

        return client.deliveries(self.agency, self.ends, once=once, watch=watch, **more)

    def take(self) -> list[str]:
        """Everything that waits, applied: the family names."""
        names = []
        with self.client() as client:
            for delivery in self.loop(client):
                assert isinstance(delivery.record, AddressChanged)
                names.append(delivery.record.subject.family_name)  # type: ignore[union-attr]
                delivery.applied()
        return names


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_delivery_is_typed_and_tells_withheld_from_null(town: Town) -> None:
    town.broker.declare(sample(), MOVED)

    with town.client() as client:
        (delivery,) = town.loop(client)

    moved = delivery.record
    assert isinstance(moved, AddressChanged)
    assert isinstance(moved.effective_date, date)
    assert WITHHELD is moved.old_commune
    assert ("subject", "effective_date", "new_address") == delivery.facts.disclosed


def test_several_of_one_citizen_come_in_order_and_are_applied_once(town: Town) -> None:
    for _ in range(3):
        town.broker.declare(somebody("Martin"), MOVED)
    town.broker.declare(somebody("Le Goff"), MOVED)

    assert ["Martin", "Le Goff", "Martin", "Martin"] == town.take()
    assert {"applied"} == set(town.broker.deliveries(TOWN).values())
    assert [] == town.take()


def test_the_broker_is_told_each_end_once(town: Town) -> None:
    town.broker.declare(somebody("Martin"), MOVED)
    town.broker.declare(somebody("Le Goff"), MOVED)

    town.take()
    town.take()

    assert 2 == town.broker.answers.asked.count("POST /v1/deliveries:ack")
    assert {} == dict(town.ends.unheard())


def test_what_is_not_decided_comes_again_after_its_lease(town: Town) -> None:
    town.broker.declare(somebody("Martin"), MOVED)
    with town.client() as client:
        assert 1 == len(list(town.loop(client)))

    assert [] == town.take()
    town.broker.advance(61_000)
    assert ["Martin"] == town.take()


def test_what_is_put_off_is_said_to_the_broker_and_comes_again_after_its_wait(town: Town) -> None:
    town.broker.declare(somebody("Martin"), MOVED)
    with town.client() as client:
        (delivery,) = town.loop(client)
        delivery.later("crm.away", 600_000)

    town.broker.advance(599_999)
    assert [] == town.take()
    town.broker.advance(1)
    assert ["Martin"] == town.take()


def test_a_broker_that_does_not_hear_of_the_wait_is_no_fault_of_the_delivery(town: Town) -> None:
    town.broker.declare(somebody("Martin"), MOVED)
    with town.client(tries=1) as client:
        (delivery,) = town.loop(client)
        town.broker.answers.fail(503)
        delivery.later("crm.away", 600_000)
        with pytest.raises(Refused) as refused:
            delivery.later("Dupont is away")

    assert ("client.away", "ends.code") == (town.told[-1][1], refused.value.code)
    town.broker.advance(60_000)
    assert ["Martin"] == town.take()


def test_a_rejection_names_its_code_and_may_come_again_when_it_is_replayed(town: Town) -> None:
    town.broker.declare(somebody("Martin"), MOVED)
    with town.client() as client:
        (delivery,) = town.loop(client)
        delivery.rejected("crm.no-such-file")
        of = delivery.facts.delivery_id
        assert Rejected("crm.no-such-file", Reason.SYSTEM_REFUSED) == town.broker.mail.end(of)
        assert {} == client.replay([of])

    assert ["Martin"] == town.take()
    assert Applied() == town.broker.mail.end(of)


def test_a_decision_whose_answer_is_lost_is_told_again_and_not_shown_again(tmp_path: Path) -> None:
    town = Town(ends=Ends.open(tmp_path / "ends.db"))
    town.broker.declare(somebody("Martin"), MOVED)
    with town.client(tries=1) as client:
        (delivery,) = town.loop(client)
        town.broker.answers.fail(503)
        delivery.applied()
    assert [(None, "client.away")] == town.told
    assert ["handed"] == list(town.broker.deliveries(TOWN).values())

    town.ends.close()
    town.ends = Ends.open(tmp_path / "ends.db")  # a restart
    town.broker.advance(61_000)

    assert [] == town.take()
    assert ["applied"] == list(town.broker.deliveries(TOWN).values())
    town.ends.close()


def test_what_was_applied_and_comes_again_all_the_same_is_only_told(town: Town) -> None:
    town.broker.declare(somebody("Martin"), MOVED)
    with town.client() as client:
        (delivery,) = town.loop(client)
        town.ends.decide(delivery.facts, Applied(), town.broker.now)
        town.ends.heard([delivery.facts.delivery_id])  # it was not: the broker lost its memory
    town.broker.advance(61_000)

    assert [] == town.take()
    assert ["applied"] == list(town.broker.deliveries(TOWN).values())


def test_a_broker_that_is_away_is_waited_for(town: Town) -> None:
    town.broker.declare(somebody("Martin"), MOVED)
    town.broker.answers.fail(503, times=6)
    with town.client() as client:
        delivery = next(town.loop(client, once=False))
        delivery.applied()

    assert (None, "client.away") == town.told[0]
    assert 6 <= len(town.waited)
    assert all(each > 0 for each in town.waited)


def test_once_does_not_wait_for_a_broker_that_is_away(town: Town) -> None:
    town.broker.answers.fail(503, times=9)
    with town.client() as client, pytest.raises(Unavailable):
        list(town.loop(client))


def test_an_empty_mailbox_is_not_asked_without_a_pause(town: Town) -> None:
    waits = iter([0, 0, 0])

    def sleep(seconds: float) -> None:
        town.waited.append(seconds)
        if next(waits, None) is None:
            town.broker.declare(somebody("Martin"), MOVED)

    with BlockingClient.open(
        town.broker.url, town.token, transport=town.broker.transport, clock=lambda: town.broker.now, sleep=sleep
    ) as client:
        next(town.loop(client, once=False))

    assert [0.25] * 4 == town.waited


def test_what_is_withheld_is_told_with_its_reason(town: Town) -> None:
    town.broker.declare(somebody("Martin"), MOVED)
    town.broker.revoke(town.grant)

    assert [] == town.take()
    assert ["revoked"] == [code for _, code in town.told]


def test_an_invalid_delivery_is_rejected_and_does_not_hinder_the_others(town: Town) -> None:
    town.broker.declare(somebody("Martin"), MOVED)
    town.broker.declare(somebody("Le Goff"), MOVED)
    first, second = town.broker.deliveries(TOWN)
    letter = town.broker.mail._letters[first]
    letter.pseudonym = bytes(20)
    town.broker.mail._signer = town.broker._signer  # somebody else signs the first statement
    signer = town.broker._broker

    original = town.broker.mail._released

    def released(one: Any, at: Instant) -> Any:
        town.broker.mail._signer = town.broker._signer if one is letter else signer
        return original(one, at)

    town.broker.mail._released = released  # type: ignore[method-assign]

    assert ["Le Goff"] == town.take()
    assert [(first, "delivery.not-the-broker")] == town.told
    assert {first: "rejected", second: "applied"} == dict(town.broker.deliveries(TOWN))
    assert Rejected("delivery.not-the-broker", Reason.INVALID_DELIVERY) == town.broker.mail.end(first)


def test_without_a_pin_no_newer_directory_is_believed(town: Town) -> None:
    town.broker.rotate_source()
    town.broker.declare(somebody("Martin"), MOVED)

    assert [] == town.take()
    assert ["directory.unknown-key"] == [code for _, code in town.told]
    assert [] == [one for one in town.broker.answers.asked if "directory" in one]
    assert ["handed"] == list(town.broker.deliveries(TOWN).values())


def newer() -> Catalogue:
    """The catalogue of tomorrow: one field more in a change of address."""
    told = json.loads(builtin().by_type(MOVED).schema.raw)
    floor = {"name": "floor", "type": ["null", "int"], "default": None, "doc": "Floor.", "sensitivity": "low"}
    told["fields"].append(floor | {"label": {"fr": "Étage", "en": "Floor"}})
    return Catalogue((*builtin().schemas, event_schema(avro.parse(json.dumps(told).encode()))))


def test_a_schema_that_is_not_known_yet_is_learned_by_its_hash() -> None:
    town = Town(broker=TestBroker(catalogue=newer()))
    town.agency = Agency(TOWN, town.agency.sealing_keys, town.agency.directory, builtin())
    town.broker.grant(TOWN, MOVED, ["subject", "floor"])
    town.broker.declare(sample(floor=3), MOVED)

    found = []
    with town.client() as client:
        for delivery in town.loop(client):
            found.append(delivery.record)
            delivery.applied()

    assert {3} == {record.more.get("floor") for record in found if record is not None} - {WITHHELD}


def test_a_record_with_a_date_that_is_none_is_rejected_as_unmappable(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schemas.declaration.values.check", lambda event, record, at: ())
    town.broker.declare(sample(effective_date="soon"), MOVED)

    assert [] == town.take()
    assert ["records.date"] == [code for _, code in town.told]
    assert ["rejected"] == list(town.broker.deliveries(TOWN).values())


def test_a_key_that_this_machine_lacks_rejects_nothing(town: Town) -> None:
    town.broker.declare(somebody("Martin"), MOVED)
    mine = town.agency
    town.agency = Agency(TOWN, {}, mine.directory, mine.catalogue)
    with town.client() as client:
        assert [] == list(town.loop(client, limit=1))
    assert "runner.no-such-key" in [code for _, code in town.told]
    assert ["handed"] == list(town.broker.deliveries(TOWN).values())

    town.agency = mine
    town.broker.advance(61_000)
    assert ["Martin"] == town.take()


def test_after_a_rotation_both_keys_open(town: Town) -> None:
    town.broker.declare(somebody("Martin"), MOVED)
    town.broker.advance(1)
    town.agency = town.broker.agency(TOWN)

    assert ["Martin"] == town.take()


def test_a_loop_that_the_broker_does_not_let_in_ends(town: Town) -> None:
    town.token = "unefois_0000000000000000_x"

    with town.client() as client, pytest.raises(Refused) as refused:
        list(town.loop(client, once=False))

    assert "client.not-let-in" == refused.value.code


@pytest.mark.asyncio
async def test_the_same_without_blocking(town: Town) -> None:
    for name in ("Martin", "Martin", "Le Goff"):
        town.broker.declare(somebody(name), MOVED)
    town.broker.answers.fail(503)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with Client.open(
        town.broker.url, town.token, transport=town.broker.transport, clock=lambda: town.broker.now, sleep=sleep
    ) as client:
        found = []
        async for delivery in client.deliveries(town.agency, town.ends, once=True):
            found.append(delivery.facts.delivery_id)
            if len(found) == 1:
                await delivery.rejected("crm.no-such-file")
            elif len(found) == 2:
                await delivery.later("crm.away", 0)
            else:
                await delivery.applied()

    assert (4, 3) == (len(found), len(set(found)))
    assert ["rejected", "applied", "applied"] == list(town.broker.deliveries(TOWN).values())
    assert 1 == len(slept)


def test_a_decision_on_what_was_applied_is_refused(town: Town) -> None:
    town.broker.declare(somebody("Martin"), MOVED)
    with town.client() as client:
        (delivery,) = town.loop(client)
        delivery.applied()
        delivery.applied()
        with pytest.raises(Refused) as refused:
            delivery.rejected("crm.no")

    assert "ends.applied" == refused.value.code


@pytest.mark.parametrize("code", ["", "No.", "crm", "crm.No", "crm.no file", "a." + "b" * 63])
def test_a_code_that_a_broker_would_not_take_is_refused_before_it_holds_up_the_others(town: Town, code: str) -> None:
    town.broker.declare(somebody("Martin"), MOVED)
    with town.client() as client:
        (delivery,) = town.loop(client)
        with pytest.raises(Refused) as refused:
            delivery.rejected(code)
        with pytest.raises(Refused):
            delivery.rejected("crm.no", Reason.REVOKED)
        with pytest.raises(Refused) as told:
            client.ask(calls.acknowledge({delivery.facts.delivery_id: Rejected(code, Reason.MAPPING)}))
        delivery.applied()

    assert "ends.code" == refused.value.code
    assert "/acknowledgements/0/code" == told.value.pointer
    assert ["applied"] == list(town.broker.deliveries(TOWN).values())


def test_what_does_not_open_is_asked_for_singly_and_a_refusal_of_that_ends_nothing(town: Town) -> None:
    for name in ("Martin", "Le Goff"):
        town.broker.declare(somebody(name), MOVED)
    first, second = town.broker.deliveries(TOWN)
    ordinary, answer = town.broker.mail.release, town.broker.answers.answer

    def mixed_up(request: Any) -> Any:
        reply = answer(request)
        if request.url.path.endswith(":pull") and (told := json.loads(reply.content))["deliveries"]:
            told["deliveries"].reverse()  # another order than the keys were sealed for
            return httpx2.Response(200, json=told)
        return reply

    def release(recipient: PartyId, ids: Any, at: Instant) -> Any:
        if list(ids) == [first]:
            raise Refused("gate.ended", "/deliveries/0", state="withheld")
        return ordinary(recipient, ids, at)

    town.broker.answers.answer = mixed_up  # type: ignore[method-assign]
    town.broker.mail.release = release  # type: ignore[method-assign]

    assert ["Le Goff"] == town.take()
    assert [(first, "client.refused")] == town.told
    assert {first: "handed", second: "applied"} == dict(town.broker.deliveries(TOWN))


def test_a_type_without_a_class_comes_with_its_facts_alone() -> None:
    other = {
        "type": "record", "name": "fr.example.thing.done.v1", "doc": "Thing.", "label": {"fr": "Chose", "en": "Thing"},
        "fields": [{"name": "subject", "type": "string", "doc": "Who.", "sensitivity": "low",
                    "label": {"fr": "Qui", "en": "Who"}}],
    }  # fmt: skip
    town = Town(
        broker=TestBroker(
            catalogue=Catalogue((*builtin().schemas, event_schema(avro.parse(json.dumps(other).encode()))))
        )
    )
    kind = EventType("fr.example.thing.done.v1")
    town.broker.grant(TOWN, kind, ["subject"])
    town.broker.declare({"subject": "x"}, kind)

    with town.client() as client:
        (delivery,) = town.loop(client)

    assert (None, "x") == (delivery.record, delivery.facts.record["subject"])
