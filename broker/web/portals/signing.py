"""Signing: a citizen signs in at a portal and out again; their sessions wherever they are.

Refuses: what FranceConnect has not signed for this portal, with our nonce, within its 60 seconds; another's session.
Keeps: the portal's own word is nowhere enough. A session's token is told once, to the portal that opened it.
"""

from fastapi import APIRouter, Request, Response

from broker.citizens.citizen import Citizen
from broker.services.citizens import signing_in
from broker.setup.wiring import Home
from broker.shapes import Json, time_of, uuid_of
from broker.web.common.answered import answers
from broker.web.common.strict import StrictRoute
from broker.web.portals import forms
from broker.web.portals.bodies import SignIn
from broker.web.portals.coming import FREE, HEADER, Caller, Me, Portal, change
from schemas.errors import Refused

routes = APIRouter(route_class=StrictRoute, tags=["sessions"])


@routes.post("/nonces", status_code=201, responses=answers(forms.Nonce, 201))
async def nonce(request: Request, caller: Portal) -> Json:
    """A nonce for one sign-in: send it to FranceConnect as your own. It counts once, for you alone, for 15 minutes."""
    home: Home = request.app.state.home
    made, until = signing_in.nonce(home, caller.party, caller.id)
    return {"nonce": made, "expires_at": time_of(until)}


@routes.post("/sessions", status_code=201, responses=answers(forms.Opened, 201))
async def sign_in(request: Request, caller: Portal, told: SignIn) -> Json:
    """Open a session with what FranceConnect has signed for you: the ID token and the userinfo, exactly as they came,
    within their 60 seconds. Where they are encrypted for you, decrypt them, and send the signed JWTs inside.

    The session lasts 30 minutes. Keep its token on your server, beside your own session; send it in `Unefois-Session`.
    """
    home: Home = request.app.state.home
    done = await signing_in.forwarded(
        home,
        caller.party,
        caller.id,
        id_token=told.id_token,
        userinfo=told.userinfo,
        nonce=told.nonce,
        language=told.language,
    )
    return {"session_token": done.token, **_shown(done.citizen)}


@routes.get("/session", responses=answers(forms.Session))
async def session(caller: Caller, me: Me) -> Json:
    """The session of the token that you sent."""
    return _shown(me)


@routes.post("/session:end", responses=answers(forms.Ended))
async def sign_out(request: Request, caller: Portal) -> Json:
    """End the session of the token that you sent. One that is over already stays over."""
    told = request.headers.getlist(HEADER)
    if len(told) == 1:
        await signing_in.sign_out(request.app.state.home, told[0], credential=caller.id)
    return {"ended": True}


@routes.get("/sessions", responses=answers(forms.SessionList))
async def sessions(request: Request, caller: Caller, me: Me) -> Json:
    """Every session of the citizen that stands, at your portal and elsewhere, the newest first."""
    found = await signing_in.sessions(request.app.state.home, me)
    return {
        "sessions": [
            {
                "id": uuid_of(one.id),
                "this": one.id == me.session,
                "way": one.way.value,
                "assurance": one.assurance.value,
                "portal": one.portal,
                "helped": one.helped,
                "opened_at": time_of(one.opened_at),
                "seen_at": time_of(one.seen_at),
                "expires_at": time_of(one.expires_at),
            }
            for one in found
        ]
    }


@routes.post("/sessions/{session_id}:end", responses=answers(forms.Ended))
async def end_session(request: Request, caller: Caller, me: Me, session_id: str) -> Response:
    """End one of the citizen's sessions, wherever it is."""
    home: Home = request.app.state.home

    async def ended() -> Json:
        try:
            raw = bytes.fromhex(session_id.replace("-", ""))
        except ValueError:
            raise Refused("citizens.session-unknown", "/session") from None
        await signing_in.end(home, me, raw)
        return {"ended": True}

    return await change(request, caller, me, ended, cost=FREE)


def _shown(me: Citizen) -> Json:
    return {
        "id": uuid_of(me.session),
        "assurance": me.assurance.value,
        "language": me.language,
        "helped": me.helper is not None,
        "signed_in_at": time_of(me.signed_in_at),
        "expires_at": time_of(me.expires_at),
    }
