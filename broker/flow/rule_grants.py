"""Rule grants: where a rule by law first concerns a citizen, it becomes that citizen's own grant, in the router's
transaction.

Refuses: nothing; a rule that does not act, or that the citizen objects to, makes no grant.
Keeps: at most one living grant for each rule and citizen (the router holds the citizen's lock alone, and the index
`one_grant_under_a_rule` holds it against everybody else); each has its key, its history and its ledger entry as a
consent has. Until it is needed a rule costs no row.
"""

from collections.abc import Sequence

from broker.directory.lookup import Lookup
from broker.ended import Ended
from broker.epochs import epochs
from broker.flow.objected import Objection, allowing
from broker.flow.planner import Known, Standing
from broker.keys.keyring import Keyring
from broker.ledger.recorder import Recorder
from broker.people import protection
from broker.ports import Entropy
from broker.store.engine import Transaction
from broker.store.rows.seals import RowReader
from consent import keyring as wrapping
from consent import registry
from consent.grant import Grant
from consent.policy import SubscriptionStatus
from consent.rows import digest_of
from consent.rules import Rule, grant_under, missing
from schemas.catalogue import Catalogue
from schemas.facts import FactKind
from schemas.names import GrantId, Instant, RuleId, SubjectRef, uuid7


class RuleGrants:
    """Makes them. Asked by the router, before it plans a batch."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        lookup: Lookup,
        keyring: Keyring,
        recorder: Recorder,
        rows: RowReader,
        entropy: Entropy,
    ) -> None:
        self._catalogue = catalogue
        self._lookup = lookup
        self._keyring = keyring
        self._recorder = recorder
        self._rows = rows
        self._entropy = entropy

    async def prepare(self, tx: Transaction, rules: Sequence[Rule], at: Instant) -> list[Rule]:
        """Those of these rules that act now. Where there are any, the lock of the epochs is taken, which comes before
        those of citizens: a grant may have to be made.
        """
        acting = [rule for rule in rules if rule.acts(at)]
        if acting:
            await tx.lock_shared([epochs.LOCK])
        return acting

    async def make(
        self, tx: Transaction, rules: Sequence[Rule], waiting: Sequence[Known], standing: Standing, at: Instant
    ) -> None:
        """Give each citizen that something here is about the grants that these rules make, and put them into
        `standing`, whose citizens' locks the caller holds alone.
        """
        wanted: dict[SubjectRef, dict[RuleId, Rule]] = {}
        for known in waiting:
            for rule in await self._concerned(tx, rules, known, standing.ended, at):
                wanted.setdefault(standing.kin.first(known.subject), {})[rule.id] = rule
        new = [
            self._grant(subject, rule, standing.objected.get(subject, {}).get(rule.id), at)
            for subject, theirs in wanted.items()
            for rule in allowing(
                missing(theirs.values(), standing.grants[subject].values()), standing.objected.get(subject, {})
            )
        ]
        if not new:
            return
        epoch, epoch_key = await epochs.newest_consent(tx, self._rows, self._keyring.consent_epochs())
        made: list[tuple[Grant, bytes, bytes]] = []
        for grant in new:
            key, digest = self._entropy(wrapping.KEY_BYTES), digest_of(grant)
            bound, kept = wrapping.Bound(grant.id, digest, epoch), wrapping.Kept(key, grant.expires_at)
            wrapped = wrapping.wrap(kept, bound, epoch_key, self._entropy(wrapping.NONCE_BYTES))
            made.append((grant, digest, wrapped))
            standing.add(grant, key)
            self._recorder.grant(tx, FactKind.GRANTED, grant, at, digest=digest)
        await registry.add_all(tx.conn, made, epoch)
        # Crash here: the batch is gone, and with it these grants; the next router makes others.

    async def _concerned(
        self, tx: Transaction, rules: Sequence[Rule], known: Known, ended: Ended, at: Instant
    ) -> list[Rule]:
        """The rules under which a subscription hears of this declaration, as far as they reach back, and as far as
        their own territories go; none of those that the citizen is protected from.
        """
        manifest, places = known.verified.manifest, known.verified.signed.slip.territories
        event, hears = self._catalogue.by_id(manifest.schema), await self._lookup.hears(tx)
        theirs = protection.standing(ended, known.subject, at)
        heard = {
            (one.recipient, one.purpose)
            for one in await self._lookup.candidates(tx, manifest.event_type, places)
            if one.status is SubscriptionStatus.APPROVED
            and not (theirs is not None and theirs.hides_from(one.recipient, hears.get(one.recipient, frozenset())))
        }
        return [
            rule
            for rule in rules
            if (rule.recipient, rule.purpose) in heard
            and (not event.uses_territories or rule.reaches(places))
            and (known.reach is None or (rule.acts_from or at) <= known.reach)
        ]

    def _grant(self, subject: SubjectRef, rule: Rule, before: Objection | None, at: Instant) -> Grant:
        return grant_under(
            rule,
            subject,
            schema=self._catalogue.by_type(rule.event_type).schema.id,
            grant_id=GrantId(uuid7(at, self._entropy(10))),
            at=at,
            since=None if before is None else before.withdrawn_at,
        )
