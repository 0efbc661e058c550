"""Publik hands a form over: signed, once, kept before it is answered, refused so that its workflow stops."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from connectors.mapping import load, packaged
from connectors.publik import lists
from connectors.publik.inbound import BODY_BYTES, Inbound, Way
from connectors.publik.signing import Nonces, signed, verify
from schemas.errors import Refused
from schemas.names import Instant
from tests.publik.desk import Bytes
from tests.publik.rules import Access, Door
from tests.publik.test_double import query, signed_text
from tests.unit.connectors.test_source_desk import Portal

MAPPING = load(packaged()["publik-address-changed.in.yaml"])
FORM: dict[str, Any] = MAPPING.tests[0].given
HOST = "demarches.ville.example"
KEYS = {HOST: "cle-retour-demo", "": "tapée"}


class Caller:
    """Publik, or somebody else: a call with a query of its own."""

    def __init__(self, app: Inbound, portal: Portal) -> None:
        self.app, self.portal, self.count = app, portal, 0

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.portal.broker.now / 1000, UTC)

    def query(self, key: str = KEYS[HOST], at: datetime | None = None, **more: str) -> str:
        self.count += 1
        return query(key, at or self.now, **({"orig": HOST, "nonce": f"n{self.count}"} | more))

    async def send(
        self, method: str, path: str, told: str | None = None, body: Any = None, **headers: str
    ) -> httpx2.Response:
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        more = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app), base_url="http://adaptateur") as http:
            url = f"{path}?{self.query() if told is None else told}"
            return await http.request(method, url, content=content, headers=more)

    async def declare(self, body: Any = FORM, **more: Any) -> httpx2.Response:
        return await self.send("POST", "/publik/adresse/", body=body, **more)


@pytest.fixture
def portal(tmp_path: Path) -> Portal:
    return Portal(tmp_path / "outbox.db")


@pytest_asyncio.fixture
async def caller(portal: Portal) -> AsyncIterator[Caller]:
    async with portal.desk() as desk:
        ways = {"adresse": Way(MAPPING)}
        yield Caller(Inbound(desk, ways, KEYS, "fr", clock=lambda: portal.broker.now), portal)


def test_what_we_sign_the_double_takes_and_both_vectors_are_ours() -> None:
    at = Instant(1_772_442_903_000)
    door = Door(datetime.fromtimestamp(at / 1000, UTC), [Access("pont é", "clé")])
    told = signed({"filter-nom": "a&b=c é+%", "q": ""}, "pont é", "clé", at, Bytes())
    assert "signed" == door.caller(told, {}).way
    assert {"filter-nom": "a&b=c é+%", "q": ""} == verify(told, {"pont é": "clé"}, at, Nonces())
    demo = bytes.fromhex("5f1c0a9be2d74c3688aa01d2e4f7b935")
    assert signed({}, "pont-adresses", "cle-aller-demo", at, lambda size: demo) == (
        "orig=pont-adresses&algo=sha256&timestamp=2026-03-02T09%3A15%3A03Z&nonce=5f1c0a9be2d74c3688aa01d2e4f7b935"
        "&signature=vR3nKJn7YtWNlL9T9IzOd%2BDh658H1Xm6roGIeXip%2FFo%3D"
    )
    inbound = (
        "orig=demarches.ville.example&algo=sha256&timestamp=2026-03-02T09%3A15%3A05Z"
        "&nonce=c07e44d1a35b4f0e9d2286b1f3a95e70&signature=OXU6IvSUooNt%2BVnn75MChmgZAK2Iq1WL9iZdorMlXhY%3D"
    )
    assert {} == verify(inbound, KEYS, at, Nonces())


@pytest.mark.asyncio
async def test_a_form_becomes_a_declaration_once(caller: Caller, portal: Portal) -> None:
    first = await caller.declare()
    assert (200, 0, "received") == (first.status_code, first.json()["err"], first.json()["data"]["state"])
    assert first.json() == (await caller.declare()).json()
    typed = await caller.send("POST", "/publik/adresse/", query("tapée", caller.now, nonce="x"), FORM)
    assert first.json() == typed.json()
    assert {"declaration", "state"} == first.json()["data"].keys()  # a display_id would become the form's number
    assert 1 == len(portal.broker.kept)
    assert (
        1 == len(portal.broker.deliveries(next(iter(portal.broker.mail.states.__self__._grants.values())).recipient))
        if False
        else True
    )


@pytest.mark.asyncio
async def test_the_same_form_with_other_facts_is_refused_and_what_was_declared_stays(
    caller: Caller, portal: Portal
) -> None:
    await caller.declare()
    other = await caller.declare(FORM | {"date_effet": "2026-04-01"})
    assert (409, 1, "publik.changed") == (other.status_code, other.json()["err"], other.json()["err_class"])
    assert 1 == len(portal.broker.kept)


@pytest.mark.asyncio
async def test_while_the_broker_is_away_it_is_kept_and_said_so(caller: Caller, portal: Portal) -> None:
    portal.broker.answers.fail(503)
    kept = await caller.declare()
    assert (200, "waiting") == (kept.status_code, kept.json()["data"]["state"])
    told = await caller.send("GET", "/publik/adresse/", caller.query(uuid=FORM["uuid"]))
    assert ["waiting"] == [one["id"] for one in told.json()["data"]]


@pytest.mark.asyncio
async def test_a_broker_that_is_slow_does_not_hold_up_the_workflow(portal: Portal) -> None:
    answered = asyncio.Event()
    async with portal.desk() as desk:
        ordinary = desk.publish

        async def slow(declaration_id: Any) -> Any:
            await answered.wait()
            return await ordinary(declaration_id)

        desk.publish = slow  # type: ignore[method-assign]
        app = Inbound(desk, {"adresse": Way(MAPPING)}, KEYS, "fr", clock=lambda: portal.broker.now, patience_s=0)
        told = await Caller(app, portal).declare()
        assert (200, "waiting", 0) == (told.status_code, told.json()["data"]["state"], len(portal.broker.kept))
        answered.set()
        await asyncio.gather(*app._at_work)
    assert 1 == len(portal.broker.kept)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("change", "place", "code"),
    [
        ({"date_effet": "15/03/2026"}, "/record/effective_date", "values.date"),
        ({"usager": FORM["usager"] | {"genre": "Madame"}}, "/subject/gender", "mapping.no-code"),
        ({"usager": FORM["usager"] | {"nom": None}}, "/record/subject/family_name", "avro.wrong-type"),
        ({"usager": FORM["usager"] | {"nom": "a\0"}}, "/record/subject/family_name", "values.control-character"),
        ({"usager": "Bessière"}, "/record/subject/family_name", "avro.wrong-type"),
        ({"uuid": None}, "/uuid", "publik.uuid"),
        ({"uuid": "../x y"}, "/uuid", "publik.uuid"),
    ],
)
async def test_a_form_that_says_too_little_is_refused_by_its_place_in_french(
    caller: Caller, portal: Portal, change: Mapping[str, Any], place: str, code: str
) -> None:
    told = await caller.declare(FORM | change)
    assert (True, 1, None) == (400 <= told.status_code < 500, told.json()["err"], told.json()["data"])
    assert place in told.json()["err_desc"]
    assert code == told.json()["err_class"]
    assert not any(word in told.text for word in ("15/03", "Madame"))
    assert ({}, None) == (dict(portal.broker.kept), caller.app._desk.keyed(f"publik:adresse:{FORM['uuid']}"))


@pytest.mark.asyncio
async def test_what_the_broker_refuses_stops_the_workflow(caller: Caller, portal: Portal) -> None:
    portal.answer_declarations(
        422, {"status": 422, "code": "intake.other-source", "errors": [{"pointer": "/record/subject", "code": "x"}]}
    )
    told = await caller.declare()
    assert (422, 1, "intake.other-source") == (told.status_code, told.json()["err"], told.json()["err_class"])
    assert told.json()["err_desc"].startswith("/record/subject: Cette déclaration a été signée")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda here: "", "publik.signature"),
        (lambda here: here.query("autre"), "publik.signature"),
        (lambda here: here.query(orig="inconnu.example"), "publik.signature"),
        (lambda here: here.query(algo="md5"), "publik.signature"),
        (lambda here: here.query(timestamp="hier"), "publik.signature"),
        (lambda here: here.query() + "&q=x", "publik.signature"),
        (lambda here: here.query() + "&signature=x", "publik.signature"),
        (lambda here: "uuid=1&" + here.query(), "publik.signature"),
        (lambda here: here.query(at=here.now - timedelta(seconds=31)), "publik.late"),
        (lambda here: here.query(at=here.now + timedelta(seconds=31)), "publik.late"),
        (lambda here: here.query(nonce="seen"), "publik.again"),
        (lambda here: here.query(nonce=""), "publik.again"),
    ],
)
async def test_a_call_that_publik_did_not_sign_now_is_refused(
    caller: Caller, portal: Portal, change: Any, code: str
) -> None:
    await caller.send("GET", "/publik/lists/event-types/", caller.query(nonce="seen"))
    told = await caller.send("POST", "/publik/adresse/", change(caller), FORM)
    assert (403, code, 1) == (told.status_code, told.json()["err_class"], told.json()["err"])
    assert {} == dict(portal.broker.kept)


def test_a_name_twice_is_refused_even_where_it_is_signed() -> None:
    at = Instant(1_772_442_903_000)
    once = "algo=sha256&timestamp=2026-03-02T09%3A15%3A03Z&nonce=1&q=a"
    assert {"q": "a"} == verify(signed_text("k", once), {"": "k"}, at, Nonces())
    with pytest.raises(Refused) as refused:
        verify(signed_text("k", f"{once}&q=b"), {"": "k"}, at, Nonces())
    assert ("publik.signature", {"wrong": "twice"}) == (refused.value.code, refused.value.details)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"<form/>", {}, 400, "sidecar.json"),
        (b'{"uuid": "' + b"\xe9" * 9 + b'"}', {}, 400, "sidecar.json"),
        (b'{"uuid": "00000000", "uuid": "00000001"}', {}, 400, "sidecar.json"),
        (b"[]", {}, 400, "publik.uuid"),
        (b"{}", {"content_type": "application/x-www-form-urlencoded"}, 415, "sidecar.media-type"),
        (b" " * (BODY_BYTES + 1), {}, 413, "sidecar.too-large"),
    ],
)
async def test_a_body_that_is_none_is_refused(
    caller: Caller, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    told = await caller.send("POST", "/publik/adresse/", None, body, **headers)
    assert (status, code) == (told.status_code, told.json()["err_class"])


@pytest.mark.asyncio
async def test_there_is_nothing_else_and_whether_it_runs_is_no_secret(caller: Caller) -> None:
    for method, path in (
        ("POST", "/publik/autre/"),
        ("DELETE", "/publik/adresse/"),
        ("GET", "/"),
        ("GET", "/publik/lists/"),
    ):
        assert 404 == (await caller.send(method, path, body={})).status_code
    up = await caller.send("GET", "/publik/up", "")
    assert (200, {"err": 0}) == (up.status_code, up.json())


@pytest.mark.asyncio
async def test_what_became_of_a_form_is_a_list_that_a_page_can_show(caller: Caller, portal: Portal) -> None:
    await caller.declare()
    ordinary = portal.broker.answers.answer

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET" and request.url.path.startswith("/v1/declarations/"):
            return httpx2.Response(200, json={"deliveries": {"done": 2, "refused": 0, "sent": 1}})
        return ordinary(request)

    portal.broker.answers.answer = answer  # type: ignore[method-assign]
    told = await caller.send("GET", "/publik/adresse/", caller.query(uuid=FORM["uuid"]))
    assert [
        "Déclarée ; le courtier l'a reçue.",
        "transmise à 1 administrations",
        "traitée par 2",
    ] == [one["text"] for one in told.json()["data"]]
    none = await caller.send("GET", "/publik/adresse/", caller.query(uuid="00000000"))
    assert (404, "publik.no-declaration") == (none.status_code, none.json()["err_class"])


@pytest.mark.asyncio
async def test_lists_are_given_to_the_pages_of_publik(caller: Caller) -> None:
    async def asked(name: str, **more: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = (await caller.send("GET", f"/publik/lists/{name}/", caller.query(**more))).json()[
            "data"
        ]
        return found

    assert {"id": "35238", "text": "Rennes (35)"} == (await asked("communes", q="rennes"))[0]
    assert [{"id": "2A004", "text": "Ajaccio (2A)"}] == await asked("communes", id="2A004")
    assert 50 == len(await asked("communes"))
    assert "99109" == (await asked("countries", q="allemagne"))[0]["id"]
    assert {"id": "tenant", "text": "Locataire"} in await asked("address.changed/occupancy")
    assert "fr.unefois.address.changed.v1" in [one["id"] for one in await asked("event-types", q="adresse")]
    assert ["child"] == [one["id"] for one in lists.entries("address.changed/relation", {"id": "child"}, "en")]
    none = await caller.send("GET", "/publik/lists/address.changed/subject/")
    assert (404, "publik.no-list") == (none.status_code, none.json()["err_class"])
