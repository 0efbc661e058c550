"""Story: one citizen's whole way through the portals' API, every operation once, in an order that makes sense.

$ python -m tests.unit.broker.web.portals.story          writes the examples of the OpenAPI document
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

from broker.services import rules
from broker.services.repairing import TYPE
from broker.web.app import build
from broker.web.portals import app as portals_api
from broker.web.portals.app import PREFIX
from connectors.contract import Answered
from schemas.names import Reason
from tests.franceconnect import doors
from tests.unit.broker.citizens.test_forwarded import at_portal
from tests.unit.broker.web.portals.calls import Portals, Town
from tests.world import BANK, CAF, DAY, FAMILY, MOVED, PORTAL, YANN, World, world

EXAMPLES_FILE = Path(portals_api.__file__).with_name("examples.json")
OWN = ("subject", "declarant", "capacity")


@dataclass(frozen=True)
class Sent:
    """One operation, as it was sent and answered. `path`, `query`: the values of its parameters."""

    method: str
    route: str
    status: int
    answer: Any
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None

    @property
    def name(self) -> str:
        """As the document has it."""
        return f"{self.method} {self.route}"


@dataclass
class Teller:
    """Sends, and keeps what was sent."""

    portals: Portals
    told: list[Sent] = field(default_factory=list)

    async def ask(self, town: Town, name: str, body: Any = None, **given: str) -> Any:
        """One operation; `given`: parameters of its path, and others that are its query."""
        method, _, route = name.partition(" ")
        path = {one: given.pop(one) for one in re.findall(r"\{(\w+)\}", route)}
        where = re.sub(r"\{(\w+)\}", lambda found: path[found[1]], route)
        if given:
            where += "?" + "&".join(f"{one}={value}" for one, value in given.items())
        response = await town.asks(method, where, body)
        assert response.is_success, (name, response.text)
        self.told.append(Sent(method, route, response.status_code, response.json(), path, given, body))
        return response.json()


def filled(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a form holds of a record."""
    return {name: value for name, value in record.items() if name not in OWN and value not in (None, [])}


def address_filled(record: dict[str, Any]) -> dict[str, Any]:
    """With an address of which only what is there is told."""
    inner = {name: value for name, value in record["new_address"].items() if value not in (None, [])}
    return {**record, "new_address": {**inner, "lines": []}}


async def _not_found(here: World) -> None:
    """The family office answers that it does not find the person."""
    await here.home.router.route()
    for locked in (await here.inbox(CAF).pull(10)).locked:
        await here.inbox(CAF).acknowledge(locked.delivery_id, Answered(Reason.UNKNOWN_PERSON))


async def _prepared(here: World) -> str:
    """A rule by law that acts, and a way to tell numbers. Returns the rule's id."""
    async with here.home.store.begin() as tx:
        await here.home.registrar.allow_publishing(tx, PORTAL, TYPE, here.clock())
    await here.subscribe(CAF, TYPE, FAMILY, ("subject", "number_kind", "number", "repairs"))
    asked = await rules.ask(
        here.home,
        recipient=CAF,
        event_type=BANK,
        purpose=FAMILY,
        fields=("subject", "iban"),
        article="CSS, art. L583-3",
    )
    await rules.approve(here.home, asked.id)
    here.clock.pass_(4 * DAY)
    return str(asked.id.hex())


def dashed(raw: str) -> str:
    """32 hexadecimal digits as a UUID."""
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"


async def story(portals: Portals) -> list[Sent]:
    """Every operation once; what is answered is kept."""
    here, tell = portals.here, Teller(portals)
    rule = dashed(await _prepared(here))
    town = await portals.portal()
    nonce = (await tell.ask(town, "POST /nonces"))["nonce"]
    tokens = at_portal(portals.doors.plus, nonce)
    opened = await tell.ask(town, "POST /sessions", {**tokens, "nonce": nonce, "language": "fr"})
    me = Town(portals.client, town.token, opened["session_token"])
    await portals.citizen()
    await tell.ask(me, "GET /session")
    other = next(one for one in (await tell.ask(me, "GET /sessions"))["sessions"] if not one["this"])
    await tell.ask(me, "POST /sessions/{session_id}:end", session_id=other["id"])
    await tell.ask(town, "GET /types")
    grant = await _allows(tell, me)
    await _declares(tell, me, here)
    await _household(tell, portals, me)
    await tell.ask(me, "GET /rules", event_type=BANK)
    await tell.ask(me, "POST /rules/{rule}:object", {"reason": "personal-situation"}, rule=rule)
    await tell.ask(me, "POST /rules/{rule}:withdraw", rule=rule)
    await here.home.ledger.sequence_unfinished()
    await tell.ask(me, "GET /history", what="opened")
    await tell.ask(me, "GET /proofs/{of}", of=grant)
    await tell.ask(me, "GET /consents/{grant}/receipt", grant=grant, version="1")
    await tell.ask(me, "GET /export")
    await tell.ask(me, "POST /consents/{grant}:end", grant=grant)
    await tell.ask(me, "POST /consents:end-all")
    await tell.ask(me, "POST /session:end")
    return tell.told


async def _allows(tell: Teller, me: Town) -> str:
    """Reads an offer, agrees to it, pauses it, resumes it, narrows it."""
    await tell.ask(me, "GET /offers", event_type=MOVED, territory="35238")
    wish = {"recipient": CAF, "event_type": MOVED, "purpose": FAMILY, "fields": ["subject", "new_address", "household"]}
    shown = await tell.ask(me, "POST /consents:preview", wish)
    agreed = {**wish, "until": shown["until"], "text_sha256": shown["text_sha256"]}
    grant = str((await tell.ask(me, "POST /consents", agreed))["grant"]["id"])
    await tell.ask(me, "GET /consents")
    await tell.ask(me, "POST /consents/{grant}:pause", {"version": 1}, grant=grant)
    await tell.ask(me, "POST /consents/{grant}:resume", {"version": 2}, grant=grant)
    kept = {"version": 3, "fields": ["subject", "new_address"]}
    await tell.ask(me, "POST /consents/{grant}:narrow", kept, grant=grant)
    await tell.ask(me, "GET /consents/{grant}", grant=grant)
    return grant


async def _declares(tell: Teller, me: Town, here: World) -> None:
    """Moves; is not found; adds a number; puts it right; takes it back; stops a change of account."""
    form_id = (await tell.ask(me, "POST /forms"))["form_id"]
    move = {"event_type": MOVED, "record": address_filled(filled(here.moved()))}
    await tell.ask(me, "POST /declarations:explain", move)
    declared = (await tell.ask(me, "POST /declarations", {"form_id": form_id, **move}))["declaration"]
    await _not_found(here)
    await tell.ask(me, "GET /declarations", limit="2")
    await tell.ask(me, "GET /declarations/{declaration}", declaration=declared)
    number = {"recipient": CAF, "number_kind": "numéro allocataire", "number": "7654321"}
    shown = await tell.ask(me, "POST /declarations/{declaration}:explain-repair", number, declaration=declared)
    agreed = {**number, "until": shown["until"], "text_sha256": shown["text_sha256"]}
    await tell.ask(me, "POST /declarations/{declaration}:repair", agreed, declaration=declared)
    await here.home.router.route()
    await here.take(CAF)
    await here.home.repairs.step()
    await here.take(CAF)
    paper = {"record": {"occupants": 1}}
    await tell.ask(me, "POST /declarations/{declaration}:acknowledgement", paper, declaration=declared)
    again = (await me.told("POST", "/forms", status=201))["form_id"]
    better = {"form_id": again, **move, "record": {**move["record"], "occupants": 2}}
    await tell.ask(me, "POST /declarations/{declaration}:correct", better, declaration=declared)
    await here.home.router.route()
    await tell.ask(me, "POST /declarations/{declaration}:cancel", {"reason": "mistake"}, declaration=declared)
    account = {"event_type": BANK, "record": filled(here.bank())}
    account_id = (await me.told("POST", "/forms", status=201))["form_id"]
    await me.told("POST", "/declarations", {"form_id": account_id, **account}, 202)
    await here.home.router.route()
    await tell.ask(me, "GET /held")
    await tell.ask(me, "POST /declarations/{declaration}:stop", declaration=account_id)


async def _household(tell: Teller, portals: Portals, me: Town) -> None:
    """One form about her and Yann; he confirms one, and refuses another."""
    here = portals.here
    record = address_filled(filled(here.moved()))
    yann = await portals.citizen("yann", sure=False)

    async def opened(ask: bool) -> dict[str, Any]:
        form_id = (await me.told("POST", "/forms", status=201))["form_id"]
        body = {"form_id": form_id, "event_type": MOVED, "record": record, "others": [{"person": YANN}]}
        told: dict[str, Any] = (
            await tell.ask(me, "POST /households", body) if ask else await me.told("POST", "/households", body, 202)
        )
        return told

    first, second = await opened(ask=True), await opened(ask=False)
    mine = (await yann.told("POST", "/forms", status=201))["form_id"]
    code = first["waiting"][0]["code"]
    confirmed = {"form_id": mine, "code": code, "event_type": MOVED, "record": record}
    await tell.ask(yann, "POST /households/{household}:confirm", confirmed, household=first["household"])
    refused = {"code": second["waiting"][0]["code"]}
    await tell.ask(yann, "POST /households/{household}:refuse", refused, household=second["household"])


# ── the examples ────────────────────────────────────────────────────────────────────────────────────────────────────


def shortened(told: Any) -> Any:
    """Long texts cut, of a list the first two."""
    if isinstance(told, Mapping):
        return {name: shortened(value) for name, value in told.items()}
    if isinstance(told, list):
        return [shortened(one) for one in told[:2]]
    return f"{told[:90]}…" if isinstance(told, str) and len(told) > 120 else told


def examples(told: list[Sent]) -> dict[str, Any]:
    """As the file has them."""
    found: dict[str, Any] = {}
    for one in told:
        parts: dict[str, Any] = {"path": dict(one.path), "query": dict(one.query), "request": one.body}
        made = {name: value for name, value in parts.items() if value}
        found[f"{one.method} {PREFIX}{one.route}"] = shortened({**made, "response": one.answer})
    return found


async def _write() -> None:
    with TemporaryDirectory() as folder:
        async with world(Path(folder), bank_hold_hours=72) as here:
            there, app = doors(here), build(here.home)
            async with httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app), base_url="http://broker.example"
            ) as client:
                told = await story(Portals(here, app, client, there))
    EXAMPLES_FILE.write_text(json.dumps(examples(told), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(_write())
