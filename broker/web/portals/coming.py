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
from broker.access.tallies import Tally
from broker.citizens.citizen import Citizen
from broker.observability.observe import logger
from broker.services.citizens import signing_in
from broker.setup.wiring import Home
from broker.shapes import Json
from broker.web.common import repeating
from broker.web.common.strict import Access
from schemas.errors import Refused

HEADER: Final = "Unefois-Session"
HOUR_MS: Final = 3_600_000
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


async def cap(home: Home, caller: Credential, cost: int) -> None:
    """One more change of this portal's within the hour, or as many as it costs, in whichever process; with the last
    one it is named in the log. Sign-ins have their own cap: `broker.access.forwarded`. Raises Refused
    `citizens.portal-cap`.
    """
    most = home.settings.portal_changes_per_hour
    if not most or cost == FREE:
        return
    taken = await home.tallies.take(Tally.PORTAL_CHANGES, caller.party, most=most, window_ms=HOUR_MS, cost=cost)
    if taken.wait:
        raise Refused("citizens.portal-cap", limit=most, after=taken.wait)
    if not taken.left:
        logger().warning("quota.spent", party=caller.party, limit=most)


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
        await cap(request.app.state.home, caller, cost)
        return JSONResponse(await work(), status)

    key = repeating.key_of(request)
    own = None if key is None else f"\x00citizen/{me.subject.hex()}/{key}"
    return await repeating.once(request, caller, own, answered)
