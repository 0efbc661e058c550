"""Coming: who may ask: a portal, by its token, with the session of a citizen who has signed in there; and how often.

Refuses: a token without the scope `citizens`; no session, two of them, one that is over, one that another credential
has opened; beyond the hour's cap what opens sessions or changes something.
Keeps: who is not let in learns nothing about what they sent, and nothing of it was parsed. A session is of use to the
very credential that opened it, whichever portal has its token.
Source: docs/adr/0057-the-citizens-api.md.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader
from starlette.requests import HTTPConnection

from broker.access.credentials import Credential, Scope
from broker.citizens.citizen import Citizen
from broker.services.citizens import signing_in
from broker.setup.wiring import Home
from broker.shapes import Json
from broker.web.common import repeating
from broker.web.common.limits import Quota
from broker.web.common.strict import Access
from schemas.errors import Refused

HEADER: Final = "Unefois-Session"
HOUR_SECONDS: Final = 3600
FREE: Final = 0
"""What a change costs that ends something or holds it back: no cap keeps a citizen from it."""


class PortalAccess(Access):
    """A portal, for whom nobody has to be signed in."""


class CitizenAccess(PortalAccess):
    """A portal, for a citizen who has signed in there."""

    async def admit(self, request: Request) -> None:
        """Raises Refused as `Access.admit`, and `citizens.signed-out`, `citizens.session-over`."""
        await super().admit(request)
        told = request.headers.getlist(HEADER)
        if len(told) != 1:
            raise Refused("citizens.signed-out")
        home: Home = request.app.state.home
        caller: Credential = request.scope["unefois.caller"]
        request.scope["unefois.citizen"] = await signing_in.current(home, told[0], credential=caller.id)


class Session(APIKeyHeader):
    """The dependency that gives a route its citizen, and tells of the header."""

    def __init__(self) -> None:
        super().__init__(
            name=HEADER,
            scheme_name="session",
            description="Of a citizen: `POST /sessions` tells it, once.",
            auto_error=False,
        )

    async def __call__(self, request: HTTPConnection) -> Any:
        """The citizen, whom `admit` knew before the body was read."""
        return request.scope["unefois.citizen"]


Portal = Annotated[Credential, Depends(PortalAccess(Scope.CITIZENS))]
Caller = Annotated[Credential, Depends(CitizenAccess(Scope.CITIZENS))]
Me = Annotated[Citizen, Depends(Session())]


class Caps:
    """How many changes a portal may ask for in an hour; counted by this process. 0: no cap. Sign-ins have their own:
    `broker.access.forwarded`.
    """

    def __init__(self, home: Home) -> None:
        most = home.settings.portal_changes_per_hour
        quota = Quota("portal-changes", most, home.clock, window_seconds=HOUR_SECONDS)
        self._changes = quota if most else None

    def change(self, caller: Credential, cost: int = 1) -> None:
        """One more change, or as many as it costs. Raises Refused `citizens.portal-cap`."""
        if self._changes is None or cost == FREE:
            return
        try:
            self._changes.take(caller.party, cost)
        except Refused as fault:
            self._changes.say(caller.party)
            limit, after = fault.details["limit"], fault.details["after"]
            raise Refused("citizens.portal-cap", limit=limit, after=after) from None


async def change(
    request: Request,
    caller: Credential,
    me: Citizen,
    work: Callable[[], Awaitable[Json]],
    *,
    status: int = 200,
    cost: int = 1,
) -> Response:
    """Do it, once under an `Idempotency-Key`; the same key of the same portal for another citizen is another key. What
    was answered under it costs nothing of the cap.
    """

    async def answered() -> Response:
        request.app.state.caps.change(caller, cost)
        return JSONResponse(await work(), status)

    key = repeating.key_of(request)
    own = None if key is None else f"\x00citizen/{me.subject.hex()}/{key}"
    return await repeating.once(request, caller, own, answered)
