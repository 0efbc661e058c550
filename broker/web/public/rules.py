"""Rules by law over HTTP: `GET /rules`, who hears of everybody, by which article, from when.

Refuses: nothing.
Keeps: no citizen and no objection; what is shown can be compared with the open entries of the ledger, byte for byte.
"""

import json
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from broker.services import rules
from broker.setup.wiring import Home
from broker.shapes import rule as shape_of
from broker.web.common.answered import answers
from broker.web.common.caching import exact
from broker.web.public.forms import PublicRules

A_MOMENT: Final = "public, max-age=60"
_SHOWN: Final = (
    "id",
    "recipient",
    "event_type",
    "purpose",
    "fields",
    "article",
    "objection",
    "status",
    "approved_at",
    "acts_from",
    "ends_at",
    "territories",
    "least_assurance",
    "least_quality",
    "narrowed_at",
    "ended_at",
)


def router(home: Home) -> APIRouter:
    """One address, without authentication: the rules are public by right."""
    made = APIRouter(tags=["transparency"])

    async def get_rules(request: Request) -> Response:
        """Rules by law: who hears of everybody, by which article, from when; those that have ended, too."""
        told = {"rules": [_shown(one) for one in await rules.published(home)]}
        content = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
        return exact(request, content, "application/json", A_MOMENT)

    made.add_api_route("/rules", get_rules, methods=["GET"], response_class=Response, responses=answers(PublicRules))
    return made


def _shown(one: rules.Published) -> dict[str, Any]:
    told = shape_of(one.rule)
    shown = {name: told[name] for name in _SHOWN}
    return {**shown, "recipient_name": one.name, "approved": one.approved, "ended": one.ended}
