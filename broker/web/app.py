"""App: everything that a broker answers over HTTP, put together in one place.

Refuses: what nobody here has a route for; to tell what it is made with.
Keeps: limits, headers, trace id and the form of a problem are the same at every address.
"""

from fastapi import FastAPI

from broker.serving import Serving
from broker.web import asyncapi, health, registry, transparency
from broker.web.agencies import app as agencies
from broker.web.agencies import faults
from broker.web.agencies.frame import Frame
from broker.wiring import Home


def build(home: Home, serving: Serving | None = None) -> FastAPI:
    """The application of a home; `serving`: the work that is done in the same process, for its health."""
    app = FastAPI(title="Unefois", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(health.routes(home, serving))
    app.include_router(transparency.router(home.store, home.ledger.verifier_key))
    app.include_router(registry.router(home.catalogue))
    app.include_router(asyncapi.router(home.catalogue))
    agencies.mount(app, home)
    faults.register(app)
    app.add_middleware(
        Frame, entropy=home.entropy, bodies={f"{agencies.PREFIX}{path}": most for path, most in agencies.BODIES.items()}
    )
    return app
