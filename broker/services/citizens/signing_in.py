"""Signing in: a citizen comes in, is known on every page, sees their sessions, and goes.

    begin ──► FranceConnect ──► finish ─┐
    with_code ──────────────────────────┼──► SignedIn: the token goes into the cookie, or to the portal
    nonce ──► the portal ──► forwarded ─┘
    current(token) ──► Citizen, for every service in `broker.services.citizens`

How pages call it: the cookie `__Host-session` (Secure, HttpOnly, SameSite=Lax, Path=/) holds `SignedIn.token` and
nothing else. Each request asks `current(home, cookie)`: Refused `citizens.signed-out`, `citizens.session-over` lead to
the page that signs in. A sign-in hands the cookie of before over as `replaces`: that session ends in the same
transaction, so that nobody goes on under a token that somebody else may have planted. `begin` gives the address to go
to and what the cookie `__Host-attempt` (the same attributes, Max-Age 600) carries there and back; CALLBACK hands that
and its query to `finish`, takes the cookie away, and goes on to `SignedIn.returns_to`. For an act that needs more
(`broker.citizens.levels`) it is `begin(least=...)` once more: the same account comes back, known for surer. `sign_out`
gives the address at FranceConnect to which the browser goes next, or None; from there it comes to GOODBYE.
How the portals' API calls it: the same with `credential`, the id of what the portal proved itself with (an API token's
id, a client key's thumbprint); a session is of no use to another one. `nonce` is what the portal sends to FranceConnect
as its own, `forwarded` takes what came of it.

Refuses: what `broker.citizens` refuses; another person's session, as unknown.
Keeps: nothing of a person in a refusal, a line of the log, an address.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final

from broker.access.franceconnect import ATTEMPT_MS
from broker.access.identity_tokens import Door, Proven
from broker.access.tallies import Tally
from broker.citizens import codes
from broker.citizens.carried import Carried
from broker.citizens.citizen import Citizen, Helper
from broker.citizens.sealed import Private
from broker.citizens.sessions import Found, Opening, Shown, Way
from broker.setup.wiring import Home
from broker.store.engine import Transaction
from schemas.assurance import Assurance
from schemas.errors import Refused, Unavailable
from schemas.messages import Language
from schemas.names import Instant, PartyId, SubjectRef

CALLBACK: Final = "/espace/connexion/retour"
"""Where FranceConnect sends the browser back to, below `citizen_url`."""
GOODBYE: Final = "/espace/connexion/fin"
HOME: Final = "/espace"
AIDANTS_CONNECT: Final = "aidants-connect"
"""Who helps, where it is not told which agent it is."""

_LEVELS: Final = {"eidas1": Assurance.LOW, "eidas2": Assurance.SUBSTANTIAL, "eidas3": Assurance.HIGH}
_ASKED: Final = {
    Assurance.COUNTER: "eidas2",
    **{assurance: level for level, assurance in _LEVELS.items()},
}
_OURS: Final = re.compile(r"/[a-z0-9][A-Za-z0-9/_-]{0,200}")
_SPENT: Final = b"unefois/citizen-attempt-used/v1\x00"


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that has begun. `url`: where the browser goes; `attempt`: what its cookie carries."""

    url: str = field(repr=False)
    attempt: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody came in. `token`: 43 characters, for the citizen's browser or portal alone; `returns_to`: a path of our
    own pages.

    `renamed`: FranceConnect knows them by other facts than last time, which nobody has joined with those of before
    (docs/adr/0051): what they did under the other name is not shown until an operator has seen the act.
    """

    token: str = field(repr=False)
    citizen: Citizen
    returns_to: str = HOME
    renamed: bool = False


async def begin(home: Home, *, language: Language, least: Assurance = Assurance.LOW, returns_to: str = HOME) -> Begun:
    """Begin to sign in with FranceConnect, or with FranceConnect+ where `least` is above LOW or the other is not there.

    `returns_to`: a path of our own pages; anything else leads to HOME. Raises Refused `franceconnect.not-configured`,
    `franceconnect.provider`, `outbound.*`; Unavailable: it is away, and a code from a counter is the other way in.
    """
    asked = _ASKED.get(least, "eidas1")
    door = Door.FRANCECONNECT
    if asked not in door.levels or (door not in home.franceconnect.doors and Door.PLUS in home.franceconnect.doors):
        door, asked = Door.PLUS, max(asked, "eidas2")
    url, attempt = await home.franceconnect.begin(door, asked, _redirect(home, CALLBACK), home.clock())
    path = returns_to if _OURS.fullmatch(returns_to) else HOME
    return Begun(url, home.carrying.seal(Carried(attempt, path, language)))


async def finish(home: Home, attempt: str, answer: Mapping[str, str], *, replaces: str | None = None) -> SignedIn:
    """Come in with what the browser brought back. `attempt`: its cookie; `answer`: the query, each name once;
    `replaces`: the session's cookie of before, if there is one.

    Raises Refused: `franceconnect.attempt` (another browser's, used, too late), `.cancelled`, `.refused`, `.token`,
    `.level`, `.identity`, `.provider`, `identity.*`, `outbound.*`; Unavailable: FranceConnect is away, begin again.
    """
    at, carried = home.clock(), home.carrying.open(attempt)
    came = home.franceconnect.answered(carried.attempt, answer, at)
    used = sha256(_SPENT + carried.attempt.state.encode()).digest()
    if not await home.endings.spend(used, Instant(carried.attempt.begun_at + ATTEMPT_MS), at):
        raise Refused("franceconnect.attempt", wrong="used")
    # Crash here: the attempt is used and nobody is signed in; the citizen begins again.
    proven = await home.franceconnect.finish(came, _redirect(home, CALLBACK), at)
    opening, renamed = await _opening(home, proven, carried.language)
    async with home.store.begin() as tx:
        token, citizen = await _enter(home, tx, opening, replaces, home.clock())
    return SignedIn(token, citizen, carried.returns_to, renamed)


def nonce(home: Home, portal: PartyId, credential: bytes) -> tuple[str, Instant]:
    """What a portal sends to FranceConnect as its nonce, for one sign-in, and until when it counts.

    Raises Refused `citizens.no-client`.
    """
    return home.forwarding.nonce(portal, credential, home.clock())


async def forwarded(
    home: Home, portal: PartyId, credential: bytes, *, id_token: str, userinfo: str, nonce: str, language: Language
) -> SignedIn:
    """Come in through a portal, with what FranceConnect has signed for it: both as signed JWTs (a portal for which they
    are encrypted decrypts them first).

    Raises Refused: `citizens.nonce`, `citizens.no-client`, `citizens.portal-limit`, `franceconnect.token`,
    `.level`, `.identity`, `.provider`, `identity.*`, `outbound.*`; Unavailable.
    """
    proven = await home.forwarding.proven(
        portal, credential, id_token=id_token, userinfo=userinfo, nonce=nonce, at=home.clock()
    )
    opening, renamed = await _opening(home, proven, language)
    mine = replace(opening, private=replace(opening.private, id_token=None), portal=portal, credential=credential)
    async with home.store.begin() as tx:
        token, citizen = await _enter(home, tx, mine, None, home.clock())
    return SignedIn(token, citizen, renamed=renamed)


async def with_code(
    home: Home, typed: str, *, language: Language, address: str, replaces: str | None = None
) -> SignedIn:
    """Come in with a code from a counter. `address`: the client's, as quotas count it; `replaces`: the token of before.

    Raises Refused: `citizens.code-form`, `citizens.code` (never given, used or too old: the same words),
    `citizens.too-many-attempts`; Unavailable.
    """
    code = codes.read(typed)
    await home.attempts.begin(Tally.CODES, address)
    async with home.store.read() as tx:
        waiting = await home.codes.find(tx, code, home.clock())
    await home.attempts.right(Tally.CODES, address)
    private = await asyncio.to_thread(home.codes.opened, code, waiting)
    async with home.store.begin() as tx:
        at = home.clock()
        used = await home.codes.use(tx, code, at)
        opening = Opening(
            subject=used.subject, private=private, way=Way.CODE, assurance=Assurance.LOW, language=language
        )
        token, citizen = await _enter(home, tx, opening, replaces, at)
    return SignedIn(token, citizen)


async def current(home: Home, token: str, *, credential: bytes | None = None) -> Citizen:
    """Whose a token is, and that it was used now.

    Raises Refused `citizens.signed-out`, `citizens.session-over`; Unavailable; Corrupt.
    """
    found = await _find(home, token, credential)
    if found.stale:
        with suppress(Unavailable):  # it ends a little sooner, and keeps nobody out
            async with home.store.begin() as tx:
                await home.sessions.touch(tx, found, home.clock())
    return found.citizen


async def sessions(home: Home, citizen: Citizen) -> list[Shown]:
    """Every session of this citizen's that stands, the newest first; `citizen.session` is the id of this one."""
    async with home.store.read() as tx:
        return await home.sessions.of(tx, await _references(home, tx, citizen), home.clock())


async def end(home: Home, citizen: Citizen, session: bytes) -> None:
    """End one of the citizen's own, this one too. Raises Refused `citizens.session-unknown`."""
    async with home.store.begin() as tx:
        await home.sessions.end_own(tx, session, await _references(home, tx, citizen), home.clock())


async def end_others(home: Home, citizen: Citizen) -> int:
    """End all of the citizen's but this one. Returns how many."""
    async with home.store.begin() as tx:
        theirs = await _references(home, tx, citizen)
        return await home.sessions.end_all(tx, theirs, home.clock(), but=citizen.session)


async def sign_out(home: Home, token: str, *, credential: bytes | None = None) -> str | None:
    """End the session of this token; one that is over already stays over. Returns where the browser goes to be signed
    out of FranceConnect, too; None where nobody came by it.
    """
    try:
        found = await _find(home, token, credential)
    except Refused:
        return None
    async with home.store.begin() as tx:
        await home.sessions.end(tx, found.citizen.session, home.clock())
    if found.id_token is None or home.settings.citizen_url is None:
        return None
    return await home.franceconnect.logout_url(Door(found.way.value), found.id_token, _redirect(home, GOODBYE))


async def _opening(home: Home, proven: Proven, language: Language) -> tuple[Opening, bool]:
    """Whose account it is, and whether they are known by another name since."""
    today = await home.contact.reference(proven.identity)
    alias = home.accounts.alias(proven.issuer, proven.client, proven.sub)
    async with home.store.begin() as tx:
        kin = await home.lookup.kin(tx, [today], home.clock())
        account = await home.accounts.of(tx, alias, today, kin, home.clock())
    # Crash here: the identifier is known, and nobody is signed in; the citizen signs in again.
    helper = None if proven.scopes is None else Helper(proven.agent or AIDANTS_CONNECT, proven.scopes)
    opening = Opening(
        subject=account.subject,
        private=Private(proven.identity, helper, proven.id_token),
        way=Way(proven.door.value),
        assurance=_LEVELS[proven.acr],
        language=language,
    )
    return opening, account.renamed


def _redirect(home: Home, path: str) -> str:
    """One of our pages, as it is registered at FranceConnect. Raises Refused `franceconnect.not-configured`."""
    if home.settings.citizen_url is None:
        raise Refused("franceconnect.not-configured", door="citizen_url")
    return home.settings.citizen_url + path


async def _enter(
    home: Home, tx: Transaction, opening: Opening, replaces: str | None, at: Instant
) -> tuple[str, Citizen]:
    """Open a session; the one of before ends in the same transaction, whoever it was of."""
    before = None
    if replaces is not None:
        with suppress(Refused):
            before = await home.sessions.find(tx, replaces, at, opening.credential)
    if before is None:
        return await home.sessions.open(tx, opening, at)
    return await home.sessions.rotate(tx, before, opening, at)


async def _find(home: Home, token: str, credential: bytes | None) -> Found:
    async with home.store.read_one() as tx:
        return await home.sessions.find(tx, token, home.clock(), credential)


async def _references(home: Home, tx: Transaction, citizen: Citizen) -> tuple[SubjectRef, ...]:
    return (await home.lookup.kin(tx, [citizen.subject], home.clock())).of(citizen.subject)
