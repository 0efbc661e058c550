"""A delivery is one form of Publik: whatever is lost on the way, and whatever w.c.s. drops without a word."""

import base64
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from connectors.contract import Applied, Reject, Retry, Unknown
from connectors.mapping import load
from connectors.memory import Memory
from connectors.publik.connector import OVER_MS
from connectors.retry import Backoff
from connectors.runner import Route, run_routes
from schemas import samples
from schemas.errors import Fault, Unavailable
from schemas.names import uuid_text
from tests.publik import server
from tests.publik.desk import MOVED, SLUG, Desk

pytestmark = pytest.mark.asyncio
WILD = "é’œ\"'<b>&?=#%25+;|{{ form_var_x }}\\\r\n\t\u200f𝄞 %(x)s $(id) ' OR 1=1 --"


@pytest.mark.parametrize("more", [{}, {"access": "agents", "way": "basic"}, {"access": "agents"}])
async def test_a_delivery_is_a_form_with_our_reference_and_every_sign_as_it_was(desk: Desk, more: Any) -> None:
    delivery = desk.delivery()
    async with desk.opened(**more) as connector:
        number = await connector.write(delivery, {"nom": WILD})
        await connector.flush()
        assert Applied("1") == await connector.find(delivery.delivery_id)

    assert "1" == number
    assert [{"nom": WILD, "reference_source": f"UF-{uuid_text(delivery.delivery_id)}"}] == desk.shown()


async def test_every_sign_stays_as_it_was_in_every_kind_of_text(desk: Desk) -> None:
    row = {"nom": WILD, "adresse": [{"numero": WILD, "voie": WILD}], "commune_raw": "35238", "commune": WILD}
    row |= {"piece": {"filename": WILD, "content": "QQ==", "content_type": WILD}}
    desk.targets = tuple(row)
    async with desk.opened() as connector:
        await connector.write(desk.delivery(), row)
    (shown,) = desk.shown()
    assert (row["nom"], row["adresse"], row["piece"]) == (shown["nom"], shown["adresse"], shown["piece"])


PIECE = {"filename": "a.pdf", "content": base64.b64encode(b"%PDF").decode(), "content_type": "application/pdf"}
GOOD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"nom": "Bessière", "urgent": None}, {"nom": "Bessière"}),
    ({"urgent": False}, {"urgent": False}),
    ({"date_effet": "2026-03-15"}, {"date_effet": "2026-03-15"}),
    ({"montant": Decimal("3.50")}, {"montant": "3.50"}),
    ({"montant": 7}, {"montant": "7"}),
    ({"occupation": "Locataire"}, {"occupation": {"text": "Locataire", "raw": "Locataire"}}),
    (
        {"commune": "35238"},
        {"commune": {"text": "Rennes", "raw": "35238", "structured": {"id": "35238", "text": "Rennes"}}},
    ),
    (
        {"commune_raw": "35238"},
        {"commune": {"text": "Rennes", "raw": "35238", "structured": {"id": "35238", "text": "Rennes"}}},
    ),
    ({"services": ["Gaz", "Eau"]}, {"services": ["Gaz", "Eau"]}),
    ({"piece": PIECE}, {"piece": PIECE}),
    ({"lieu": {"lat": Decimal("48.1"), "lon": 2}}, {"lieu": {"lat": "48.1", "lon": "2"}}),
    ({"adresse": [{"numero": "8 bis", "voie": None}]}, {"adresse": [{"numero": "8 bis"}]}),
    ({"adresse": {"voie": "rue"}}, {"adresse": [{"voie": "rue"}]}),
]


@pytest.mark.parametrize(("row", "kept"), GOOD)
async def test_each_type_of_field_is_filled(desk: Desk, row: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    desk.targets = tuple(row)
    async with desk.opened() as connector:
        await connector.write(desk.delivery(), row)
    (shown,) = desk.shown()
    assert kept == {name: value for name, value in shown.items() if name != "reference_source"}


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"nom": ["a"]}, "publik.value", "/nom"),
    ({"nom": "a\0"}, "publik.value", "/nom"),
    ({"nom": "\ud800"}, "publik.value", "/nom"),
    ({"urgent": "false"}, "publik.value", "/urgent"),
    ({"date_effet": "15/03/2026"}, "publik.value", "/date_effet"),
    ({"date_effet": "20260315"}, "publik.value", "/date_effet"),
    ({"montant": "3,5"}, "publik.value", "/montant"),
    ({"montant": True}, "publik.value", "/montant"),
    ({"montant": "NaN"}, "publik.value", "/montant"),
    ({"occupation": "Squatteur"}, "publik.value", "/occupation"),
    ({"services": "Eau"}, "publik.value", "/services"),
    ({"services": ["Eau", "Vent"]}, "publik.value", "/services"),
    ({"piece": {"filename": "a", "content": "%"}}, "publik.value", "/piece/content"),
    ({"piece": {"filename": "a"}}, "publik.value", "/piece"),
    ({"lieu": {"lat": 1}}, "publik.value", "/lieu"),
    ({"adresse": ["x"]}, "publik.value", "/adresse"),
    ({"adresse": [{"étage": "2"}]}, "publik.unknown-field", "/adresse/0/étage"),
    ({"nom": "a" * (20 * 1024 * 1024)}, "publik.too-large", ""),
]


@pytest.mark.parametrize(("row", "code", "pointer"), BAD, ids=[f"{one[2]}-{number}" for number, one in enumerate(BAD)])
async def test_what_its_field_would_not_keep_is_refused_before_it_is_sent(
    desk: Desk, row: Mapping[str, Any], code: str, pointer: str
) -> None:
    desk.targets, delivery = tuple(row), desk.delivery()
    async with desk.opened() as connector:
        with pytest.raises(Reject) as refused:
            await connector.write(delivery, row)
        assert None is await connector.seen(delivery.source, delivery.declaration_id)
    assert (code, pointer, []) == (refused.value.code, refused.value.pointer, desk.shown())


SILENT = [server.lost, server.half, server.says(200, b"<html>", done=True, content_type="text/html")]
SILENT += [
    server.says(200, b'{"err": 1, "err_code": "x"}', done=True),
    server.says(200, '"é"'.encode("latin-1"), done=True),
]
SILENT += [
    server.says(302, b"", done=True, location="https://elsewhere.example/"),
    server.says(502, b"<h1>", done=True),
]
SILENT += [server.says(200, b" " * (20 * 1024 * 1024), done=True), server.says(500, b'{"err": 1}', done=True)]


@pytest.mark.parametrize("fault", SILENT)
async def test_an_answer_that_was_lost_is_found_in_publik(desk: Desk, fault: server.Fault) -> None:
    delivery = desk.delivery()
    async with desk.opened() as connector:
        desk.served.faults.extend([None, fault])
        with pytest.raises(Unknown):
            await connector.write(delivery, {"nom": "Bessière"})
        assert "1" == await connector.write(delivery, {"nom": "Bessière"})
    assert 1 == len(desk.shown())


async def test_what_publik_never_heard_is_asked_again_once_the_first_call_is_surely_over(desk: Desk) -> None:
    delivery = desk.delivery()
    async with desk.opened() as connector:
        desk.served.faults.extend([None, server.dead])
        with pytest.raises(Unknown):
            await connector.write(delivery, {"nom": "Bessière"})
        desk.pass_by(1)
        with pytest.raises(Retry) as later:
            await connector.write(delivery, {"nom": "Bessière"})
        assert ("publik.may-arrive", OVER_MS - 1_000, []) == (later.value.code, later.value.after_ms, desk.shown())
        desk.pass_by(149)
        assert "1" == await connector.write(delivery, {"nom": "Bessière"})
    assert 1 == len(desk.shown())


async def test_a_worker_that_needs_its_120_seconds_makes_no_second_form(desk: Desk) -> None:
    delivery = desk.delivery()
    async with desk.opened() as connector:
        desk.served.faults.extend([None, server.late])
        with pytest.raises(Unknown):
            await connector.write(delivery, {"nom": "Bessière"})
        desk.pass_by(120)
        with pytest.raises(Retry):
            await connector.write(delivery, {"nom": "Bessière"})
        desk.served.late.pop()()
        assert "1" == await connector.write(delivery, {"nom": "Bessière"})
    assert 1 == len(desk.shown())


async def test_what_may_have_been_done_is_not_refused_for_a_mapping_that_has_changed(desk: Desk) -> None:
    delivery = desk.delivery()
    async with desk.opened() as connector:
        desk.served.faults.extend([None, server.dead])
        with pytest.raises(Unknown):
            await connector.write(delivery, {"nom": "Bessière"})
        with pytest.raises(Retry):
            await connector.write(delivery, {"nom": ["Bessière"]})
        desk.pass_by(151)
        with pytest.raises(Reject):
            await connector.write(delivery, {"nom": ["Bessière"]})
        assert None is await connector.seen(delivery.source, delivery.declaration_id)
    assert [] == desk.shown()


async def test_a_journal_that_is_gone_makes_no_second_form(desk: Desk) -> None:
    delivery = desk.delivery()
    for _ in range(2):
        async with desk.opened() as connector:
            assert "1" == await connector.write(delivery, {"nom": "Bessière"})
        (desk.folder / "publik.db").unlink()
    assert 1 == len(desk.shown())


@pytest.mark.parametrize(
    ("answer", "raised", "code"),
    [
        ((400, b'{"err": 1, "err_code": "invalid-request"}'), Reject, "publik.refused"),
        ((413, b"<html>"), Reject, "publik.refused"),
        ((404, b'{"err": 1, "err_code": "not-found"}'), Retry, "publik.refused"),
        ((401, b""), Retry, "publik.not-let-in"),
        ((403, b'{"err": 1, "err_code": "no-backoffice-submission-role"}'), Retry, "publik.role"),
        ((403, b'{"err": 1, "err_code": "Nom: Bessi\xc3\xa8re"}'), Retry, "publik.not-let-in"),
        ((429, b""), Retry, "publik.away"),
    ],
)
async def test_a_refusal_has_its_end_and_leaves_no_doubt_behind(
    desk: Desk, answer: tuple[int, bytes], raised: type[Fault], code: str
) -> None:
    delivery = desk.delivery()
    async with desk.opened() as connector:
        desk.served.faults.extend([None, server.says(*answer)])
        with pytest.raises(raised) as fault:
            await connector.write(delivery, {"nom": "Bessière"})
        assert (code, None) == (fault.value.code, await connector.seen(delivery.source, delivery.declaration_id))
        assert "Bessi" not in f"{fault.value}{fault.value.details}"
        assert "1" == await connector.write(delivery, {"nom": "Bessière"})


async def test_a_question_that_is_not_answered_changes_nothing(desk: Desk) -> None:
    delivery = desk.delivery()
    async with desk.opened() as connector:
        desk.site.maintenance = True
        with pytest.raises(Retry) as away:
            await connector.write(delivery, {"nom": "Bessière"})
        desk.site.maintenance = False
        assert ("publik.answer", {"status": 503}) == (away.value.code, away.value.details)
        assert None is await connector.seen(delivery.source, delivery.declaration_id)


async def test_a_value_that_was_dropped_is_told_until_an_agent_has_completed_it(desk: Desk) -> None:
    desk.targets, delivery, row = ("nom", "occupation"), desk.delivery(), {"nom": "b", "occupation": "Locataire"}
    async with desk.opened() as connector:
        desk.form.named["occupation"]["items"] = ["Autre"]  # an administrator, a moment ago
        for _ in range(2):
            with pytest.raises(Retry) as dropped:
                await connector.write(delivery, row)
            assert ("publik.dropped", "/occupation") == (dropped.value.code, dropped.value.pointer)
        with pytest.raises(Reject) as refused:
            await connector.write(desk.delivery(), row)
        assert ("publik.value", "/occupation") == (refused.value.code, refused.value.pointer)
        desk.form.data[0].values["occupation"] = {"text": "Autre", "raw": "Autre"}
        assert "1" == await connector.write(delivery, row)
    assert 1 == len(desk.shown())


async def test_where_the_reference_was_dropped_it_is_never_sent_again(desk: Desk) -> None:
    delivery = desk.delivery()
    async with desk.opened() as connector:
        await connector.write(desk.delivery(), {"nom": "a"})
        listed = desk.form.named["reference_source"]
        listed["type"] = "numeric"  # keeps nothing of ours
        for _ in range(2):
            with pytest.raises(Retry) as dropped:
                await connector.write(delivery, {"nom": "b"})
            assert ("publik.dropped", "/reference_source") == (dropped.value.code, dropped.value.pointer)
            desk.pass_by(1_000)
        with pytest.raises(Retry) as unfit:
            await connector.write(desk.delivery(), {"nom": "c"})
    assert ("publik.reference", "/field", 2) == (unfit.value.code, unfit.value.pointer, len(desk.shown()))


async def test_through_mapping_and_runner_nothing_is_lost_and_nothing_twice(desk: Desk) -> None:
    text = f"name: m\nversion: 1\nevent_type: {MOVED}\ndirection: out\nfields:\n  nom: record.subject.family_name\n"
    text += '  adresse: "[{numero: record.new_address.housenumber, voie: record.new_address.street}]"\n'
    mapping = load(text.encode())
    desk.targets = mapping.targets
    fields = {"subject", "new_address"}
    ids = [desk.rehearsal.declare(MOVED, samples.sample(MOVED), fields) for _ in range(3)]
    desk.served.faults.extend([None, None, None, server.lost])
    for _ in range(2):
        async with desk.opened() as connector:
            route = Route(mapping, connector)
            inbox, agency = desk.rehearsal, desk.rehearsal.agency
            await run_routes(inbox, agency, (route,), clock=desk.clock, limit=9, backoff=Backoff(bytes))
    assert (tuple(ids), 3) == (desk.rehearsal.applied(), len(desk.shown()))
    assert [{"numero": "5", "voie": "Rue de la Monnaie"}] == desk.shown()[0]["adresse"]
    assert json.dumps(desk.shown())
    assert SLUG == desk.form.slug


@pytest.mark.parametrize("persists", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2])
async def test_a_journal_that_fails_at_any_write_makes_no_second_form(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, number: int, persists: bool
) -> None:
    delivery, count = desk.delivery(), 0
    ordinary = Memory._write

    def fails(self: Memory, query: str, *values: object) -> None:
        nonlocal count
        count += 1
        if count - 1 == number:
            if persists:
                ordinary(self, query, *values)
            raise Unavailable("journal.disk")
        ordinary(self, query, *values)

    async with desk.opened() as connector:
        monkeypatch.setattr(Memory, "_write", fails)
        with pytest.raises(Unavailable):
            await connector.write(delivery, {"nom": "Bessière"})
    desk.pass_by(151)
    async with desk.opened() as connector:  # a process that starts anew, with what is on the disk
        assert "1" == await connector.write(delivery, {"nom": "Bessière"})
    assert (1, True) == (len(desk.shown()), count > number)
