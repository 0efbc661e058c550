"""Rules by law: asked for on an administration's behalf, approved by two, narrowed or ended by one; and objections.

Refuses: what `broker.flow.ruling` and `broker.consents.objections` refuse.
Keeps: one call is one transaction; what it answers was read after that one was committed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from broker.consents.objections import Objected
from broker.directory.rules import rule_text
from broker.flow.objected import Objecting
from broker.setup.wiring import Home
from consent.rules import Rule, RuleStatus
from schemas.assurance import ANY, Least
from schemas.names import EventType, Instant, PartyId, Purpose, RuleId, SubjectRef, uuid7


async def ask(
    home: Home,
    *,
    recipient: PartyId,
    event_type: EventType,
    purpose: Purpose,
    fields: Iterable[str],
    article: str,
    objection: bool = True,
    begins_at: Instant | None = None,
    ends_at: Instant | None = None,
    territories: Iterable[str] | None = None,
    least: Least = ANY,
) -> Rule:
    """Write down that an administration asks to hear of everybody. `objection`: whether its text lets a citizen object;
    `territories` and `least`: the rule's own, within what its subscription asks for.

    Raises Refused: `rules.*`, `grant.article`, `purposes.*`, `areas.*`, `catalogue.unknown-type`,
    `directory.unknown-party`.
    """
    at = home.clock()
    asked = Rule(
        id=RuleId(uuid7(at, home.entropy(10))),
        recipient=recipient,
        event_type=event_type,
        purpose=purpose,
        fields=frozenset(fields),
        article=article,
        objection=objection,
        status=RuleStatus.ASKED,
        asked_at=at,
        begins_at=begins_at,
        ends_at=ends_at,
        territories=frozenset(territories) if territories else None,
        least=least,
    )
    async with home.store.begin() as tx:
        return await home.ruling.ask(tx, asked)


async def approve(home: Home, rule: RuleId) -> Rule:
    """Let it act, `rule_delay_hours` from now. Raises Refused `rules.*`."""
    async with home.store.begin() as tx:
        return await home.ruling.approve(tx, rule, home.clock())


async def narrow(
    home: Home,
    rule: RuleId,
    *,
    fields: Iterable[str] | None = None,
    territories: Iterable[str] | None = None,
    ends_at: Instant | None = None,
) -> Rule:
    """It allows less, from this commit on; upkeep narrows the citizens' grants under it one by one.

    Raises Refused `rules.*`, `areas.*`.
    """
    async with home.store.begin() as tx:
        return await home.ruling.narrow(
            tx,
            rule,
            home.clock(),
            fields=frozenset(fields) if fields else None,
            territories=frozenset(territories) if territories else None,
            ends_at=ends_at,
        )


async def end(home: Home, rule: RuleId) -> Rule:
    """It allows nothing more, from this commit on; upkeep closes the citizens' grants under it one by one.

    Raises Refused: `rules.unknown`, `rules.ended`.
    """
    async with home.store.begin() as tx:
        return await home.ruling.end(tx, rule, home.clock())


async def every(home: Home) -> list[Rule]:
    """Every rule: asked for, approved, ended; the oldest first."""
    async with home.store.read() as tx:
        return list((await home.lookup.rules(tx)).values())


@dataclass(frozen=True, slots=True)
class Published:
    """A rule as everybody may see it, with its recipient's name. `approved` and `ended` are the exact texts whose
    SHA-256 the open entries of the ledger commit to: `rule_approved`, or the last `rule_narrowed`, and `rule_ended`;
    None: it has not ended.
    """

    rule: Rule
    name: str
    approved: str
    ended: str | None


async def published(home: Home) -> list[Published]:
    """Every rule that was ever approved, the oldest first."""
    async with home.store.read() as tx:
        decided = [one for one in (await home.lookup.rules(tx)).values() if one.approved_at is not None]
        recipients = {one.recipient for one in decided}
        names = {one: (await home.lookup.party(tx, one)).name for one in recipients}
    return [_published(one, names[one.recipient]) for one in decided]


def _published(rule: Rule, name: str) -> Published:
    approved = rule_text(replace(rule, status=RuleStatus.APPROVED, ended_at=None))
    return Published(rule, name, approved, rule_text(rule) if rule.status is RuleStatus.ENDED else None)


async def object_to(home: Home, subject: SubjectRef, rule: RuleId, *, reason: str, given_by: str) -> Objected:
    """From now on nothing of this citizen goes out under this rule. Raises Refused `rules.*`, `objections.*`."""
    return await home.objections.object(subject, rule, reason=reason, given_by=given_by)


async def withdraw_objection(home: Home, subject: SubjectRef, rule: RuleId, *, given_by: str) -> Objected:
    """The rule counts again for this citizen, for what comes. Raises Refused `rules.*`, `objections.*`."""
    return await home.objections.withdraw(subject, rule, given_by=given_by)


async def objections(home: Home, subject: SubjectRef) -> list[Objecting]:
    """Every objection of one citizen, withdrawn ones too."""
    return await home.objections.of(subject)
