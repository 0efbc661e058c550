"""Rule reach: what a rule by law says of a delivery that was planned under it, at the moment when it is to be opened.

Refuses: what the rule does not allow at this instant: it has ended, or was narrowed since the delivery was planned, in
fields or in territories.
Keeps: the answer is the rule's, as the rows and the journal of endings tell it now, and not the grant's: the grants
under a rule are narrowed and closed one by one afterwards (`broker.consents.objections`).
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from sqlalchemy import select

from broker.flow.deliveries import Delivery
from broker.store.engine import Transaction
from broker.store.rows.macs import RowMacs
from broker.store.tables import declarations
from consent.grant import Grant
from consent.rules import Rule, RuleStatus
from schemas.envelope import SignedDeclaration
from schemas.names import GrantId, Instant, Reason, RuleId

Places = Mapping[int, tuple[str, ...]]
"""The places that declarations name, by their numbers."""
_NOWHERE: Final = ()


async def places_of(
    tx: Transaction,
    macs: RowMacs,
    wanted: Iterable[Delivery],
    grants: Mapping[GrantId, Grant],
    rules: Mapping[RuleId, Rule],
) -> Places:
    """Where the declarations are about of those of these deliveries that are under a rule with territories of its own.
    Nothing is asked where there is none.
    """
    bounded = {one.id for one in rules.values() if one.territories is not None}
    if not bounded:
        return {}
    under = {one.declaration for one in wanted if (grant := grants.get(one.grant_id)) and grant.rule in bounded}
    if not under:
        return {}
    rows = await tx.execute(select(declarations).where(declarations.c.seq.in_(sorted(under))))
    return {
        row.seq: SignedDeclaration.decode(row.envelope).slip.territories for row in macs.valid(declarations.name, rows)
    }


def why_not(
    rule: Rule | None, delivery: Delivery, names: Collection[str], places: Places, at: Instant, *, by_place: bool
) -> Reason | None:
    """Why a delivery of these fields must stay closed under its rule, or None.

    `by_place`: whether declarations of its type name places. Of a correction they are not asked: who was told wrong
    must be told right.
    """
    if rule is None:  # its row lost its seal
        return Reason.UNSOUND
    theirs = (rule.recipient, rule.event_type, rule.purpose)
    if theirs != (delivery.recipient, delivery.event_type, delivery.purpose):
        return Reason.UNSOUND
    if not rule.acts(at):
        over = rule.status is RuleStatus.APPROVED and rule.ends_at is not None and at >= rule.ends_at
        return Reason.EXPIRED if over else Reason.REVOKED
    if not rule.fields.issuperset(names):
        return Reason.NARROWED
    if by_place and delivery.root is None and not rule.reaches(places.get(delivery.declaration, _NOWHERE)):
        return Reason.TERRITORY
    return None
