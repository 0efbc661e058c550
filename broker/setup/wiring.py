"""Wiring: the one composition root. It takes settings, clock and adapters, and makes each part of the machine of them.

Refuses: nothing of its own; a part whose secrets the key store does not give cannot be made (`keys.*`).
Keeps: a part is made when it is first asked for, so a process has no more parts, and reads no more secrets, than it
uses (`broker.setup.roles`). No part but these reads a setting, a clock or the system's randomness.
"""

import secrets
from collections.abc import Mapping
from functools import cache, cached_property, partial
from typing import Final

from broker.access.credentials import Credentials
from broker.access.forwarded import Forwarding
from broker.access.franceconnect import FranceConnect
from broker.access.idempotency import IdempotencyKeys
from broker.access.identity_tokens import Publications
from broker.access.keysets import KeySets
from broker.access.oauth import OAuth
from broker.access.operators import Operators
from broker.access.requests import Requests
from broker.access.tallies import Tallies
from broker.access.uses import Uses
from broker.citizens.accounts import Accounts
from broker.citizens.attempts import Attempts
from broker.citizens.carried import Carrying
from broker.citizens.codes import Codes
from broker.citizens.draft_seals import DraftSeals
from broker.citizens.drafts import Drafts
from broker.citizens.fingerprints import Fingerprints
from broker.citizens.sessions import Sessions
from broker.consents import local
from broker.consents.answering import Answering
from broker.consents.asking import (
    AskedConsents,
    AskedHolds,
    AskedLinks,
    AskedObjections,
    AskedReceipts,
    AskedRepairs,
    Asking,
    reference,
)
from broker.consents.changes import (
    ConsentChanges,
    HoldChanges,
    LinkChanges,
    ObjectionChanges,
    ReceiptSigner,
    RepairBegins,
)
from broker.consents.consents import Consents
from broker.consents.linking import Linking
from broker.consents.objections import Objections
from broker.consents.operations import Operations
from broker.consents.protecting import Protecting
from broker.consents.receipts import Receipts
from broker.consents.repairing import Repairing
from broker.consents.representing import Representing
from broker.directory.lookup import Lookup
from broker.directory.parties import Parties
from broker.directory.publication import Publication
from broker.directory.purposes import Purposing
from broker.directory.registrar import Registrar
from broker.directory.succession import Succession
from broker.ended import Endings
from broker.epochs.epochs import Epochs
from broker.flow.acting import ActingChecks
from broker.flow.contact import Contact
from broker.flow.deadletters import DeadLetters
from broker.flow.desk import Desk
from broker.flow.erased import Erased
from broker.flow.gate import Gate
from broker.flow.holds import HeldDeclarations
from broker.flow.hosted import HostedInbox
from broker.flow.households import Households
from broker.flow.intake import Intake
from broker.flow.mailbox import Mailbox
from broker.flow.planner import Planner
from broker.flow.repairs import Repairs
from broker.flow.retracting import Retracting
from broker.flow.retraction_notices import RetractionNotices
from broker.flow.router import Router
from broker.flow.rule_grants import RuleGrants
from broker.flow.ruling import Ruling
from broker.flow.subscribing import Subscribing
from broker.flow.tracking import Tracking
from broker.keys.keyring import Keyring
from broker.keys.pair import Pair
from broker.ledger import origins
from broker.ledger.erasing import Erasing
from broker.ledger.openings import Openings, StepReader
from broker.ledger.recorder import Recorder, Said
from broker.ledger.sequencer import Ledger
from broker.maintenance.checks.marks import Marks, MemoryMarks
from broker.maintenance.completing import Completion
from broker.maintenance.dpo_letters import DpoLetters
from broker.maintenance.expiry_letters import ExpiryLetters
from broker.maintenance.fsck import Fsck
from broker.maintenance.late import Late
from broker.maintenance.pruning import Pruning
from broker.maintenance.upkeep import Upkeep
from broker.messages.addresses import ChannelKind
from broker.messages.channels import Channels
from broker.messages.outbox import Outbox
from broker.messages.sealing import ChannelSeals
from broker.messages.sending import Sending
from broker.messages.ways import Way
from broker.outbound import Outbound
from broker.people import identity as identities
from broker.people.identity import Identity
from broker.ports import Clock, Entropy, KeyKind, KeyStore, Log
from broker.settings.choices import Settings
from broker.setup import parts
from broker.store.engine import Store
from broker.store.rows import macs as row_macs
from broker.store.rows import seals
from broker.store.rows.macs import RowMacs
from broker.store.rows.seals import RowSigner, RowVerifier
from broker.timekeeping import Timekeeping
from broker.topics.inlet import Inlet
from broker.topics.relay import Relay
from broker.topics.served import TopicUsers
from broker.transparency.cosigning import Cosigning
from broker.webhooks.endpoints import Webhooks
from broker.webhooks.notices import Notices
from broker.webhooks.telling import Telling
from schemas import catalogue
from schemas.catalogue import Catalogue
from schemas.names import PartyId
from schemas.witnessing import Known

DAY_MS: Final = 86_400_000


class Home:
    """A whole broker: every part of the machine, made of the same store, keys, clock and randomness."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        log: Log,
        keys: KeyStore,
        endings: Endings,
        clock: Clock,
        entropy: Entropy,
        events: Catalogue | None = None,
        marks: Marks | None = None,
    ) -> None:
        """`events`: the event types; without, those of the package. `marks`: what a clean fsck leaves for the next one;
        without, it is forgotten with this process.
        """
        self.settings = settings
        self.party = PartyId(settings.party)
        self.clock = clock
        self.entropy = entropy
        self.store = store
        self.log = log
        self.keys = keys
        self.endings = endings
        self.catalogue = events or catalogue.builtin()
        self._marks = marks
        # Read now: a process goes on under the name that the ledger had when it began, and signs nothing under another.
        self._origin = origins.pinned_origin(keys) or settings.ledger_origin
        self._first_origin = origins.first_origin(keys)
        store.journal = endings

    def inbox(self, party: PartyId) -> HostedInbox:
        """The mailbox of an agency hosted here."""
        return HostedInbox(self.store, self.mailbox, self.gate, party, self.clock)

    # ── rows, keys, the directory ───────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def rows(self) -> RowVerifier:
        return seals.verifier_of(self.keys)

    @cached_property
    def row_signer(self) -> RowSigner:
        return seals.signer_of(self.keys, self.rows)

    @cached_property
    def macs(self) -> RowMacs:
        return row_macs.macs_of(self.keys)

    @cached_property
    def keyring(self) -> Keyring:
        return Keyring(self.keys)

    @cached_property
    def identity(self) -> Identity:
        return Identity(self.keys, self.entropy)

    @cached_property
    def lookup(self) -> Lookup:
        return Lookup(self.rows)

    @cached_property
    def registrar(self) -> Registrar:
        return Registrar(self.recorder, self.catalogue, self.row_signer)

    @cached_property
    def parties(self) -> Parties:
        return Parties(self.store, self.keys, self.registrar, self.rows, self.clock)

    @cached_property
    def subscribing(self) -> Subscribing:
        return Subscribing(self.recorder, self.catalogue, self.row_signer)

    @cached_property
    def ruling(self) -> Ruling:
        return Ruling(self.recorder, self.catalogue, self.row_signer, self.settings.rule_delay_hours * 3_600_000)

    @cached_property
    def purposing(self) -> Purposing:
        return Purposing(self.recorder, self.row_signer)

    @cached_property
    def succession(self) -> Succession:
        return Succession(self.registrar, self.rows, identities.secret(self.keys, identities.ACCESS))

    @cached_property
    def publication(self) -> Publication:
        return Publication(store=self.store, lookup=self.lookup, ledger=self.ledger, clock=self.clock)

    # ── the ledger ──────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def openings(self) -> Openings:
        return Openings(self.keys, self.entropy, partial(identities.ledger_secret, self.keys))

    @cached_property
    def recorder(self) -> Recorder:
        return Recorder(
            self.party,
            self.catalogue,
            openings=self.openings,
            macs=self.macs,
            said=self._said,
            window_ms=self._window_ms,
            clock=self.clock,
            entropy=self.entropy,
        )

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(
            store=self.store,
            openings=self.openings,
            macs=self.macs,
            said=self._said,
            origin=self._origin,
            first_origin=self._first_origin,
            key=Pair.ledger(self.keys),
            window_ms=self._window_ms,
            clock=self.clock,
            entropy=self.entropy,
        )

    @cached_property
    def cosigning(self) -> Cosigning:
        return Cosigning(
            store=self.store,
            outbound=self.outbound,
            macs=self.macs,
            log=self.ledger.verifier_key,
            witnesses=[Known.parse(each) for each in self.settings.witnesses],
            quorum=self.settings.witness_quorum,
            stale_ms=self.settings.witness_minutes * 60_000,
            clock=self.clock,
            entropy=self.entropy,
        )

    @cached_property
    def _said(self) -> Said:
        return Said()

    @property
    def _window_ms(self) -> int:
        return self.settings.ledger_window_seconds * 1_000

    # ── the way of a declaration ────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def intake(self) -> Intake:
        return Intake(
            store=self.store,
            log=self.log,
            lookup=self.lookup,
            identity=self.identity,
            keyring=self.keyring,
            catalogue=self.catalogue,
            recorder=self.recorder,
            macs=self.macs,
            retracting=self.retracting,
            acting=ActingChecks(
                rows=self.rows,
                lookup=self.lookup,
                macs=self.macs,
                recorder=self.recorder,
                trusted=[PartyId(one) for one in self.settings.capacity_sources],
            ),
            limits=parts.limits(self.settings),
            party=self.party,
            kept_ms=self.settings.declaration_retention_days * DAY_MS,
            age_ms=self.settings.declaration_age_hours * 3_600_000,
            clock=self.clock,
        )

    @cached_property
    def households(self) -> Households:
        return Households(
            store=self.store,
            identity=self.identity,
            intake=self.intake,
            macs=self.macs,
            clock=self.clock,
        )

    @cached_property
    def contact(self) -> Contact:
        return Contact(
            store=self.store,
            identity=self.identity,
            signer=self.row_signer,
            recorder=self.recorder,
            renew=None if self.keys.gives(KeyKind.ROWS, seals.NAME) else partial(reference, self.asking),
            clock=self.clock,
        )

    @cached_property
    def linking_here(self) -> Linking:
        return Linking(
            store=self.store,
            lookup=self.lookup,
            keyring=self.keyring,
            planner=self.planner,
            protecting=self.protecting,
            macs=self.macs,
            signer=self.row_signer,
            recorder=self.recorder,
            delay_ms=self.settings.link_delay_hours * 3_600_000,
            clock=self.clock,
            entropy=self.entropy,
        )

    @cached_property
    def desk(self) -> Desk:
        return Desk(
            store=self.store,
            lookup=self.lookup,
            keyring=self.keyring,
            identity=self.identity,
            contact=self.contact,
            catalogue=self.catalogue,
            intake=self.intake,
            idempotency_keys=self.idempotency_keys,
            macs=self.macs,
            holds=parts.holds(self.settings),
            lifetime_ms=self.settings.declaration_days * DAY_MS,
            token_ms=self.settings.subject_token_minutes * 60_000,
            clock=self.clock,
            entropy=self.entropy,
        )

    @cached_property
    def planner(self) -> Planner:
        holds = parts.holds(self.settings)
        return Planner(self.catalogue, self.lookup, self.recorder, self.macs, self.entropy, holds=holds)

    @cached_property
    def retracting(self) -> Retracting:
        return Retracting(store=self.store, macs=self.macs, recorder=self.recorder, clock=self.clock)

    @cached_property
    def holds_here(self) -> HeldDeclarations:
        return HeldDeclarations(
            store=self.store,
            lookup=self.lookup,
            keyring=self.keyring,
            planner=self.planner,
            retracting=self.retracting,
            macs=self.macs,
            holds=parts.holds(self.settings),
            clock=self.clock,
        )

    @cached_property
    def router(self) -> Router:
        return Router(
            store=self.store,
            log=self.log,
            lookup=self.lookup,
            keyring=self.keyring,
            planner=self.planner,
            rule_grants=RuleGrants(
                catalogue=self.catalogue,
                lookup=self.lookup,
                keyring=self.keyring,
                recorder=self.recorder,
                rows=self.rows,
                entropy=self.entropy,
            ),
            retraction_notices=RetractionNotices(
                catalogue=self.catalogue,
                lookup=self.lookup,
                keyring=self.keyring,
                planner=self.planner,
                recorder=self.recorder,
                rows=self.rows,
                macs=self.macs,
                entropy=self.entropy,
            ),
            catalogue=self.catalogue,
            recorder=self.recorder,
            macs=self.macs,
            complete=self.consents_here.complete,
            clock=self.clock,
        )

    @cached_property
    def mailbox(self) -> Mailbox:
        return Mailbox(
            self.recorder,
            self._steps,
            parts.retry_policy(self.settings),
            lambda schema: self.catalogue.by_id(schema).names,
        )

    @cached_property
    def gate(self) -> Gate:
        return Gate(
            store=self.store,
            mailbox=self.mailbox,
            lookup=self.lookup,
            keyring=self.keyring,
            identity=self.identity,
            catalogue=self.catalogue,
            recorder=self.recorder,
            openings=self.openings,
            ledgered=self._steps,
            cosigning=self.cosigning,
            macs=self.macs,
            holds=parts.holds(self.settings),
            party=self.party,
            clock=self.clock,
        )

    @cached_property
    def dead_letters(self) -> DeadLetters:
        return DeadLetters(
            store=self.store,
            lookup=self.lookup,
            keyring=self.keyring,
            planner=self.planner,
            router=self.router,
            recorder=self.recorder,
            macs=self.macs,
            clock=self.clock,
        )

    @cached_property
    def repairs(self) -> Repairs:
        return Repairs(
            store=self.store,
            lookup=self.lookup,
            keyring=self.keyring,
            planner=self.planner,
            recorder=self.recorder,
            macs=self.macs,
            clock=self.clock,
        )

    @cached_property
    def tracking(self) -> Tracking:
        return Tracking(self.store, self.lookup, self.catalogue, self.clock)

    @cached_property
    def inlet(self) -> Inlet:
        return Inlet(store=self.store, rows=self.rows, log=self.log, intake=self.intake, clock=self.clock)

    @cached_property
    def relay(self) -> Relay:
        return Relay(
            store=self.store,
            rows=self.rows,
            log=self.log,
            mailbox=self.mailbox,
            party=self.party,
            repeat_ms=self.settings.relay_repeat_hours * 3_600_000,
            clock=self.clock,
        )

    @cached_property
    def topic_users(self) -> TopicUsers:
        return TopicUsers(self.recorder, self.row_signer)

    @cached_property
    def _steps(self) -> StepReader:
        return StepReader(self.macs, self.openings)

    # ── consents and their keys ─────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def consents_here(self) -> Consents:
        return Consents(
            store=self.store,
            rows=self.rows,
            macs=self.macs,
            lookup=self.lookup,
            keyring=self.keyring,
            planner=self.planner,
            catalogue=self.catalogue,
            recorder=self.recorder,
            outbox=self.outbox,
            clock=self.clock,
            entropy=self.entropy,
        )

    @cached_property
    def objections_here(self) -> Objections:
        return Objections(
            store=self.store,
            lookup=self.lookup,
            macs=self.macs,
            consents=self.consents_here,
            recorder=self.recorder,
            outbox=self.outbox,
            clock=self.clock,
        )

    @cached_property
    def repairing_here(self) -> Repairing:
        return Repairing(
            store=self.store,
            lookup=self.lookup,
            consents=self.consents_here,
            repairs=self.repairs,
            clock=self.clock,
        )

    @cached_property
    def receipts_here(self) -> Receipts:
        return Receipts(
            store=self.store,
            lookup=self.lookup,
            keyring=self.keyring,
            identity=self.identity,
            recorder=self.recorder,
            party=self.party,
            storage_locations=self.settings.storage_locations,
            clock=self.clock,
        )

    @cached_property
    def protecting(self) -> Protecting:
        return Protecting(
            store=self.store,
            lookup=self.lookup,
            planner=self.planner,
            catalogue=self.catalogue,
            consents=self.consents_here,
            recorder=self.recorder,
            outbox=self.outbox,
            macs=self.macs,
            epochs=self.keyring.consent_epochs,
            clock=self.clock,
        )

    @cached_property
    def representing(self) -> Representing:
        return Representing(
            store=self.store,
            signer=self.row_signer,
            lookup=self.lookup,
            consents=self.consents_here,
            recorder=self.recorder,
            clock=self.clock,
        )

    @cached_property
    def epochs(self) -> Epochs:
        return Epochs(
            store=self.store,
            keys=self.keys,
            registrar=self.registrar,
            signer=self.row_signer,
            recorder=self.recorder,
            party=self.party,
            clock=self.clock,
            entropy=self.entropy,
            time=self.timekeeping,
        )

    # ── the same for services, in a process that has the keys of consents and in one that has not ──────────────────

    @property
    def _has_consent_keys(self) -> bool:
        return self.keys.gives(KeyKind.CONSENT_EPOCH)

    @cached_property
    def asking(self) -> Asking:
        group = local.group_id(self.settings.consents_group)
        return Asking(self.settings.consents_socket, group, self.entropy)

    @cached_property
    def consents(self) -> ConsentChanges:
        here = self.consents_here
        return here if self._has_consent_keys else AskedConsents(self.asking, here)

    @cached_property
    def objections(self) -> ObjectionChanges:
        here = self.objections_here
        return here if self._has_consent_keys else AskedObjections(self.asking, here)

    @cached_property
    def holds(self) -> HoldChanges:
        here = self.holds_here
        return here if self._has_consent_keys else AskedHolds(self.asking, here)

    @cached_property
    def linking(self) -> LinkChanges:
        here = self.linking_here
        return here if self._has_consent_keys else AskedLinks(self.asking, here)

    @cached_property
    def repairing(self) -> RepairBegins:
        return self.repairing_here if self._has_consent_keys else AskedRepairs(self.asking)

    @cached_property
    def receipts(self) -> ReceiptSigner:
        return self.receipts_here if self._has_consent_keys else AskedReceipts(self.asking)

    @cached_property
    def answering(self) -> Answering:
        """What answers those that ask."""
        does = Operations(
            consents=self.consents_here,
            objections=self.objections_here,
            holds=self.holds_here,
            linking=self.linking_here,
            repairing=self.repairing_here,
            receipts=self.receipts_here,
            contact=self.contact,
        )
        return Answering(does.by_name(), store=self.store, macs=self.macs, party=self.party, clock=self.clock)

    # ── who asks over HTTP, and who is told ─────────────────────────────────────────────────────────────────────────

    @cached_property
    def credentials(self) -> Credentials:
        return Credentials(self.recorder, self.row_signer, self.entropy, allowed=self.settings.api_tokens)

    @cached_property
    def uses(self) -> Uses:
        return Uses(self.store, self.clock)

    @cached_property
    def oauth(self) -> OAuth:
        key = Pair.access(self.keys)
        return OAuth(self.recorder, self.row_signer, self.entropy, self.endings, broker=self.party, key=key)

    @cached_property
    def key_sets(self) -> KeySets:
        return KeySets(self.recorder, self.row_signer, self.outbound, self.clock)

    @cached_property
    def idempotency_keys(self) -> IdempotencyKeys:
        return IdempotencyKeys(self.store, self.clock)

    @cached_property
    def outbound(self) -> Outbound:
        return Outbound(self.settings.outbound_allowed, ca_file=self.settings.outbound_ca_file)

    @cached_property
    def webhooks(self) -> Webhooks:
        secret = cache(partial(identities.secret, self.keys, identities.WEBHOOKS))
        return Webhooks(self.recorder, self.row_signer, self.entropy, self.outbound, secret)

    @cached_property
    def telling(self) -> Telling:
        return Telling(
            store=self.store,
            rows=self.rows,
            hooks=self.webhooks,
            outbound=self.outbound,
            clock=self.clock,
            entropy=self.entropy,
        )

    @cached_property
    def notices(self) -> Notices:
        return Notices(
            store=self.store,
            rows=self.rows,
            mail=parts.mail(self.settings),
            name=self.settings.name,
            contact=self.settings.contact,
            clock=self.clock,
        )

    @cached_property
    def expiry_letters(self) -> ExpiryLetters:
        return ExpiryLetters(
            store=self.store,
            lookup=self.lookup,
            credentials=self.credentials,
            time=self.timekeeping,
            mail=parts.mail(self.settings),
            name=self.settings.name,
            contact=self.settings.contact,
            clock=self.clock,
        )

    @cached_property
    def dpo_letters(self) -> DpoLetters:
        return DpoLetters(
            store=self.store,
            openings=self.openings,
            mail=parts.mail(self.settings),
            to=self.settings.dpo_address,
            name=self.settings.name,
            language=self.settings.language,
            clock=self.clock,
        )

    # ── citizens are told ───────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def ways(self) -> Mapping[ChannelKind, Way]:
        return parts.ways(self.settings, self.outbound)

    @cached_property
    def channel_seals(self) -> ChannelSeals:
        return ChannelSeals(self.keys, self.entropy)

    @cached_property
    def channels(self) -> Channels:
        return Channels(
            store=self.store,
            seals=self.channel_seals,
            macs=self.macs,
            recorder=self.recorder,
            kinds=self.ways,
            clock=self.clock,
            entropy=self.entropy,
        )

    @cached_property
    def outbox(self) -> Outbox:
        return Outbox(
            store=self.store,
            lookup=self.lookup,
            openings=self.openings,
            channels=self.channels,
            macs=self.macs,
            days=self.settings.message_days,
            clock=self.clock,
        )

    @cached_property
    def sending(self) -> Sending:
        return Sending(
            store=self.store,
            outbox=self.outbox,
            channels=self.channels,
            macs=self.macs,
            ways=self.ways,
            sender=parts.sender(self.settings),
            days=self.settings.message_days,
            clock=self.clock,
            entropy=self.entropy,
        )

    @cached_property
    def late(self) -> Late:
        return Late(
            store=self.store,
            outbox=self.outbox,
            macs=self.macs,
            time=self.timekeeping,
            days=self.settings.message_late_days,
            clock=self.clock,
        )

    # ── citizens who come themselves ────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def sessions(self) -> Sessions:
        return Sessions(self.macs, self.entropy)

    @cached_property
    def accounts(self) -> Accounts:
        return Accounts(self.macs, partial(identities.secret, self.keys, identities.REFERENCE))

    @cached_property
    def codes(self) -> Codes:
        return Codes(self.macs, self.entropy, partial(identities.secret, self.keys, identities.REFERENCE))

    @cached_property
    def attempts(self) -> Attempts:
        return Attempts(self.tallies)

    @cached_property
    def tallies(self) -> Tallies:
        return Tallies(self.store, partial(identities.secret, self.keys, identities.REFERENCE), self.clock)

    @cached_property
    def franceconnect(self) -> FranceConnect:
        return FranceConnect(parts.doors(self.settings), self._publications, self.outbound, self.entropy)

    @cached_property
    def carrying(self) -> Carrying:
        return Carrying(self.entropy, partial(identities.secret, self.keys, identities.REFERENCE))

    @cached_property
    def forwarding(self) -> Forwarding:
        return Forwarding(
            parts.issuers(self.settings),
            {PartyId(party): frozenset(clients) for party, clients in self.settings.portal_clients.items()},
            publications=self._publications,
            endings=self.endings,
            secret=partial(identities.secret, self.keys, identities.REFERENCE),
            entropy=self.entropy,
            tallies=self.tallies,
            per_hour=self.settings.portal_sign_ins_per_hour,
        )

    @cached_property
    def _publications(self) -> Publications:
        return Publications(self.outbound, self.clock)

    # ── what citizens have begun ────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def draft_seals(self) -> DraftSeals:
        return DraftSeals(self.keys, self.entropy)

    @cached_property
    def drafts(self) -> Drafts:
        return Drafts(store=self.store, seals=self.draft_seals, macs=self.macs, clock=self.clock, entropy=self.entropy)

    @cached_property
    def fingerprints(self) -> Fingerprints:
        return Fingerprints(seals=self.draft_seals, macs=self.macs)

    # ── who works here ──────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def operators(self) -> Operators:
        return Operators(self.recorder, self.row_signer)

    @cached_property
    def requests(self) -> Requests:
        return Requests(self.row_signer, self.entropy)

    # ── what keeps a home in order ──────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def timekeeping(self) -> Timekeeping:
        return Timekeeping(self.store, self.settings.clock_trust_days, self.clock)

    @cached_property
    def completion(self) -> Completion:
        return Completion(
            store=self.store,
            endings=self.endings,
            consents=self.consents_here,
            credentials=self.credentials,
            oauth=self.oauth,
            key_sets=self.key_sets,
            recorder=self.recorder,
            signer=self.row_signer,
            subscribing=self.subscribing,
            ruling=self.ruling,
            objections=self.objections_here,
            protecting=self.protecting,
            retracting=self.retracting,
            representing=self.representing,
            households=self.households,
            channels=self.channels,
            erased=self.erased,
            linking=self.linking_here,
            epochs=self.epochs,
            operators=self.operators,
            sessions=self.sessions,
            codes=self.codes,
            clock=self.clock,
        )

    @cached_property
    def erasing(self) -> Erasing:
        return Erasing(
            keys=self.keys,
            openings=self.openings,
            recorder=self.recorder,
            clock=self.clock,
            entropy=self.entropy,
        )

    @cached_property
    def erased(self) -> Erased:
        return Erased(store=self.store, macs=self.macs, recorder=self.recorder, clock=self.clock)

    @cached_property
    def pruning(self) -> Pruning:
        return Pruning(self.store, parts.retention(self.settings), self.erasing, self.clock, self.timekeeping)

    @cached_property
    def upkeep(self) -> Upkeep:
        return Upkeep(
            completion=self.completion,
            endings=self.endings,
            backups_ms=self.settings.backup_retention_days * DAY_MS,
            consents=self.consents_here,
            objections=self.objections_here,
            representing=self.representing,
            linking=self.linking_here,
            civil_status_sources=self.settings.civil_status_sources,
            holds=self.holds_here,
            epochs=self.epochs,
            pruning=self.pruning,
            schedule=parts.schedule(self.settings),
            clock=self.clock,
            time=self.timekeeping,
        )

    @cached_property
    def fsck(self) -> Fsck:
        return Fsck(
            store=self.store,
            log=self.log,
            key_store=self.keys,
            catalogue=self.catalogue,
            rows=self.rows,
            macs=self.macs,
            openings=self.openings,
            verifier=self.ledger.verifier_key,
            attester=self.ledger.attestation_key,
            channel_seals=self.channel_seals,
            outbox=self.outbox,
            marks=self._marks or MemoryMarks(identities.marks_secret(self.keys), secrets.token_bytes),
            clock=self.clock,
        )
