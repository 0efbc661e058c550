"""The recorder: which entry is written for which fact, and that nothing can be told from how it looks."""

from contextlib import suppress

import pytest
from sqlalchemy import select

from broker.ledger.openings import NOBODY
from broker.ledger.recorder import _PLACES, AGAIN, BARRIER, FIRST, LAST
from broker.store.tables import ledger_entries, ledger_openings
from schemas.entry import OPEN_FACTS, Entry, EntryKind
from schemas.facts import REQUIRED, FactKind
from schemas.names import DeliveryId, GrantId, Instant, Kid, ManifestDigest, Reason
from tests.world import CAF, CPAM, FAMILY, MOVED, PORTAL, RENNES, TOWN, VOICE, World

pytestmark = pytest.mark.asyncio

SOMETHING = {
    "recipient": CAF,
    "event_type": MOVED,
    "purpose": FAMILY,
    "declaration": ManifestDigest(b"m" * 32),
    "delivery": DeliveryId(b"d" * 16),
    "grant": GrantId(b"g" * 16),
    "grant_version": 7,
    "fields": b"\x80",
    "reason": Reason.STALE,
    "detail": b"x" * 32,
}
TAG, PLAN = b"t" * 16, b"p" * 32
CLOSING = {name: SOMETHING[name] for name in ("delivery", "grant", "grant_version")} | {"tag": TAG}
STEPS = {
    FactKind.RECEIVED: EntryKind.RECEIVED,
    FactKind.CORRECTED: EntryKind.RECEIVED,
    FactKind.PLANNED: EntryKind.PLANNED,
    FactKind.RELEASED: EntryKind.RELEASED,
    FactKind.APPLIED: EntryKind.APPLIED,
    FactKind.REJECTED: EntryKind.REJECTED,
}
PUBLIC = {
    "key_added",
    "key_revoked",
    "subscription_approved",
    "subscription_ended",
    "epoch_destroyed",
    "party_added",
    "party_changed",
    "right_granted",
    "right_ended",
    "rule_approved",
    "rule_ended",
    "rule_narrowed",
    "purpose_approved",
    "policy_set",
    "ledger_opened",
    "migrated",
    "erased",
    "disclosed",
}
"""What is public by right, and nothing else: to add one is a decision."""


async def written(here: World, kind: FactKind, at: Instant | None = None, **more: object) -> Entry:
    """The entry of such a fact, as it lies in the ledger; in a transaction that is taken back, since it never was."""
    told = {name: SOMETHING[name] for name in REQUIRED.get(kind, ()) if name in SOMETHING}  # `about` is the subject
    if kind in {FactKind.PLANNED, FactKind.RELEASED} or kind.value.startswith("rule_"):
        told["basis"] = "consent"
    if "subject" in REQUIRED.get(kind, ()):
        told["about"] = here.subject()
    if kind in STEPS.keys() - {FactKind.RECEIVED, FactKind.CORRECTED}:
        told |= {"tag": TAG, "plan_blind": PLAN}
    found: list[bytes] = []
    with suppress(_TakenBackError):
        async with here.home.store.begin() as tx:
            leaf = here.home.recorder.record(tx, kind, at or here.clock(), **told | more)  # type: ignore[arg-type]
            await tx.flush()
            found += (await tx.execute(select(ledger_entries.c.entry).where(ledger_entries.c.leaf == leaf))).scalars()
            raise _TakenBackError
    return Entry.decode(*found)


class _TakenBackError(Exception):
    """What goes through a transaction."""


@pytest.mark.parametrize("kind", FactKind)
async def test_each_fact_has_the_entry_of_its_kind(here: World, kind: FactKind) -> None:
    entry = await written(here, kind, **({} if kind.value in PUBLIC else {"about": here.subject()}))

    if kind.value in PUBLIC:
        assert EntryKind.OPEN is entry.kind
        assert entry.open is not None
        assert kind is entry.open.kind
    else:
        assert STEPS.get(kind, EntryKind.FACT) is entry.kind
        assert None is entry.open


async def test_what_is_public_is_what_is_said_to_be() -> None:
    assert PUBLIC == {kind.value for kind in OPEN_FACTS}


async def test_a_delivery_that_is_withheld_is_closed_and_a_denial_without_one_is_a_fact_like_any_other(
    here: World,
) -> None:
    closed = await written(here, FactKind.WITHHELD, **CLOSING, plan_blind=PLAN)
    denied = await written(here, FactKind.WITHHELD, about=here.subject())

    assert (EntryKind.CLOSED, TAG, None) == (closed.kind, closed.tag, closed.content)
    assert (EntryKind.FACT, None, None) == (denied.kind, denied.tag, denied.content)


async def test_sealed_entries_of_one_kind_have_one_length_whatever_they_tell(here: World) -> None:
    """Of anybody or nobody, with much or with little to say, long names and short ones."""
    lengths: dict[EntryKind, set[int]] = {}
    much = {name: value for name, value in SOMETHING.items() if name != "delivery"}
    denied = {name: value for name, value in much.items() if name not in {"grant", "grant_version"}}
    for fact in set(FactKind) - OPEN_FACTS:
        for more in (
            {},
            denied if fact is FactKind.WITHHELD else much,
            {"recipient": RENNES, "actor": PORTAL},
            {"count": 5},
        ):
            for closed in ({}, CLOSING) if fact is FactKind.WITHHELD else ({},):
                somebodys = more or "subject" in REQUIRED.get(fact, ())
                entry = await written(here, fact, about=here.subject() if somebodys else None, **more | closed)
                lengths.setdefault(entry.kind, set()).add(len(entry.encode()))

    assert dict.fromkeys(set(EntryKind) - {EntryKind.OPEN}, 1) == {kind: len(all_) for kind, all_ in lengths.items()}


async def test_the_same_fact_twice_looks_like_two_that_have_nothing_in_common(here: World) -> None:
    one, other = [await written(here, FactKind.VIEWED, about=here.subject()) for _ in range(2)]

    assert (one.kind, one.window) == (other.kind, other.window)
    assert one.facts != other.facts


async def test_a_plan_and_its_release_show_the_same_content_and_that_of_another_delivery_another(here: World) -> None:
    plan = await written(here, FactKind.PLANNED)
    release = await written(here, FactKind.RELEASED, sealed_to=Kid(b"k" * 32))
    again = await written(here, FactKind.PLANNED, plan_blind=b"q" * 32)
    other = await written(here, FactKind.RELEASED, sealed_to=Kid(b"k" * 32), fields=b"\x40")

    assert (plan.tag, plan.content) == (release.tag, release.content)
    assert plan.facts != release.facts
    assert 3 == len({plan.content, again.content, other.content})


async def test_an_entry_tells_its_window_and_not_its_instant(here: World) -> None:
    at = Instant(1_795_521_493_007)
    window = here.home.settings.ledger_window_seconds * 1000

    for kind in (FactKind.VIEWED, FactKind.PLANNED, FactKind.KEY_ADDED):
        assert at - at % window == (await written(here, kind, at)).window


async def test_a_sealed_entry_keeps_to_its_grant_and_an_open_one_has_its_place_in_the_window(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await here.home.consents.revoke(grant.grant.id, VOICE)
    async with here.home.store.begin() as tx:
        await here.home.subscribing.end(tx, here.subscriptions[CPAM, MOVED].id, here.clock())

    found: dict[FactKind, set[bytes | None]] = {}
    async with here.home.store.read() as tx:
        chains = {row.leaf: row.chain for row in await tx.execute(select(ledger_entries))}
    for leaf, facts in await here.told():
        found.setdefault(facts.kind, set()).add(chains[leaf])
    steps = (FactKind.GRANTED, FactKind.PLANNED, FactKind.RELEASED, FactKind.APPLIED, FactKind.REVOKED)
    assert {kind: {grant.grant.id} for kind in steps} == {kind: found[kind] for kind in steps}
    assert {None} == found[FactKind.RECEIVED]
    assert {FIRST} == found[FactKind.KEY_ADDED] == found[FactKind.PARTY_ADDED]
    assert {AGAIN} == found[FactKind.RIGHT_GRANTED] == found[FactKind.SUBSCRIPTION_APPROVED]
    assert {LAST} == found[FactKind.SUBSCRIPTION_ENDED]
    assert not any(BARRIER in chains for chains in found.values())  # one would part its window in two


async def test_what_ends_in_the_open_comes_last_and_only_a_ledgers_own_beginning_parts_a_window() -> None:
    ends = {"key_revoked", "subscription_ended", "right_ended", "epoch_destroyed", "erased", "disclosed"}
    ends |= {"rule_ended", "rule_narrowed"}
    assert {kind.value: LAST for kind in FactKind if kind.value in ends} | {
        "ledger_opened": BARRIER,
        "migrated": BARRIER,
        "right_granted": AGAIN,
        "rule_approved": AGAIN,
        "subscription_approved": AGAIN,
    } == {kind.value: place for kind, place in _PLACES.items()}


async def test_every_sealed_entry_has_its_opening_and_no_open_one_has(here: World) -> None:
    await here.give(RENNES, MOVED, TOWN, ["subject"])
    await here.declare(MOVED, here.moved())
    await here.take(RENNES)

    async with here.home.store.read() as tx:
        kept = {row.leaf: row for row in await tx.execute(select(ledger_openings))}
    sealed = {one.leaf_hash() for one in await here.sealed() if one.open is None}
    assert sealed == set(kept)
    facts = dict(await here.told())
    assert {leaf: row.kind for leaf, row in kept.items()} == {leaf: facts[leaf].kind.value for leaf in kept}
    about = {row.subject for row in kept.values()}
    assert about == {here.subject()}


async def test_what_is_about_nobody_says_so(here: World) -> None:
    async with here.home.store.begin() as tx:
        leaf = here.home.recorder.record(tx, FactKind.VIEWED, here.clock())

    async with here.home.store.read() as tx:
        row = (await tx.execute(select(ledger_openings).where(ledger_openings.c.leaf == leaf))).one()
    assert (NOBODY, None) == (row.subject, dict(await here.told())[leaf].subject)


async def test_a_sealed_entry_holds_no_name_and_no_reference(here: World) -> None:
    grant = await here.give(CAF, MOVED, FAMILY, ["subject"])
    accepted = await here.declare(MOVED, here.moved())
    await here.take(CAF)

    raw = b"".join(one.encode() for one in await here.sealed() if one.open is None)
    (digest,) = {facts.declaration for facts in await here.entries(FactKind.RECEIVED)}
    assert digest is not None
    secrets = (
        here.subject(),
        grant.grant.id,
        accepted.declaration_id,
        digest,
        CAF.encode(),
        FAMILY.encode(),
        MOVED.encode(),
    )
    assert [] == [secret for secret in secrets if secret in raw]


async def test_while_a_consent_is_paused_the_facts_of_its_newest_version_say_so(here: World) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject", "new_address", "household"])
    consents, of = here.home.consents, given.grant.id
    await consents.pause(of, VOICE)
    await consents.narrow(of, frozenset({"subject", "new_address"}), VOICE)
    await consents.resume(of, VOICE)
    await consents.revoke(of, VOICE)

    told = await here.entries(FactKind.CHANGED, FactKind.REVOKED)
    assert [Reason.PAUSED, Reason.PAUSED, None, None] == [facts.reason for facts in told]
