"""The citizen's own pages below `/espace`: server-rendered, in French and English, and no script where none is needed.

Refuses: what its pages refuse, in plain words (`refused`).
Keeps: pages reach the services and nothing behind them; a test holds the imports.
"""

from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI

from broker.setup.roles import ProcessRole
from broker.setup.wiring import Home
from broker.web.citizen import (
    about,
    checking,
    following,
    giving,
    grants,
    history,
    moving,
    moving_check,
    moving_code,
    own_data,
    rights,
    sessions,
    taking_back,
    welcome,
)
from broker.web.citizen.rendering import PREFIX

ROUTES: Final = (
    welcome.routes,
    sessions.routes,
    moving.routes,
    moving_check.routes,
    moving_code.routes,
    following.routes,
    taking_back.routes,
    rights.routes,
    giving.routes,
    grants.routes,
    history.routes,
    own_data.routes,
    checking.routes,
    about.routes,
)
"""Every page."""
BODIES: Final[Mapping[str, int]] = {f"{PREFIX}/": 64 * 1024}
"""Bytes of a form."""


def is_served(role: ProcessRole) -> bool:
    """Whether a process of this role answers citizens' browsers."""
    return role in {ProcessRole.ALL, ProcessRole.PORTAL}


def mount(app: FastAPI, home: Home) -> None:
    """Serve the pages."""
    app.state.home = home
    for routes in ROUTES:
        app.include_router(routes)
