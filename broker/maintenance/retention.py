"""Retention: for each table what makes it grow, how long a row stays, and who takes it away.

Refuses: nothing; it is what the page for operators shows, and what a test holds against the tables that there are.
Keeps: a table without a line here fails that test, so nothing can begin to grow without somebody having said how long.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kept:
    """One table, in words."""

    grows: str
    stays: str
    removes: str = "nobody"


_FEW: Final = "an operator's act"
_EVER: Final = "for ever: the ledger tells of it, and fsck compares"

KEPT: Final[Mapping[str, Kept]] = {
    "grants": Kept("a consent", _EVER),
    "grant_versions": Kept("a change of a consent", "for ever: it proves what was allowed and when"),
    "consent_keys": Kept("a consent", "until the consent ends", "the revocation, or upkeep at its end date"),
    "submissions": Kept(
        "a declaration", "as long as its declaration: the same id sent again gets the same receipt", "pruning"
    ),
    "declarations": Kept(
        "a declaration",
        "`declaration_retention_days`, and until its gate key is destroyed (`gate_retention_days`), all its deliveries"
        " have ended, no letter waits, and the same is true of its corrections; its sealed bytes until its citizen has"
        " them erased",
        "pruning",
    ),
    "deliveries": Kept(
        "a declaration and recipient",
        "the row as long as its declaration; its sealed bytes until `sealed_retention_days` after its end",
        "pruning",
    ),
    "withholdings": Kept(
        "a declaration and recipient that got nothing", "as long as its declaration", "the end of its declaration"
    ),
    "dead_letters": Kept("a failure", "while it waits; then `letter_retention_days` after its replay", "pruning"),
    "log_record": Kept(
        "a declaration", "until the router has read it, and `log_retention_days`; Kafka has its own", "pruning"
    ),
    "consumed": Kept("a partition", "for ever: one row each"),
    "ledger_entries": Kept("every fact", "for ever: it is the ledger"),
    "ledger_tiles": Kept("256 entries", "for ever: the proofs are made of them"),
    "ledger_openings": Kept(
        "a sealed entry", "`ledger_opening_days`, or until the citizen's are erased; then the entry is noise", "pruning"
    ),
    "ledger_erased": Kept(
        "an entry that nobody can open any more", "for ever: it says that its opening is not missing"
    ),
    "ledger_erasures": Kept("an erasure", "for ever: its entry is checked with it"),
    "first_ledger": Kept("a fact of the first format", "for ever: this home's own checks rest on it"),
    "ledger_checkpoints": Kept(
        "a batch of entries",
        "`checkpoint_retention_days`, the newest always; any root follows from the tiles",
        "pruning",
    ),
    "cosignatures": Kept(
        "a checkpoint and witness", "the newest 100 of each, and those of the newest witnessed one", "the next one"
    ),
    "parties": Kept(_FEW, _EVER),
    "signing_keys": Kept(_FEW, "for ever: old signatures are verified with them"),
    "sealing_keys": Kept(_FEW, _EVER),
    "publishing_rights": Kept(_FEW, _EVER),
    "signature_policies": Kept(_FEW, _EVER),
    "directory_notes": Kept("a version of the directory that somebody asked for", "for ever: pins follow them"),
    "subscriptions": Kept(_FEW, _EVER),
    "rules": Kept(_FEW, _EVER),
    "purposes": Kept(_FEW, _EVER),
    "reference_links": Kept(
        "another spelling, or another name, of a citizen", "for ever: it says whose the records of before are"
    ),
    "objections": Kept("an objection of a citizen to a rule", "for ever: it says why nothing went out"),
    "repairs": Kept(
        "a number that a person adds where they were not found, without the number",
        "as long as its declaration",
        "the end of its declaration",
    ),
    "retractions": Kept("a declaration that is taken back, or stopped", "for ever: it says why nothing went out"),
    "representations": Kept("a person who may act for another", "for ever: it says on which ground something was said"),
    "acted_for": Kept(
        "a declaration that somebody made for another", "as long as its declaration", "the end of its declaration"
    ),
    "households": Kept(
        "an adult of a household who has still to confirm", "`message_retention_days` after it ended", "pruning"
    ),
    "channels": Kept(
        "an address at which a citizen is told",
        "until `message_retention_days` after the citizen ended it, or until they have it erased",
        "pruning",
    ),
    "messages": Kept("a piece of news and a channel", "`message_retention_days`", "pruning"),
    "citizen_sessions": Kept(
        "a citizen's sign-in", "until it ends, at the latest 12 hours later", "its end, or pruning"
    ),
    "citizen_accounts": Kept(
        "an identifier by which a provider knows a citizen", "until the citizen has it erased", "the erasure"
    ),
    "citizen_codes": Kept("a code that a counter gives", "72 hours, or until it is used", "its use, or pruning"),
    "tallies": Kept("a wrong code, or a portal that is at work", "an hour at most: the end of its window", "pruning"),
    "citizen_drafts": Kept(
        "what a citizen has begun to type", "72 hours after it was last written, or until it is declared", "pruning"
    ),
    "told_already": Kept(
        "a declaration of a citizen who has signed in",
        "as long as its declaration; a keyed digest, without its content",
        "the end of its declaration",
    ),
    "paused_subscriptions": Kept(
        "a subscription that is paused", "until it goes on, or ends", "whoever resumes or ends it"
    ),
    "kept_answers": Kept("a request with an `Idempotency-Key`", "24 hours", "pruning"),
    "client_keys": Kept(_FEW, _EVER),
    "client_key_sets": Kept(_FEW, _EVER),
    "topic_users": Kept(_FEW, _EVER),
    "gate_epochs": Kept("a gate key, one a month", _EVER),
    "consent_epochs": Kept("a consent epoch, one a week", "for ever: a number is never used twice"),
    "api_tokens": Kept("a token that is issued", "`token_retention_days` after it expired", "pruning"),
    "webhooks": Kept(_FEW, _EVER),
    "operators": Kept("an account", _EVER),
    "approval_requests": Kept("an act that needs two persons", "for ever: it says who allowed what"),
    "operator_acts": Kept(
        "an act of somebody who has an account", "`ledger_opening_days`, as what opens its entry", "the erasure of that"
    ),
    "webhook_attempts": Kept("a message that is sent", "the newest 500 of each webhook", "the next one, or its end"),
    "webhook_notices": Kept("a webhook that is disabled", "until it is proven anew, or ended", "whoever does that"),
    "credential_uses": Kept(
        "a credential and an address that it is used from",
        "the newest 50 of each; those of a token as long as the token",
        "the next one, and the end of its token",
    ),
    "expiry_notices": Kept(
        "a key or token that is about to end", "until it has ended, or something outlasts it", "the next letters"
    ),
    "meta": Kept(
        "a router process, an agency hosted and told here",
        "until it is not heard of for four seconds",
        "the other routers",
    ),
}
