"""The directory in SQL: what the registrar and the subscriptions write is what everybody reads, and nothing else."""

import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import Table, delete, insert, select, update

from broker.directory import reading
from broker.directory.reading import Party, PartyKind
from broker.directory.registrar import OVERLAP_MS, Registrar
from broker.flow.subscribing import Subscribing, subscription_digest
from broker.ledger.openings import Openings
from broker.ledger.recorder import Recorder, Said
from broker.store import tables
from broker.store.engine import Store, Transaction
from consent.policy import Subscription, SubscriptionStatus
from schemas.catalogue import Catalogue
from schemas.entry import Entry
from schemas.errors import Corrupt, Fault, Refused
from schemas.facts import FactKind, Facts
from schemas.hpke import SealingKey, Suite
from schemas.names import EventType, Instant, Kid, PartyId, Purpose
from schemas.signing import Algorithm, PrivateKey
from tests.furnished import write_tables
from tests.memory import MemoryEndings, MemoryKeys
from tests.signed import MACS, resign_in, signer

pytestmark = pytest.mark.asyncio

BROKER, TOWN, FUND = PartyId("urn:unefois:broker"), PartyId("urn:fr:siret:21440109300015"), PartyId("urn:unefois:caf")
MOVED, PAID = EventType("fr.test.moved.v1"), EventType("fr.test.paid.v1")
BENEFITS = Purpose("family-benefits")
NOW = Instant(1_700_000_000_000)
LATER = Instant(NOW + 1000)
DAY = 86_400_000
SUBSCRIPTION_ID = bytes(range(16))


def schema(event_type: EventType, uses_territories: bool) -> bytes:
    label = {"fr": "Un champ", "en": "A field"}
    fields = [
        {"name": name, "type": "string", "doc": "What it is.", "label": label, "sensitivity": "personal"}
        for name in ("street", "city", "phone")
    ]
    record = {"type": "record", "name": event_type, "doc": "An event.", "label": label, "fields": fields}
    return json.dumps(record | {"usesTerritories": uses_territories}).encode()


CATALOGUE = Catalogue.of([schema(MOVED, True), schema(PAID, False)])


def counted() -> Callable[[int], bytes]:
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


RECORDER = Recorder(
    BROKER,
    CATALOGUE,
    openings=Openings(MemoryKeys(), counted(), bytes(32)),
    macs=MACS,
    said=Said(),
    window_ms=60_000,
    clock=lambda: Instant(2**42),
    entropy=counted(),
)
SIGNER = signer()
ROWS = SIGNER.verifier
REGISTRAR = Registrar(RECORDER, CATALOGUE, SIGNER)
SUBSCRIBING = Subscribing(RECORDER, CATALOGUE, SIGNER)


def party(party_id: PartyId, kind: PartyKind = PartyKind.ADMINISTRATION) -> Party:
    return Party(party_id, "Une mairie", "town", kind, "1 place de la Mairie", "dpo@mairie.example", "Cinq ans.", NOW)


def key(seed: int, algorithm: Algorithm = Algorithm.ED25519) -> PrivateKey:
    return PrivateKey.from_raw(algorithm, bytes([seed]) * 32)


def sealing(seed: int) -> SealingKey:
    return SealingKey.from_raw(Suite.X25519, bytes([seed]) * 32)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    write_tables(tmp_path / "store.db")
    async with Store.open(f"sqlite+aiosqlite:///{tmp_path / 'store.db'}") as opened:
        opened.journal = MemoryEndings()
        async with opened.begin() as tx:
            await REGISTRAR.add_party(tx, party(BROKER, PartyKind.BROKER))
            for one in (TOWN, FUND):
                await REGISTRAR.add_party(tx, party(one))
        yield opened


async def code_of(call: Awaitable[object]) -> str:
    with pytest.raises(Fault) as raised:
        await call
    return raised.value.code


async def entries(tx: Transaction) -> list[Facts]:
    """What was told after the three parties were registered."""
    await tx.flush()
    ordered = select(tables.ledger_entries.c.entry).order_by(tables.ledger_entries.c.id)
    told = [one for row in await tx.execute(ordered) if (one := Entry.decode(row.entry).open) is not None]
    assert [FactKind.PARTY_ADDED] * 3 == [entry.kind for entry in told[:3]]
    return told[3:]


async def add_signing(tx: Transaction, signer: PrivateKey, of: PartyId = TOWN, at: Instant = NOW) -> Kid:
    return await REGISTRAR.add_signing_key(
        tx, of, algorithm=signer.algorithm, public=signer.public, valid_from=at, at=at
    )


async def add_sealing(tx: Transaction, sealer: SealingKey, of: PartyId = TOWN, at: Instant = NOW) -> Kid:
    return await REGISTRAR.add_sealing_key(tx, of, suite=sealer.suite, public=sealer.public, valid_from=at, at=at)


async def ask(tx: Transaction, **changed: object) -> Subscription:
    asked: dict[str, object] = {
        "recipient": TOWN,
        "event_type": MOVED,
        "purpose": BENEFITS,
        "fields": frozenset({"street", "city"}),
        "territories": frozenset({"44109"}),
    }
    subscription_id = changed.pop("id", SUBSCRIPTION_ID)
    return await SUBSCRIBING.ask(tx, subscription_id, **(asked | changed))


class TestParties:
    async def test_a_party_comes_back_as_it_was_registered(self, store: Store) -> None:
        async with store.read() as tx:
            assert party(TOWN) == await reading.party(tx, ROWS, TOWN)
            assert [TOWN, BROKER, FUND] == [one.id for one in await reading.all_parties(tx, ROWS)]

    async def test_an_unknown_party_is_refused(self, store: Store) -> None:
        async with store.read() as tx:
            assert "directory.unknown-party" == await code_of(reading.party(tx, ROWS, PartyId("urn:unefois:none")))

    async def test_a_party_is_registered_once(self, store: Store) -> None:
        async with store.begin() as tx:
            assert "registrar.party-exists" == await code_of(REGISTRAR.add_party(tx, party(TOWN)))

    async def test_there_is_one_broker(self, store: Store) -> None:
        other = party(PartyId("urn:unefois:other"), PartyKind.BROKER)
        async with store.begin() as tx:
            assert "registrar.broker-exists" == await code_of(REGISTRAR.add_party(tx, other))

    @pytest.mark.parametrize("name", ["name", "address", "contact", "retention"])
    @pytest.mark.parametrize("text", ["", " x", "x\n", "a\x00b", "e\u0301", "x" * 301])
    async def test_a_text_that_citizens_read_is_plain(self, store: Store, name: str, text: str) -> None:
        wrong = replace(party(PartyId("urn:unefois:new")), **{name: text})
        async with store.begin() as tx:
            with pytest.raises(Refused) as raised:
                await REGISTRAR.add_party(tx, wrong)
        assert ("registrar.text", f"/{name}") == (raised.value.code, raised.value.pointer)

    async def test_a_sector_is_one_that_pseudonyms_can_be_made_for(self, store: Store) -> None:
        wrong = replace(party(PartyId("urn:unefois:new")), sector="")
        async with store.begin() as tx:
            assert "pseudonym.sector" == await code_of(REGISTRAR.add_party(tx, wrong))


class TestVersion:
    async def test_every_change_counts_and_a_look_does_not(self, store: Store) -> None:
        async def changed(change: Callable[[Transaction], Awaitable[object]]) -> int:
            async with store.begin() as tx:
                before = await reading.version(tx)
                await change(tx)
                return await reading.version(tx) - before

        assert 0 == await changed(lambda tx: reading.snapshot(tx, ROWS))
        assert 1 == await changed(lambda tx: add_signing(tx, key(1)))
        assert 1 == await changed(lambda tx: add_sealing(tx, sealing(1)))
        assert 1 == await changed(lambda tx: REGISTRAR.allow_publishing(tx, TOWN, MOVED, NOW))
        assert 1 == await changed(lambda tx: REGISTRAR.end_publishing(tx, TOWN, MOVED, lambda: LATER))
        assert 1 == await changed(lambda tx: REGISTRAR.set_policy(tx, TOWN, 1, NOW))
        assert 1 == await changed(ask)
        assert 1 == await changed(lambda tx: SUBSCRIBING.approve(tx, SUBSCRIPTION_ID, "CSS, article L. 114-8", NOW))
        assert 1 == await changed(lambda tx: SUBSCRIBING.end(tx, SUBSCRIPTION_ID, LATER))
        assert 1 == await changed(lambda tx: REGISTRAR.revoke_key(tx, key(1).kid, lambda: LATER))

    async def test_a_change_that_was_rolled_back_does_not_count(self, store: Store) -> None:
        async with store.read() as tx:
            before = await reading.version(tx)

        async def fail() -> None:
            async with store.begin() as tx:
                await add_signing(tx, key(1))
                raise KeyError

        with pytest.raises(KeyError):
            await fail()
        async with store.read() as tx:
            assert before == await reading.version(tx)

    async def test_a_new_directory_has_version_0(self, store: Store) -> None:
        async with store.begin() as tx:
            await tx.execute(delete(tables.meta))
            assert 0 == await reading.version(tx)


class TestKeys:
    async def test_a_listed_key_is_in_the_snapshot(self, store: Store) -> None:
        async with store.begin() as tx:
            signer, sealer = await add_signing(tx, key(1)), await add_sealing(tx, sealing(1))
            found = await reading.snapshot(tx, ROWS)
        assert (BROKER, TOWN, NOW) == (
            found.broker,
            found.signing_key(signer).party,
            found.signing_key(signer).valid_from,
        )
        assert (key(1).kid, sealing(1).kid) == (signer, found.current_sealing_key(TOWN, NOW).kid)
        assert sealer == found.sealing_key(sealer).kid

    async def test_a_key_comes_with_its_ledger_entry(self, store: Store) -> None:
        async with store.begin() as tx:
            kids = [await add_signing(tx, key(1)), await add_sealing(tx, sealing(1))]
            told = [(entry.kind, entry.actor, entry.recipient, entry.detail) for entry in await entries(tx)]
        assert [(FactKind.KEY_ADDED, BROKER, TOWN, kid) for kid in kids] == told

    async def test_a_key_is_listed_once_for_one_party(self, store: Store) -> None:
        async with store.begin() as tx:
            await add_signing(tx, key(1))
            await add_sealing(tx, sealing(1))
            assert "registrar.key-exists" == await code_of(add_signing(tx, key(1), FUND))
            assert "registrar.key-exists" == await code_of(add_sealing(tx, sealing(1), FUND))

    async def test_a_key_needs_its_party(self, store: Store) -> None:
        none = PartyId("urn:unefois:none")
        async with store.begin() as tx:
            assert "directory.unknown-party" == await code_of(add_signing(tx, key(1), none))
            assert "directory.unknown-party" == await code_of(add_sealing(tx, sealing(1), none))

    async def test_a_key_that_nobody_should_trust_is_refused(self, store: Store) -> None:
        small = {"public": bytes(32), "valid_from": NOW, "at": NOW}
        async with store.begin() as tx:
            for call in (
                REGISTRAR.add_signing_key(tx, TOWN, algorithm=Algorithm.ED25519, **small),
                REGISTRAR.add_sealing_key(tx, TOWN, suite=Suite.X25519, **small),
            ):
                assert (await code_of(call)).partition(".")[0] in ("signing", "hpke")
            assert [] == await entries(tx)

    async def test_a_rotation_keeps_the_old_key_for_the_overlap(self, store: Store) -> None:
        async with store.begin() as tx:
            old = await add_signing(tx, key(1))
            new = await REGISTRAR.rotate_signing(
                tx, TOWN, algorithm=Algorithm.ED25519, public=key(2).public, at=LATER, overlap_ms=DAY
            )
            found = await reading.snapshot(tx, ROWS)
        assert (LATER + DAY, None) == (found.signing_key(old).valid_to, found.signing_key(new).valid_to)
        assert LATER == found.signing_key(new).valid_from

    async def test_a_rotation_leaves_other_algorithms_other_parties_and_other_plans_alone(self, store: Store) -> None:
        async with store.begin() as tx:
            kept = [
                await add_signing(tx, key(1, Algorithm.ML_DSA_44)),
                await add_signing(tx, key(2), FUND),
                await add_signing(tx, key(3), TOWN, Instant(LATER + 2 * DAY)),
            ]
            await REGISTRAR.rotate_signing(
                tx, TOWN, algorithm=Algorithm.ED25519, public=key(4).public, at=LATER, overlap_ms=DAY
            )
            found = await reading.snapshot(tx, ROWS)
        assert [None] * 3 == [found.signing_key(kid).valid_to for kid in kept]

    async def test_a_second_rotation_never_lengthens_an_end(self, store: Store) -> None:
        async with store.begin() as tx:
            old = await add_sealing(tx, sealing(1))
            for seed, overlap in ((2, DAY), (3, 9 * DAY)):
                newest = await REGISTRAR.rotate_sealing(
                    tx,
                    TOWN,
                    suite=Suite.X25519,
                    public=sealing(seed).public,
                    at=Instant(LATER + seed),
                    overlap_ms=overlap,
                )
            found = await reading.snapshot(tx, ROWS)
        assert (LATER + 2 + DAY, newest) == (
            found.sealing_key(old).valid_to,
            found.current_sealing_key(TOWN, Instant(LATER + 3)).kid,
        )

    async def test_a_rotation_of_sealing_keys_ends_those_of_every_suite(self, store: Store) -> None:
        hybrid = SealingKey.from_raw(Suite.MLKEM768_X25519, bytes(range(96)))
        async with store.begin() as tx:
            old = await add_sealing(tx, sealing(1))
            await REGISTRAR.rotate_sealing(tx, TOWN, suite=hybrid.suite, public=hybrid.public, at=LATER, overlap_ms=0)
            found = await reading.snapshot(tx, ROWS)
        assert LATER == found.sealing_key(old).valid_to

    @pytest.mark.parametrize("overlap_ms", [-1, OVERLAP_MS + 1])
    async def test_an_overlap_has_limits(self, store: Store, overlap_ms: int) -> None:
        async with store.begin() as tx:
            rotated = {"public": key(2).public, "at": LATER, "overlap_ms": overlap_ms}
            assert "registrar.overlap" == await code_of(
                REGISTRAR.rotate_signing(tx, TOWN, algorithm=Algorithm.ED25519, **rotated)
            )
            assert "registrar.overlap" == await code_of(
                REGISTRAR.rotate_sealing(tx, TOWN, suite=Suite.X25519, **rotated)
            )

    async def test_a_revoked_key_says_since_when_and_in_the_ledger(self, store: Store) -> None:
        async with store.begin() as tx:
            signer, sealer = await add_signing(tx, key(1)), await add_sealing(tx, sealing(1))
            await REGISTRAR.revoke_key(tx, signer, lambda: LATER, since=NOW)
            await REGISTRAR.revoke_key(tx, sealer, lambda: LATER)
            found, told = await reading.snapshot(tx, ROWS), (await entries(tx))[2:]
        assert (NOW, LATER + 1) == (found.signing_key(signer).revoked_at, found.sealing_key(sealer).revoked_at)
        assert [(FactKind.KEY_REVOKED, LATER, TOWN, kid) for kid in (signer, sealer)] == [
            (entry.kind, entry.at, entry.recipient, entry.detail) for entry in told
        ]

    async def test_a_revocation_can_only_move_to_an_earlier_instant(self, store: Store) -> None:
        async with store.begin() as tx:
            kid = await add_signing(tx, key(1))
            await REGISTRAR.revoke_key(tx, kid, lambda: LATER)
            assert "registrar.already-revoked" == await code_of(
                REGISTRAR.revoke_key(tx, kid, lambda: Instant(LATER + 5))
            )
            assert "registrar.already-revoked" == await code_of(REGISTRAR.revoke_key(tx, kid, lambda: LATER))
            await REGISTRAR.revoke_key(tx, kid, lambda: LATER, since=NOW)
            assert NOW == (await reading.snapshot(tx, ROWS)).signing_key(kid).revoked_at

    async def test_a_revocation_is_never_in_the_future_nor_of_an_unknown_key(self, store: Store) -> None:
        async with store.begin() as tx:
            kid = await add_signing(tx, key(1))
            assert "registrar.revoked-later" == await code_of(REGISTRAR.revoke_key(tx, kid, lambda: NOW, since=LATER))
            assert "registrar.unknown-key" == await code_of(REGISTRAR.revoke_key(tx, Kid(bytes(32)), lambda: NOW))


class TestRights:
    async def test_a_right_is_in_the_snapshot_until_it_ends(self, store: Store) -> None:
        async with store.begin() as tx:
            kid = await add_signing(tx, key(1))
            await REGISTRAR.allow_publishing(tx, TOWN, MOVED, NOW)
            await REGISTRAR.end_publishing(tx, TOWN, MOVED, lambda: LATER)
            found = await reading.snapshot(tx, ROWS)
        found.check_publishing(TOWN, MOVED, kid, LATER)
        with pytest.raises(Refused):
            found.check_publishing(TOWN, MOVED, kid, Instant(LATER + 1))

    async def test_a_right_is_for_a_known_type_and_a_known_party_and_a_real_period(self, store: Store) -> None:
        unknown = EventType("fr.test.unknown.v1")
        async with store.begin() as tx:
            allow = REGISTRAR.allow_publishing
            assert "catalogue.unknown-type" == await code_of(allow(tx, TOWN, unknown, NOW))
            assert "directory.unknown-party" == await code_of(allow(tx, PartyId("urn:unefois:none"), MOVED, NOW))
            assert "registrar.period" == await code_of(allow(tx, TOWN, MOVED, LATER, NOW))

    async def test_the_same_right_twice_is_refused(self, store: Store) -> None:
        async with store.begin() as tx:
            await REGISTRAR.allow_publishing(tx, TOWN, MOVED, NOW)
            assert "registrar.right-exists" == await code_of(REGISTRAR.allow_publishing(tx, TOWN, MOVED, NOW))

    async def test_what_does_not_run_cannot_end(self, store: Store) -> None:
        async with store.begin() as tx:
            await REGISTRAR.allow_publishing(tx, TOWN, MOVED, NOW, LATER)
            assert "registrar.no-right" == await code_of(REGISTRAR.end_publishing(tx, TOWN, PAID, lambda: NOW))
            assert "registrar.no-right" == await code_of(REGISTRAR.end_publishing(tx, TOWN, MOVED, lambda: LATER))

    async def test_a_policy_needs_keys_that_can_meet_it(self, store: Store) -> None:
        async with store.begin() as tx:
            await add_signing(tx, key(1))
            assert "registrar.policy-without-keys" == await code_of(REGISTRAR.set_policy(tx, TOWN, 4, NOW))
            kid = await add_signing(tx, key(1, Algorithm.ML_DSA_44))
            await REGISTRAR.set_policy(tx, TOWN, 4, NOW)
            assert 4 == (await reading.snapshot(tx, ROWS)).policy(TOWN, NOW)
            await REGISTRAR.revoke_key(tx, kid, lambda: LATER)
            assert "registrar.policy-without-keys" == await code_of(REGISTRAR.set_policy(tx, TOWN, 2, LATER))

    async def test_a_policy_is_one_that_exists_and_one_at_a_time(self, store: Store) -> None:
        async with store.begin() as tx:
            await add_signing(tx, key(1))
            await REGISTRAR.set_policy(tx, TOWN, 1, NOW)
            assert "registrar.unknown-policy" == await code_of(REGISTRAR.set_policy(tx, TOWN, 9, NOW))
            assert "registrar.policy-exists" == await code_of(REGISTRAR.set_policy(tx, TOWN, 1, NOW))


class TestSubscriptions:
    async def test_what_is_asked_for_is_not_approved(self, store: Store) -> None:
        async with store.begin() as tx:
            asked = await ask(tx)
            assert (asked,) == await reading.subscriptions(tx, ROWS)
            assert [] == await entries(tx)
        assert (SubscriptionStatus.ASKED, None, "") == (asked.status, asked.approved_at, asked.legal_reference)

    async def test_an_approval_names_the_law_and_is_in_the_ledger(self, store: Store) -> None:
        async with store.begin() as tx:
            await add_sealing(tx, sealing(1))
            await ask(tx)
            approved = await SUBSCRIBING.approve(tx, SUBSCRIPTION_ID, " CSS, article L. 114-8 ", LATER)
            assert (approved,) == await reading.subscriptions(tx, ROWS)
            entry = (await entries(tx))[-1]
        assert (SubscriptionStatus.APPROVED, LATER, "CSS, article L. 114-8") == (
            approved.status,
            approved.approved_at,
            approved.legal_reference,
        )
        assert (FactKind.SUBSCRIPTION_APPROVED, TOWN, MOVED, BENEFITS, subscription_digest(approved)) == (
            entry.kind,
            entry.recipient,
            entry.event_type,
            entry.purpose,
            entry.detail,
        )

    async def test_an_end_is_in_the_ledger(self, store: Store) -> None:
        async with store.begin() as tx:
            await ask(tx)
            ended = await SUBSCRIBING.end(tx, SUBSCRIPTION_ID, LATER)
            assert (ended,) == await reading.subscriptions(tx, ROWS)
            entry = (await entries(tx))[-1]
        assert (SubscriptionStatus.ENDED, LATER) == (ended.status, ended.ended_at)
        assert (FactKind.SUBSCRIPTION_ENDED, subscription_digest(ended)) == (entry.kind, entry.detail)

    async def test_an_approval_without_a_legal_reference_is_refused(self, store: Store) -> None:
        async with store.begin() as tx:
            await add_sealing(tx, sealing(1))
            await ask(tx)
            assert "policy.subscription-legal-reference" == await code_of(
                SUBSCRIBING.approve(tx, SUBSCRIPTION_ID, "  ", NOW)
            )

    async def test_who_has_no_key_to_seal_to_cannot_be_approved(self, store: Store) -> None:
        async with store.begin() as tx:
            await ask(tx)
            assert "directory.no-sealing-key" == await code_of(SUBSCRIBING.approve(tx, SUBSCRIPTION_ID, "Law", NOW))

    async def test_an_approval_happens_once(self, store: Store) -> None:
        async with store.begin() as tx:
            await add_sealing(tx, sealing(1))
            await ask(tx)
            await SUBSCRIBING.approve(tx, SUBSCRIPTION_ID, "Law", NOW)
            assert "subscribing.not-asked" == await code_of(SUBSCRIBING.approve(tx, SUBSCRIPTION_ID, "Law", NOW))
            await SUBSCRIBING.end(tx, SUBSCRIPTION_ID, LATER)
            assert "subscribing.not-asked" == await code_of(SUBSCRIBING.approve(tx, SUBSCRIPTION_ID, "Law", NOW))
            assert "subscribing.ended" == await code_of(SUBSCRIBING.end(tx, SUBSCRIPTION_ID, LATER))

    async def test_an_unknown_subscription_is_refused(self, store: Store) -> None:
        async with store.begin() as tx:
            assert "subscribing.unknown" == await code_of(SUBSCRIBING.approve(tx, bytes(16), "Law", NOW))
            assert "subscribing.unknown" == await code_of(SUBSCRIBING.end(tx, bytes(16), NOW))

    async def test_one_purpose_has_one_running_subscription(self, store: Store) -> None:
        async with store.begin() as tx:
            await ask(tx)
            again = {"id": bytes(16), "fields": frozenset({"phone"})}
            assert "subscribing.running" == await code_of(ask(tx, **again))
            await SUBSCRIBING.end(tx, SUBSCRIPTION_ID, NOW)
            renewed = await ask(tx, **again)
            assert (renewed,) == await reading.subscriptions(tx, ROWS)
        assert (SUBSCRIPTION_ID, frozenset({"phone"}), SubscriptionStatus.ASKED, None) == (
            renewed.id,
            renewed.fields,
            renewed.status,
            renewed.ended_at,
        )

    async def test_an_id_is_used_once(self, store: Store) -> None:
        async with store.begin() as tx:
            await ask(tx)
            assert "subscribing.id-taken" == await code_of(ask(tx, purpose=Purpose("health-insurance")))

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"event_type": EventType("fr.test.unknown.v1")}, "catalogue.unknown-type"),
            ({"purpose": Purpose("curiosity")}, "purposes.unknown"),
            ({"fields": frozenset({"street", "salary"})}, "subscribing.unknown-field"),
            ({"fields": frozenset()}, "policy.subscription-no-fields"),
            ({"event_type": PAID}, "subscribing.no-territories"),
            ({"territories": frozenset()}, "policy.subscription-territories"),
            ({"recipient": PartyId("urn:unefois:none")}, "directory.unknown-party"),
            ({"id": b"short"}, "policy.subscription-id"),
        ],
    )
    async def test_what_does_not_exist_cannot_be_asked_for(
        self, store: Store, changed: dict[str, object], code: str
    ) -> None:
        async with store.begin() as tx:
            assert code == await code_of(ask(tx, **changed))
            assert () == await reading.subscriptions(tx, ROWS)

    async def test_a_type_without_territories_can_be_asked_for_everywhere(self, store: Store) -> None:
        async with store.begin() as tx:
            assert (await ask(tx, event_type=PAID, territories=None),) == await reading.subscriptions(tx, ROWS)

    async def test_the_digest_moves_with_every_part_of_the_row(self, store: Store) -> None:
        async with store.begin() as tx:
            asked = await ask(tx)
        others = [
            replace(asked, id=bytes(16)),
            replace(asked, recipient=FUND),
            replace(asked, event_type=PAID),
            replace(asked, purpose=Purpose("health-insurance")),
            replace(asked, fields=frozenset({"street"})),
            replace(asked, territories=None),
            replace(asked, status=SubscriptionStatus.ENDED, ended_at=NOW),
            replace(asked, legal_reference="Law"),
            replace(asked, approved_at=NOW),
        ]
        assert 10 == len({subscription_digest(one) for one in [asked, *others]})


class TestDamage:
    @pytest.mark.parametrize(
        ("table", "values"),
        [
            (tables.parties, {"kind": "ministry"}),
            (tables.signing_keys, {"algorithm": 9}),
            (tables.signing_keys, {"kid": bytes(32)}),
            (tables.signing_keys, {"public": bytes(32)}),
            (tables.sealing_keys, {"suite": 9}),
            (tables.sealing_keys, {"kid": b"short"}),
            (tables.publishing_rights, {"event_type": "Moved"}),
            (tables.publishing_rights, {"valid_to": 0}),
            (tables.signature_policies, {"policy": 9}),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else str(value),
    )
    async def test_a_row_that_we_never_wrote_stops_the_reader(
        self, store: Store, table: Table, values: dict[str, object]
    ) -> None:
        async with store.begin() as tx:
            await add_signing(tx, key(1))
            await add_sealing(tx, sealing(1))
            await REGISTRAR.allow_publishing(tx, TOWN, MOVED, NOW)
            await REGISTRAR.set_policy(tx, TOWN, 1, NOW)
            await reading.snapshot(tx, ROWS)
            await tx.execute(update(table).values(**values))
            await resign_in(tx, SIGNER)
            with pytest.raises(Corrupt) as raised:
                await reading.snapshot(tx, ROWS)
        assert "directory.unreadable" == raised.value.code

    @pytest.mark.parametrize(
        "values",
        [
            {"fields": "street"},
            {"fields": '"street"'},
            {"fields": "[1]"},
            {"fields": "[]"},
            {"status": "x"},
            {"id": b"x"},
        ],
    )
    async def test_a_subscription_that_we_never_wrote_stops_the_reader(
        self, store: Store, values: dict[str, object]
    ) -> None:
        async with store.begin() as tx:
            await ask(tx)
            await tx.execute(update(tables.subscriptions).values(**values))
            await resign_in(tx, SIGNER)
            assert "directory.unreadable" == await code_of(reading.subscriptions(tx, ROWS))

    async def test_a_directory_names_one_broker(self, store: Store) -> None:
        async with store.begin() as tx:
            second = {"id": "urn:unefois:second", "kind": "broker", "created_at": NOW}
            texts = dict.fromkeys(("name", "sector", "address", "contact", "retention"), "x")
            await tx.execute(insert(tables.parties).values(**second, **texts))
            assert BROKER == (await reading.snapshot(tx, ROWS)).broker
            await resign_in(tx, SIGNER)
            assert "directory.no-broker" == await code_of(reading.snapshot(tx, ROWS))
            await tx.execute(delete(tables.parties).where(tables.parties.c.kind == "broker"))
            assert "directory.no-broker" == await code_of(reading.snapshot(tx, ROWS))
