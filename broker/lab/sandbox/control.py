"""Control: the addresses below `/sandbox`, by which whoever tries something out lets it happen.

Refuses: a request that a web page of somewhere else makes in a browser (it carries `Origin`); what the playground
refuses.
Keeps: only a sandbox's process has these addresses; `/sandbox/openapi.json` describes them, and no credential is asked:
the process answers on this machine alone, and holds nothing about anybody.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, FastAPI, Path, Request
from pydantic import Field

from broker.flow.deliveries import Delivery
from broker.lab.sandbox import people
from broker.lab.sandbox.mischief import MOST
from broker.lab.sandbox.playground import SOURCE, News, Playground
from broker.shapes import Json, time_of, uuid_of
from broker.web.common import faults
from broker.web.common.bodies import Body, Uuid
from broker.web.common.strict import StrictRoute
from schemas.errors import Refused
from schemas.names import DeclarationId, EventType

PREFIX: Final = "/sandbox"
EVENTS: Final = 500
"""Events in one request."""

Word = Annotated[str, Field(pattern="^[a-z]{3,12}$", description="Whom it is about: 3 to 12 letters.")]


class Event(Body):
    """What a citizen declares. One who has never decided lets the administration know first."""

    citizen: Word = "alix"
    event_type: str | None = Field(None, max_length=200, description="The first that is received, without it.")
    kind: Literal["plain", "second-schema", "new-symbol", "reversed"] = Field(
        "plain",
        description="`second-schema`: by a schema with one field more. `new-symbol`: with an enum symbol more."
        " `reversed`: two events; the older one comes after the newer one.",
    )
    changes: dict[str, Any] = Field(default_factory=dict, repr=False, description="Fields other than the sample's.")
    corrects: Uuid | None = None
    count: int = Field(1, ge=1, le=EVENTS, description="Of so many citizens: alixa, alixb ...")


class Decision(Body):
    """What a citizen decides about the administration."""

    citizen: Word = "alix"
    decision: Literal["grant", "revoke", "pause", "resume", "narrow"]
    event_type: str | None = Field(None, max_length=200)
    fields: list[Annotated[str, Field(max_length=64)]] | None = Field(None, min_length=1, max_length=200)
    lasts_seconds: int | None = Field(None, ge=1, le=400 * 86_400)


class Move(Body):
    """Where the sandbox's clock goes: on by so many seconds, or back; or to the machine's own time again."""

    seconds: int = 0
    reset: bool = False


class Switch(Body):
    """Name -> how many times; 0 is off."""

    faults: dict[str, int] = Field(max_length=50, description=f"At most {MOST} times.")


class Rotation(Body):
    """Whose keys are replaced; the old ones are good for so long beside them."""

    whose: Literal["source", "broker", "agency"]
    overlap_seconds: int = Field(86_400, ge=0, le=400 * 86_400)


def build(play: Playground, keys_changed: Callable[[], Awaitable[None]]) -> FastAPI:
    """The app below `/sandbox`; `keys_changed` writes the agency's file anew."""
    app = FastAPI(title="Unefois: sandbox", version="1", docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.play, app.state.keys_changed = play, keys_changed
    app.include_router(routes)
    faults.register(app)
    return app


def _own(request: Request) -> Playground:
    if "origin" in request.headers:
        raise Refused("sandbox.origin")
    play: Playground = request.app.state.play
    return play


Play = Annotated[Playground, Depends(_own)]
routes = APIRouter(route_class=StrictRoute, tags=["sandbox"])


@routes.get("/state")
async def state(play: Play) -> Json:
    """Who plays, what time it is, and what is switched on."""
    return {
        "agency": play.wanted.party,
        "source": SOURCE,
        "receives": list(play.wanted.types),
        "purpose": play.wanted.purpose,
        "now": time_of(play.clock()),
        "moved_seconds": play.clock.moved_ms // 1000,
        "faults": play.mischiefs.told(),
    }


@routes.post("/events", status_code=201)
async def declare(play: Play, wanted: Event) -> Json:
    """Let citizens declare: signed, handed in, routed."""
    event_type = _type(play, wanted.event_type)
    told = [
        News(
            citizen=word,
            event_type=event_type,
            changes=wanted.changes,
            corrects=None if wanted.corrects is None else DeclarationId.parse(wanted.corrects),
            second_schema=wanted.kind == "second-schema",
            new_symbol=wanted.kind == "new-symbol",
        )
        for word in _words(wanted.citizen, wanted.count)
    ]
    for one in told:
        there = await play.home.consents.of(await play.subject(one.citizen))
        if not any(grant.event_type == event_type for grant in there):
            await play.allow(one.citizen, event_type)
    if wanted.kind == "reversed":
        ids = [of for one in told for of in await play.reversed(replace(one, changes={}), one)]
    else:
        ids = await play.declare(told)
    return {"declarations": [uuid_of(one) for one in ids], "deliveries": [_told(one) for one in await play.of(ids)]}


@routes.post("/consents")
async def decide(play: Play, wanted: Decision) -> Json:
    """Let a citizen decide: what is on its way follows at once."""
    if wanted.decision == "grant":
        lasts = None if wanted.lasts_seconds is None else wanted.lasts_seconds * 1000
        await play.allow(wanted.citizen, _type(play, wanted.event_type), wanted.fields, lasts)
        changed = 1
    else:
        changed = await play.decide(wanted.citizen, wanted.decision, wanted.fields or ())
    found = await play.home.consents.of(await play.subject(wanted.citizen))
    return {
        "changed": changed,
        "consents": [
            {
                "event_type": one.event_type,
                "fields": sorted(one.fields),
                "status": one.status.value,
                "version": one.version,
                "expires_at": time_of(one.expires_at),
            }
            for one in found
            if one.recipient == play.wanted.party
        ],
    }


@routes.get("/citizens/{citizen}")
async def citizen(play: Play, citizen: Annotated[str, Path(max_length=12)]) -> Json:
    """Who a citizen is, and what they declare of each type if nothing is changed."""
    word = people.check_word(citizen)
    samples = {each: people.record(each, word, {}) for each in play.wanted.types}
    return {"citizen": word, "subject": people.identity(word), "records": samples}


@routes.post("/clock")
async def move(play: Play, wanted: Move) -> Json:
    """Move the clock of the whole sandbox; what is due then happens."""
    if wanted.reset:
        play.clock.set(0)
    play.clock.move(wanted.seconds * 1000)
    await play.home.upkeep.turn()
    await play.home.ledger.sequence_unfinished()
    await play.door.stir()
    return {"now": time_of(play.clock()), "moved_seconds": play.clock.moved_ms // 1000}


@routes.put("/faults")
async def switch(play: Play, wanted: Switch) -> Json:
    """Switch mischief on and off."""
    play.mischiefs.set(wanted.faults)
    return {"faults": play.mischiefs.told()}


@routes.post("/keys:rotate")
async def rotate(request: Request, play: Play, wanted: Rotation) -> Json:
    """New keys; the agency's own private ones are in its file afterwards, beside the old ones."""
    whose = {"source": SOURCE, "broker": play.home.party, "agency": play.wanted.party}[wanted.whose]
    kids = await play.rotate(whose, wanted.overlap_seconds * 1000)
    await request.app.state.keys_changed()
    return {"party": whose, "keys": [kid.hex() for kid in kids]}


@routes.post("/leases:end")
async def end_leases(play: Play) -> Json:
    """What is handed out comes again at once."""
    await play.end_leases()
    return {"waiting": await play.waiting()}


@routes.get("/deliveries")
async def deliveries(play: Play) -> Json:
    """Every delivery of the administration, oldest first, and what became of it."""
    return {"deliveries": [_told(one) for one in await play.mail()]}


@routes.get("/requests")
async def requests(play: Play) -> Json:
    """What the agencies' API was asked lately. Status 0: the answer was lost on purpose."""
    return {
        "requests": [
            {"method": one.method, "path": one.path, "status": one.status, "code": one.code} for one in play.door.seen
        ]
    }


def _type(play: Playground, name: str | None) -> EventType:
    return play.wanted.types[0] if name is None else EventType(name)


def _words(citizen: str, count: int) -> list[str]:
    """One citizen by their word; several by two letters more."""
    if count == 1:
        return [citizen]
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [f"{citizen[:10]}{letters[number // 26]}{letters[number % 26]}" for number in range(count)]


def _told(one: Delivery) -> Json:
    return {
        "delivery": uuid_of(one.id),
        "declaration": uuid_of(one.declaration_id),
        "event_type": one.event_type,
        "state": one.state.value,
        "attempts": one.attempts,
        "reason": None if one.reason is None else one.reason.value,
        "code": one.code,
    }
