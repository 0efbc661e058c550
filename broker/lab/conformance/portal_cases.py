"""Cases of a portal: it forwards what FranceConnect has signed, shows what counts, believes no other browser, and
leaves nothing behind.

Refuses: nothing; each case writes down what it finds.
Keeps: a case asks for one thing, told in its words.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from broker.lab.conformance.portal import SESSIONS, PortalTrial
from broker.lab.franceconnect.people import PEOPLE
from broker.people.pivot import PivotIdentity
from broker.services.citizens.granted import book, grant_shape
from consent import registry

Case = Callable[[PortalTrial], Awaitable[None]]


async def sign_in(trial: PortalTrial) -> None:
    """The tokens come unchanged, with the broker's nonce: the session opens, and the whole way is gone."""
    await trial.whole()


async def nonce(trial: PortalTrial) -> None:
    """Each sign-in has a nonce of its own."""
    first, second = await trial.whole(), await trial.whole()
    if first.nonce is not None and first.nonce == second.nonce:
        trial.found("same-nonce")


async def text(trial: PortalTrial) -> None:
    """What is agreed to was shown, word for word."""
    went = await trial.whole()
    home = trial.play.home
    (told,) = [one.told for one in PEOPLE if one.key == "elise"]
    facts = {name: str(told[name]) for name in ("family_name", "birthdate", "gender", "birthplace", "birthcountry")}
    given = told["given_name_array"]
    names = tuple(map(str, given)) if isinstance(given, list) else ()
    subject = await home.contact.reference(PivotIdentity(given_names=names, **facts))
    grants = await home.consents.of(subject)
    if not grants:
        trial.found("no-consent")
        return
    async with home.store.read() as tx:
        first, *_ = await registry.history(tx.conn, grants[-1].id)
    shown = grant_shape(home, await book(home), first, "fr")["text"]
    if shown is None or shown.strip() not in went.shown.replace("\r", ""):
        trial.found("text-not-shown")


async def signs_out(trial: PortalTrial) -> None:
    """When the citizen leaves, their session ends."""
    await trial.whole()
    left = await trial.sessions()
    if left:
        trial.found("session-left", count=left)


async def another_browser(trial: PortalTrial) -> None:
    """A sign-in that comes back with another `state` is another browser's: nobody is signed in by it."""
    await trial.call(state="another-browsers-state")
    if trial.asked(SESSIONS):
        trial.found("believed-another-browser")


async def cancelled(trial: PortalTrial) -> None:
    """Who cancels at FranceConnect is not signed in, and nothing is declared."""
    await trial.call(person=None)
    if trial.asked(SESSIONS):
        trial.found("went-on-cancelled")


CASES: Final[Mapping[str, Case]] = {
    "portal-sign-in": sign_in,
    "portal-nonce": nonce,
    "portal-text": text,
    "portal-signs-out": signs_out,
    "portal-another-browser": another_browser,
    "portal-cancelled": cancelled,
}
