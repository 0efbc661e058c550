"""Demo: both services as one application, and what a home has to be told to be their client."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette

from broker.access.identity_tokens import Door
from broker.lab.franceconnect.app import PATHS, app
from broker.lab.franceconnect.provider import Provider, Registered
from broker.lab.franceconnect.tokens import text
from broker.ports import Clock, Entropy
from broker.services.citizens.signing_in import CALLBACK, GOODBYE

CLIENT = "unefois"


def demo(
    base: str, citizen_url: str, *, clock: Clock, entropy: Entropy, portals: Mapping[str, str] | None = None
) -> tuple[Starlette, dict[str, Any]]:
    """The application, to be served at `base` (`http://127.0.0.1:PORT`), and the settings of a home whose pages are at
    `citizen_url`. `portals`: by client identifier, the redirect of a portal; its secret is its identifier.
    """
    secret = text(entropy(16))
    ours = Registered(CLIENT, frozenset({citizen_url + CALLBACK}), frozenset({citizen_url + GOODBYE}), secret=secret)
    others = [Registered(name, frozenset({redirect}), secret=name) for name, redirect in (portals or {}).items()]
    providers = {}
    settings: dict[str, Any] = {"citizen_url": citizen_url, "outbound_allowed": (urlsplit(base).netloc,)}
    for door in Door:
        providers[door] = Provider(door, base + PATHS[door], [ours, *others], clock=clock, entropy=entropy)
        prefix = door.value.replace("-", "_")
        settings |= {
            f"{prefix}_issuer": base + PATHS[door],
            f"{prefix}_client_id": CLIENT,
            f"{prefix}_client_secret": secret,
        }
    return app(providers), settings
