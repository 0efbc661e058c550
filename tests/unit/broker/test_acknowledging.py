"""Acknowledging: number, content, recipients, date, contact; what is proven is proven, values are their holder's."""

import json
from base64 import b64encode
from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader
from sqlalchemy import select

from broker.services.acknowledging import acknowledgement
from broker.services.papers.acknowledgement import paper
from broker.services.person_erase import erase
from broker.store.tables import metadata
from schemas.acknowledgement import verify
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import DeclarationId, uuid_text
from tests.unit.broker.test_pdf import structure
from tests.world import CAF, CPAM, ELISE, FAMILY, MOVED, PORTAL, RENNES, VOICE, YANN, World

pytestmark = pytest.mark.asyncio
FIELDS = ["subject", "new_address"]
VALUES = ("Élise", "Martin", "Monnaie", "1985-04-12")


async def declared(here: World) -> tuple[DeclarationId, dict[str, Any]]:
    await here.give(CAF, MOVED, FAMILY, FIELDS)
    accepted = await here.declare(MOVED, here.moved())
    return accepted.declaration_id, await acknowledgement(here.home, accepted.declaration_id)


async def test_it_states_number_content_recipients_date_and_contact(here: World) -> None:
    of, told = await declared(here)
    event = here.home.catalogue.by_type(MOVED)

    assert (uuid_text(of), "2026-11-24T11:58:13.000Z") == (told["number"], told["received_at"])
    assert [dict(one.label) for one in event.fields] == [one["label"] for one in told["content"]]
    (recipient,) = told["recipients"]
    assert (CAF, "consent", set(FIELDS)) == (recipient["party"], recipient["basis"], set(recipient["fields"]))
    assert {CPAM, RENNES} == {one["party"] for one in told["not_told"]}
    assert all(one["why"]["fr"] and one["why"]["en"] for one in told["not_told"])
    assert ("contact@unefois.example", PORTAL) == (told["contact"]["contact"], told["source"]["party"])


async def test_values_are_on_it_only_where_their_holder_gives_them_and_are_called_so(here: World) -> None:
    of, told = await declared(here)
    record = {name: value for name, value in here.moved().items() if value is not None}
    full = await acknowledgement(here.home, of, record=record)

    text, whole = (json.dumps(one, ensure_ascii=False) for one in (told, full))
    assert ("none", "as-stated") == (told["values"], full["values"])
    assert [] == [value for value in VALUES if value in text]
    assert list(VALUES) == [value for value in VALUES if value in whole]
    assert {one["name"] for one in full["content"]} < {one["name"] for one in told["content"]}


async def test_each_look_is_recorded_and_a_value_is_in_no_row(here: World) -> None:
    of, _ = await declared(here)
    await acknowledgement(here.home, of, record=here.moved())

    assert 2 == len(await here.entries(FactKind.VIEWED))
    async with here.home.store.read() as tx:
        rows = [row for table in metadata.sorted_tables for row in (await tx.execute(select(table))).all()]
    there = " ".join(str(value) for row in rows for value in row)
    assert [] == [value for value in VALUES if value in there or str(value.encode()) in there]


async def test_another_persons_is_unknown_and_another_persons_record_is_refused(here: World) -> None:
    of, _ = await declared(here)

    with pytest.raises(Refused, match=r"tracking\.unknown"):
        await acknowledgement(here.home, of, whose=here.subject(YANN))
    with pytest.raises(Refused, match=r"acknowledgement\.other-person"):
        await acknowledgement(here.home, of, record=here.moved(YANN))
    with pytest.raises(Refused, match=r"catalogue\.unknown-field"):
        await acknowledgement(here.home, of, record=here.moved() | {"iban": "FR76"})
    assert (await acknowledgement(here.home, of, whose=here.subject(ELISE)))["number"] == uuid_text(of)
    assert 1 == len(await here.entries(FactKind.VIEWED))


async def test_before_it_is_routed_and_after_it_is_erased_there_is_none(here: World) -> None:
    accepted = await here.declare(MOVED, here.moved(), route=False)
    with pytest.raises(Refused, match=r"acknowledgement\.not-routed"):
        await acknowledgement(here.home, accepted.declaration_id)
    await here.home.router.route()
    await erase(here.home, here.subject(), VOICE)
    with pytest.raises(Refused, match=r"acknowledgement\.erased"):
        await acknowledgement(here.home, accepted.declaration_id)


async def test_what_is_proven_of_it_verifies_without_us(here: World) -> None:
    of, told = await declared(here)
    found = verify(json.loads(json.dumps(told)), await here.home.lookup.newest(here.home.store))

    assert (of, MOVED, PORTAL) == (found.receipt.declaration_id, found.event_type, found.receipt.source)


@pytest.mark.parametrize(
    ("forged", "code"),
    [
        ({"number": "01a20d6d-8cc8-7fcf-a033-9cfabd964ce8"}, "acknowledgement.differs /number"),
        ({"received_at": "2026-11-24T12:00:14.000Z"}, "acknowledgement.differs /received_at"),
        ({"source": {"party": CAF}}, "acknowledgement.differs /source/party"),
        ({"source": None}, "acknowledgement.differs /source/party"),
        ({"event_type": "fr.unefois.name.changed.v1"}, "acknowledgement.differs /event_type"),
        ({"manifest": b64encode(b"other").decode()}, "acknowledgement.differs /manifest"),
        ({"manifest": 1}, "acknowledgement.malformed /manifest"),
        ({"format": "x"}, "acknowledgement.malformed /format"),
        ({"receipt": None}, "acknowledgement.malformed /format"),
        ({"receipt": {}}, "intake-receipt.malformed "),
    ],
)
async def test_what_the_broker_did_not_sign_is_refused(here: World, forged: dict[str, Any], code: str) -> None:
    _, told = await declared(here)

    with pytest.raises(Refused) as refused:
        verify(told | forged, await here.home.lookup.newest(here.home.store))
    assert code == f"{refused.value.code} {refused.value.pointer}"


@pytest.mark.parametrize(("language", "title"), [("fr", "Accusé de réception"), ("en", "Acknowledgement")])
async def test_the_paper_reads_in_both_languages(here: World, language: Any, title: str) -> None:
    of, told = await declared(here)
    full = await acknowledgement(here.home, of, record=here.moved())
    said = [text for _, text in structure(PdfReader(BytesIO(paper(told, language)), strict=True))]
    whole = " ".join(text for _, text in structure(PdfReader(BytesIO(paper(full, language)), strict=True)))

    assert said[0].startswith(title)
    assert [] == [one["label"][language] for one in told["content"] if one["label"][language] not in said]
    assert [] == [value for value in VALUES if value not in whole]
    assert any("contact@unefois.example" in one for one in said)
