"""Approvals: acts that take two persons: asked for by the first who does them, allowed by a second, done by the first.

    the act ──► no request stands: asked, and refused for now ──another approves──► the same act again: done, once

Refuses: a yes by whoever asked; an act that differs in one word from what was approved; to be done twice.
Keeps: whoever restores has no database to ask in: the yes is a file, signed over the backup's manifest, and checked
against what the journal of endings says of accounts.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from broker.access import roles
from broker.access.operators import Account
from broker.access.requests import Request, State, canonical, message, name_of
from broker.access.roles import Role
from broker.ledger.acting import ACTING, Acting, Signer
from broker.setup.wiring import Home
from broker.store.engine import Transaction
from schemas.errors import Corrupt, Refused
from schemas.names import Instant, OperatorName
from schemas.signing import Algorithm, verify

_STEP: Final = 512
"""What is sealed is as long as a multiple of this: its length tells little."""
OF_FILE: Final = b"unefois restore!"
"""The id of a request that is a file; as long as the others."""
FILE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Listed:
    """A request, and whether it waits: it can still be approved, or done."""

    request: Request
    waits: bool


async def demand(home: Home, one: Acting, arguments: Mapping[str, Any]) -> None:
    """Let an act go on only if another person has approved just this; else ask for it.

    Raises Refused `approvals.asked`, with the request's id.
    """
    if not home.settings.four_eyes or one.by is None or not roles.needs_two(one.act, arguments):
        return
    wanted, at = canonical(one.act, _kept(home, one.act, arguments)), home.clock()
    lasts = home.settings.approval_hours * 3_600_000
    async with home.store.begin() as tx:
        living = await home.operators.living(tx)
        request = await home.requests.ask(tx, one.by.name, wanted, at, lasts)
        if request.state is State.APPROVED:
            by = _approver(living, request)
            one.request = _told(request, by)
            one.use = partial(_use, home, request.id)
            return
    raise Refused("approvals.asked", id=name_of(request.id), act=one.act)


def _kept(home: Home, act: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """As the request's row has them: of what nobody may read there, sealed, the same for the same."""
    if act not in roles.SEALED:
        return arguments
    raw = json.dumps(dict(arguments), sort_keys=True, ensure_ascii=False).encode()
    return {"sealed": AESSIV(_sealing(home)).encrypt(raw.ljust(-(-len(raw) // _STEP) * _STEP), [act.encode()]).hex()}


def shown(home: Home, request: Request) -> Mapping[str, Any]:
    """What somebody is asked to approve, in clear. Raises Corrupt `approvals.damaged`."""
    told = request.told
    sealed: str | None = told["arguments"].get("sealed") if told["act"] in roles.SEALED else None
    if sealed is None:
        arguments: Mapping[str, Any] = told["arguments"]
        return arguments
    try:
        opened = AESSIV(_sealing(home)).decrypt(bytes.fromhex(sealed), [told["act"].encode()])
        found: Mapping[str, Any] = json.loads(opened)
    except (InvalidTag, ValueError):
        raise Corrupt("approvals.damaged", id=name_of(request.id)) from None
    return found


def _sealing(home: Home) -> bytes:
    """64 bytes that the database does not hold: equal for equal requests, so that the second act finds the first."""
    return home.macs.asked(["approvals/sealed/1"]) + home.macs.asked(["approvals/sealed/2"])


async def _use(home: Home, request_id: bytes, tx: Transaction) -> None:
    await home.requests.use(tx, request_id, home.clock())


async def listed(home: Home, *, every: bool = False) -> list[Listed]:
    """What waits; `every`: what is over, too. Oldest first."""
    at = home.clock()
    async with home.store.read() as tx:
        found = [Listed(one, _waits(one, at)) for one in await home.requests.all(tx)]
    return [one for one in found if every or one.waits]


async def approve(home: Home, request_id: bytes, by: Signer) -> Request:
    """Say yes, signed. Raises as `Requests.approve`, and Refused `approvals.needs-key`."""
    if by.session is not None:
        raise Refused("approvals.needs-key")
    async with home.store.begin() as tx:
        await _say(home, tx, request_id)
        return await home.requests.approve(tx, request_id, by.name, by.sign, home.clock())


async def refuse(home: Home, request_id: bytes, by: Signer) -> Request:
    """Say no. Raises as `Requests.refuse`."""
    async with home.store.begin() as tx:
        await _say(home, tx, request_id)
        return await home.requests.refuse(tx, request_id, by.name, home.clock())


async def _say(home: Home, tx: Transaction, request_id: bytes) -> None:
    """Who decides, and of which request, in the decision's own transaction."""
    one = ACTING.get()
    if one is not None:
        one.request = {"id": name_of(request_id)}
        await home.recorder.act(tx, one)


def _waits(one: Request, at: Instant) -> bool:
    return one.state in (State.ASKED, State.APPROVED) and one.expires_at > at


def _approver(living: Iterable[Account], request: Request) -> Account:
    """Whoever said yes, who still may, and whose signature it is. Raises Refused `approvals.not-approved`."""
    signed = message(request.id, request.act, request.asked_by, request.expires_at)
    for one in living:
        if one.name != request.decided_by or one.name == request.asked_by or Role.APPROVER not in one.roles:
            continue
        if one.public is not None and verify(Algorithm.ED25519, one.public, request.signature or b"", signed):
            return one
    raise Refused("approvals.not-approved", id=name_of(request.id))


def _told(request: Request, by: Account) -> dict[str, Any]:
    """What the document of the act says of the yes."""
    return {
        "id": name_of(request.id),
        "act": sha256(request.act.encode()).hexdigest(),
        "by": by.name,
        "account": by.told(),
        "expires_at": request.expires_at,
        "signature": (request.signature or b"").hex(),
    }


# ── without a database: a restore ───────────────────────────────────────────────────────────────────────────────────


def restore_arguments(folder: Path, *, yes: bool, ledger_lost: bool) -> dict[str, Any]:
    """What a restore is, word for word: the backup by its manifest. Raises Refused `backup.no-manifest`."""
    from broker.services.backups import MANIFEST

    try:
        raw = (folder / MANIFEST).read_bytes()
    except OSError:
        raise Refused("backup.no-manifest", file=str(folder)) from None
    return {"manifest": sha256(raw).hexdigest(), "yes": yes, "ledger_lost": ledger_lost}


def sign_restore(arguments: Mapping[str, Any], by: Signer, for_whom: OperatorName, expires_at: Instant) -> bytes:
    """The yes as a file: whoever is named may restore just this, until then."""
    act = canonical("restore", arguments)
    signature = by.sign(message(OF_FILE, act, for_whom, expires_at))
    told = {"by": by.name, "for": for_whom, "expires_at": expires_at, "act": act, "signature": signature.hex()}
    return json.dumps(told, indent=2, ensure_ascii=False).encode()


def check_restore(
    raw: bytes | None, arguments: Mapping[str, Any], one: Acting, accounts: Iterable[Account], at: Instant
) -> None:
    """Take a yes to a restore into what is being done.

    Raises Refused `approvals.restore-alone` without one; `approvals.not-approved` where it is not one to just this.
    """
    if one.by is None:
        return
    if raw is None:
        raise Refused("approvals.restore-alone")
    try:
        told = json.loads(raw[:FILE_BYTES])
        request = Request(
            id=OF_FILE,
            act=canonical("restore", arguments),
            asked_by=one.by.name,
            asked_at=at,
            expires_at=Instant(int(told["expires_at"])),
            state=State.APPROVED,
            decided_by=OperatorName(told["by"]),
            decided_at=at,
            signature=bytes.fromhex(told["signature"]),
        )
    except (ValueError, KeyError, TypeError, Refused):
        raise Refused("approvals.not-approved", id="-") from None
    if request.expires_at <= at:
        raise Refused("approvals.expired")
    one.request = _told(request, _approver([each for each in accounts if each.ended_at is None], request))
