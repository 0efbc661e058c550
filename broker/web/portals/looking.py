"""Looking: who opened what, when and why; proofs; and everything that the broker holds about a citizen.

Refuses: what `broker.services.citizens.history` refuses.
Keeps: one call is one use case of the services.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request

from broker.services.citizens import history
from broker.shapes import Json
from broker.web.common.answered import answers
from broker.web.common.strict import StrictRoute
from broker.web.portals import forms
from broker.web.portals.bodies import known
from broker.web.portals.coming import Caller, Me
from broker.web.portals.queries import EntryAfter, Limit
from schemas.errors import Refused
from schemas.names import DeclarationId

routes = APIRouter(route_class=StrictRoute, tags=["history"])

What = Annotated[
    Literal["opened", "withheld", "looked", "consents", "declared", "acting"] | None,
    Query(description="Left out: all."),
]


@routes.get("/history", responses=answers(forms.History))
async def events(
    request: Request,
    *,
    caller: Caller,
    me: Me,
    what: What = None,
    after: EntryAfter = None,
    limit: Limit = history.PAGE,
) -> Json:
    """Who opened which fields, when, what for, on which ground; who got nothing, and why; who looked at the citizen's
    file; what was allowed and declared. The newest first; from the ledger, whatever the tables say.
    """
    last = None if after is None else bytes.fromhex(after)
    return await history.events(request.app.state.home, me, what=what, after=last, limit=limit)


@routes.get("/proofs/{of}", responses=answers(forms.Proof))
async def proof(request: Request, caller: Caller, me: Me, of: str) -> Json:
    """The ledger's receipt of the newest entry about a declaration, a delivery or a consent of the citizen's. It is
    verified without us (`unefois audit check`).
    """
    wanted = known(DeclarationId.parse, of, Refused("proofs.unknown-id", "/id"))
    return {"proof": await history.proof(request.app.state.home, me, wanted)}


@routes.get("/export", responses=answers(forms.Export))
async def export(request: Request, caller: Caller, me: Me) -> Json:
    """Everything that the broker holds about the citizen, as `schemas/person-export.v1.schema.json` has it (GDPR,
    articles 15 and 20). The ledger says that it was handed out.
    """
    return await history.export(request.app.state.home, me)
