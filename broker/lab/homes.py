"""Homes for trying: a broker in a folder, of which nobody's environment says anything.

Refuses: what the settings and the broker refuse.
Keeps: what is alike in the sandbox, the simulated country and the demo's pages is here: one SQLite file, one partition,
one signature.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from broker.settings.choices import Settings, load
from broker.setup.wiring import Home
from schemas.hpke import Suite
from schemas.names import EventType, PartyId, Purpose

ADDRESS: Final = "1 place de l'Exemple, 00000 Exemple"
POLICY: Final = 1
"""Ed25519 alone."""


def settings_alone(folder: Path, **chosen: Any) -> Settings:
    """Everything that an environment could say of another home is said here. `chosen`: what this one is."""
    home = folder / "home"
    return load(
        home=home,
        database_url=f"sqlite+aiosqlite:///{home / 'unefois.db'}",
        keys_folder=home / "keys",
        log="sql",
        log_partitions=1,
        address=ADDRESS,
        signature_policy=POLICY,
        hpke_suite=Suite.X25519,
        **chosen,
    )


async def subscribe(
    home: Home,
    recipient: PartyId,
    event_type: EventType,
    purpose: Purpose,
    fields: Iterable[str],
    *,
    commune: str | None,
    legal: str,
) -> None:
    """An approved subscription; `commune`: it hears of that one alone. Raises Refused `subscribing.*`."""
    near = None if commune is None else frozenset({commune})
    async with home.store.begin() as tx:
        asked = await home.subscribing.ask(
            tx,
            home.entropy(16),
            recipient=recipient,
            event_type=event_type,
            purpose=purpose,
            fields=frozenset(fields),
            territories=near,
        )
        await home.subscribing.approve(tx, asked.id, legal, home.clock())
