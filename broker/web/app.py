"""App: everything that a broker answers over HTTP, put together in one place.

Refuses: what nobody here has a route for; to tell what it is made with.
Keeps: limits, headers, trace id and the form of a problem are the same at every address.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

from fastapi import APIRouter, FastAPI

from broker.ledger import origins
from broker.runtime.serving import Serving
from broker.setup.roles import ProcessRole
from broker.setup.wiring import Home
from broker.web.agencies import app as agencies
from broker.web.agencies.waiting import Waiting
from broker.web.citizen import app as citizen
from broker.web.citizen.refused import error_page
from broker.web.citizen.rendering import PREFIX as PAGES
from broker.web.common import faults
from broker.web.common.frame import Frame
from broker.web.common.limits import Limits
from broker.web.common.proxies import Proxies
from broker.web.portals import app as portals
from broker.web.public import asyncapi, described, documentation, health, registry, rules, site, transparency

BODIES: Final[Mapping[str, int]] = {**agencies.BODIES, **citizen.BODIES, f"{registry.PREFIX}/": 2 * registry.BODY_BYTES}
"""The registry tells by itself, in its own words, that a schema is too large; this is for what never ends."""


BEGIN_SECONDS: Final = 5
"""A request that comes while a process looks whether the database is ours waits so long."""


def build(home: Home, serving: Serving | None = None, waiting: Waiting | None = None) -> FastAPI:
    """The application of a home; `serving`: the work that is done in the same process, for its health. What it answers
    follows from the role of that work: a process that routes answers for its health alone.
    """
    app = FastAPI(title="Unefois", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    role = ProcessRole.ALL if serving is None else serving.role
    answered = health.routes(home, serving)
    app.include_router(answered)
    if role in {ProcessRole.ALL, ProcessRole.API}:
        _open_to_everybody(app, home, answered)
    agencies.mount(app, home, waiting, role)
    portals.mount(app, home, role)
    if citizen.is_served(role):
        citizen.mount(app, home)
    faults.register(app)
    chosen = home.settings
    app.add_middleware(
        Frame,
        entropy=home.entropy,
        bodies=BODIES,
        proxies=Proxies(chosen.trusted_proxies, chosen.certificate_proxies),
        limits=Limits(
            home.clock,
            client=chosen.requests_per_minute,
            address=chosen.address_requests_per_minute,
            declarations=chosen.declarations_per_minute,
        ),
        begun=None if serving is None else partial(serving.until_begun, BEGIN_SECONDS),
        pages={PAGES: error_page} if citizen.is_served(role) else {},
    )
    return app


def _open_to_everybody(app: FastAPI, home: Home, answered: APIRouter) -> None:
    """What nobody proves anything for: the ledger, the registry of schemas, the pages, and the description of all of
    it, `answered` too.
    """
    ledger, ended = home.ledger, len(origins.ended(home.keys))
    carried = ledger.verifier_key.name != ledger.attestation_key.name  # from one of the first format, whose end is here
    number = 1 + max(ended, int(carried))
    public = (
        transparency.router(home.store, ledger.verifier_key, home.cosigning, number, ledger.attestation_key),
        rules.router(home),
        registry.router(home.catalogue),
        asyncapi.router(home.catalogue),
        *(() if site.has_page("errors.html") else (documentation.router(),)),
        site.router(),
    )
    for router in (*public, described.router((answered, *public))):
        app.include_router(router)
