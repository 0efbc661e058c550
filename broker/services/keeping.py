"""Keeping: what an operator does to keep a home in order: epoch keys, the clock, dead letters, what is over.

Refuses: what the parts refuse that do it.
Keeps: nothing of its own.
"""

import secrets
from collections.abc import Mapping, Sequence

from broker.ended import Ended, Mark
from broker.epochs.epochs import ConsentEpoch, GateEpoch
from broker.flow.deadletters import DeadLetter
from broker.keys.file import FileKeys
from broker.maintenance.checks.finding import Finding
from broker.maintenance.completing import Completed
from broker.ports import KeyKind
from broker.settings.choices import Settings
from broker.setup.opening import catch_up, open_unchecked
from broker.setup.wiring import Home
from broker.store import migrate
from broker.timekeeping import Standing
from schemas.names import Kid, Reason

DAY_MS = 86_400_000


async def epochs(home: Home) -> tuple[Sequence[GateEpoch], Sequence[ConsentEpoch]]:
    """Every epoch of the gate (what sources seal to) and of the consents (what wraps their keys)."""
    return await home.epochs.gate_epochs(), await home.epochs.consent_epochs()


async def rotate_gate(home: Home, overlap_days: int | None = None) -> Kid:
    """Sources seal to a new key from now on; the old one stays good for `overlap_days`, else for the setting
    `gate_overlap_days`. Raises Refused `clock.*`.
    """
    days = home.settings.gate_overlap_days if overlap_days is None else overlap_days
    return await home.epochs.open_gate(home.settings.hpke_suite, days * DAY_MS)


async def rotate_consents(home: Home) -> int:
    """Wrap every living consent key anew, destroy the older epoch keys. Returns how many. Raises Refused `clock.*`."""
    return await home.epochs.rotate_consent()


async def destroy_gate(home: Home, kid: Kid) -> None:
    """Destroy a closed key of the gate, for ever. Raises Refused: `epochs.*`, `clock.*`."""
    await home.epochs.destroy_gate(kid)


async def unknown_keys(home: Home) -> list[tuple[KeyKind, str]]:
    """Epoch keys that the database does not know."""
    return list(await home.epochs.unknown())


async def destroy_unknown(home: Home, name: str) -> KeyKind:
    """Destroy one of them, for ever. Returns its kind. Raises Refused `epochs.unknown`."""
    return await home.epochs.destroy_unknown(name)


async def clock(home: Home) -> Standing:
    """What this machine's clock says, and the last instant that the database knows."""
    return await home.timekeeping.look()


async def accept_clock(home: Home) -> tuple[Standing, Standing]:
    """Say that this machine's clock is right. Returns how it was and how it is."""
    return await home.timekeeping.accept(), await home.timekeeping.look()


async def dead_letters(home: Home, *, replayed: bool, limit: int) -> list[DeadLetter]:
    """What could not be routed or delivered, oldest first."""
    return list(await home.dead_letters.list(replayed=replayed, limit=limit))


async def dead_letter(home: Home, number: int) -> DeadLetter:
    """One of them. Raises Refused `deadletters.unknown`."""
    return await home.dead_letters.show(number)


async def replay(home: Home, number: int) -> Reason | None:
    """Try it again, under the consent of today: None, it is on its way, or why it was withheld. Raises Refused
    `deadletters.*`.
    """
    return await home.dead_letters.replay(number)


async def to_prune(home: Home) -> Mapping[str, int]:
    """How many rows of each table have served their time."""
    return (await home.pruning.look()).rows


async def prune(home: Home) -> Mapping[str, int]:
    """Take them away, pass after pass until nothing waits. Returns how many of each table."""
    rows: dict[str, int] = {}
    while True:
        done = await home.pruning.prune()
        rows = {name: rows.get(name, 0) + count for name, count in done.rows.items()}
        if not done.more:
            return rows


async def check(home: Home, *, full: bool) -> Sequence[Finding]:
    """What is wrong with the state of this home. `full`: open and verify again what was clean and has not changed."""
    return (await home.fsck.look(full=full)).findings


async def endings(home: Home) -> tuple[Ended, Mark | None]:
    """The journal of what has ended, and how far the ledger was signed. Raises Unavailable, Corrupt `endings.*`."""
    return await home.endings.look(), await home.endings.marked()


async def replay_endings(settings: Settings) -> list[Completed]:
    """End in the database of these settings what the journal says has ended, and look at all of it.

    Raises Refused: `keys.*`, `store.*`. Raises Unavailable, Corrupt `endings.*`.
    """
    async with open_unchecked(settings) as home:
        await migrate.check(home.store)
        return await catch_up(home, all_of_it=True)


def lock_keys(settings: Settings, old: str | None, new: str) -> int:
    """Lock the key store with another passphrase; `old`: None where it has none. Returns how many keys it holds.

    Raises Refused `keys.in-use` while a process of the home runs, and what opening the key store refuses.
    """
    return FileKeys.change_passphrase(settings.keys_folder, secrets.token_bytes, old, new)
