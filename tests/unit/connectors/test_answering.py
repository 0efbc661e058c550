"""An agency's program answers otherwise than applied: on the disk first, then told, in the words of the API."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors import calls, ends
from connectors.blocking import BlockingDelivery
from connectors.contract import Answered, Applied, Outcome, Partly, Rejected
from connectors.ends import Ends
from schemas.delivery import VerifiedDelivery
from schemas.errors import Refused
from schemas.names import DeliveryId, Instant, Reason, uuid_text
from tests.unit.connectors.test_receiving import Town, sample, somebody

AT = Instant(1_793_610_000_000)
Declared = Callable[..., VerifiedDelivery]
UNKNOWN = Answered(Reason.UNKNOWN_PERSON)
HUMAN = Answered(Reason.AWAITING_HUMAN, "2026-12-24")
PARTLY = Partly(("subject", "new_address"))
MOVED = "fr.unefois.address.changed.v1"


@pytest.fixture
def town() -> Town:
    return Town()


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Applied("42"), {"outcome": "applied"}),
        (PARTLY, {"outcome": "partly", "fields": ["subject", "new_address"]}),
        (UNKNOWN, {"outcome": "unknown-person"}),
        (HUMAN, {"outcome": "awaiting-human", "until": "2026-12-24"}),
        (Rejected("crm.down", Reason.TECHNICAL), {"outcome": "technical", "code": "crm.down"}),
        (Rejected("crm.no", Reason.MAPPING), {"outcome": "rejected", "code": "crm.no", "reason": "mapping"}),
    ],
)
def test_each_outcome_has_its_words(outcome: Outcome, said: dict[str, object]) -> None:
    delivery = DeliveryId(bytes(16))

    assert {"delivery": uuid_text(delivery), **said} == calls._end(delivery, outcome)


@pytest.mark.parametrize("outcome", [UNKNOWN, HUMAN, PARTLY])
def test_an_answer_is_kept_as_it_was_given(tmp_path: Path, declared: Declared, outcome: Outcome) -> None:
    kept, one = Ends.open(tmp_path / "ends.db"), declared()
    kept.decide(one, outcome, AT)
    kept.close()

    again = Ends.open(tmp_path / "ends.db")

    assert (outcome, {one.delivery_id: outcome}) == (again.of(one.delivery_id), dict(again.unheard()))
    again.close()


def test_a_file_of_before_answers_keeps_what_it_knows(tmp_path: Path, declared: Declared) -> None:
    path, one = tmp_path / "ends.db", declared()
    with sqlite3.connect(path) as before:
        before.executescript(ends._STEPS[0])
        row = (one.delivery_id, str(one.source), one.declaration_id, one.manifest_digest, None, None, 1, AT)
        before.execute("INSERT INTO ended VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        before.execute("PRAGMA user_version = 1")
    before.close()

    kept = Ends.open(path)

    assert Applied() == kept.of(one.delivery_id)
    kept.close()


def test_what_was_answered_may_be_applied_and_what_was_applied_in_part_is_final(declared: Declared) -> None:
    kept, one = Ends.open(None), declared()
    for outcome in (UNKNOWN, HUMAN, PARTLY, PARTLY):
        kept.decide(one, outcome, AT)
    for other in (Applied(), Partly(("subject",)), UNKNOWN):
        with pytest.raises(Refused) as refused:
            kept.decide(one, other, AT)
        assert "ends.applied" == refused.value.code
    assert PARTLY == kept.of(one.delivery_id)


@pytest.mark.parametrize(
    "wrong",
    [
        Partly(()),
        Answered(Reason.UNKNOWN_PERSON, "2026-12-24"),
        Answered(Reason.AWAITING_HUMAN),
        Answered(Reason.AWAITING_HUMAN, "soon"),
        Answered(Reason.MAPPING),
    ],
)
def test_an_answer_that_no_broker_takes_is_not_kept(town: Town, wrong: Partly | Answered) -> None:
    town.broker.declare(sample(), MOVED)
    with town.client() as client:
        delivery = next(town.loop(client))
        with pytest.raises(Refused) as refused:
            _say(delivery, wrong)
    assert "ends.answer" == refused.value.code


def test_a_program_answers_and_the_next_one_of_the_same_person_comes(town: Town) -> None:
    for name in ("Aubin", "Aubin", "Aubin"):
        town.broker.declare(somebody(name), MOVED)
    said = iter((UNKNOWN, HUMAN, PARTLY))
    with town.client() as client:
        for delivery in town.loop(client):
            _say(delivery, next(said))

    assert ["answered", "awaiting", "applied"] == list(town.broker.deliveries(town.agency.party).values())
    assert [] == town.take()


def _say(delivery: BlockingDelivery, outcome: Partly | Answered) -> None:
    if isinstance(outcome, Partly):
        delivery.partly(outcome.fields)
    else:
        delivery.answered(outcome.reason, outcome.until)


def test_what_a_human_decided_is_said_afterwards(town: Town) -> None:
    town.broker.declare(sample(), MOVED)
    with town.client() as client:
        (delivery,) = town.loop(client)
        delivery.answered(Reason.AWAITING_HUMAN, "2026-12-24")
        delivery.applied()

    assert ["applied"] == list(town.broker.deliveries(town.agency.party).values())


def test_who_was_not_found_comes_again_once_their_number_is_known(town: Town) -> None:
    town.broker.declare(sample(), MOVED)
    with town.client() as client:
        (delivery,) = town.loop(client)
        delivery.answered(Reason.UNKNOWN_PERSON)
    assert [] == town.take()
    town.broker.repaired(delivery.facts.delivery_id)

    assert [sample()["subject"]["family_name"]] == town.take()
    with pytest.raises(Refused) as refused:
        town.broker.repaired(delivery.facts.delivery_id)
    assert "repair.nothing" == refused.value.code
