"""Keys, rights, parties and subscriptions: a row that nobody approved opens nothing, and is noticed when it is gone."""

from typing import Any

import pytest

from schemas.assurance import SURE
from schemas.envelope import SignedDeclaration
from tests.insider.forging import forged, slip_in_sealing_key, slip_in_signing_key, token_of
from tests.insider.open import LET_IN, RELEASE, VALUE
from tests.insider.watch import Watch, anew
from tests.world import BANK, BREST_ADDRESS, CAF, CPAM, FAMILY, MOVED, PORTAL, RENNES, World

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

HERS = ["subject", "new_address"]


async def waits(here: World) -> None:
    """A delivery to the family fund, which the fund may open."""
    await here.give(CAF, MOVED, FAMILY, HERS)
    await here.declare(MOVED, here.moved())
    await here.step()


async def test_a_sealing_key_that_is_slipped_in_is_sealed_to_by_nobody(watch: Watch) -> None:
    await waits(watch.here)

    key = await slip_in_sealing_key(watch, CAF)
    watch.restart()
    await watch.takes(CAF, key)
    await watch.hand.remove("sealing_keys", kid=key.kid)

    await watch.judge("sealing key: slipped in")


async def test_a_sealing_key_that_is_given_to_another_party_is_not_sealed_to(watch: Watch) -> None:
    """The insider works at the health fund, whose key is listed as the family fund's for a while."""
    here = watch.here
    await waits(here)
    directory = await here.home.lookup.newest(here.home.store)
    mine = directory.current_sealing_key(CPAM, here.clock())
    theirs = directory.current_sealing_key(CAF, here.clock())
    key = here.home.keyring.recipient(directory, CPAM)[mine.kid]
    here.clock.pass_(1_000)

    async with (
        watch.hand.flipped(["sealing_keys"], {"kid": mine.kid}, party=CAF),
        watch.hand.flipped(["sealing_keys"], {"kid": theirs.kid}, valid_to=here.clock() - 1),
    ):
        watch.restart()
        await watch.takes(CAF, key)

    await watch.judge("sealing key: given to another")


async def test_a_gate_key_that_is_slipped_in_is_sealed_to_by_no_source(watch: Watch) -> None:
    """Whoever reads the tables would open what sources seal to it, without asking the gate."""
    here = watch.here
    key = await slip_in_sealing_key(watch, here.home.party)
    watch.restart()
    envelope = await watch.lets(watch.here.home.desk.envelope(PORTAL, MOVED, here.moved()))
    if envelope is not None and SignedDeclaration.decode(envelope).gate_kid == key.kid:
        watch.gained.add(VALUE)
    await watch.hand.remove("sealing_keys", kid=key.kid)

    await watch.judge("gate key: slipped in")


async def test_a_revoked_sealing_key_that_is_brought_back_is_sealed_to_by_nobody(watch: Watch) -> None:
    here = watch.here
    directory = await here.home.lookup.newest(here.home.store)
    stolen = directory.current_sealing_key(CAF, here.clock())
    key = here.home.keyring.recipient(directory, CAF)[stolen.kid]
    await waits(here)
    async with here.home.store.begin() as tx:
        await here.home.registrar.revoke_key(tx, stolen.kid, here.clock)
    await here.step()
    here.clock.pass_(1_000)

    async with watch.hand.flipped(["sealing_keys"], {"kid": stolen.kid}, revoked_at=None, valid_from=here.clock()):
        watch.restart()
        await watch.takes(CAF, key)

    await watch.judge("sealing key: revoked, brought back")


async def test_a_declaration_under_a_key_that_is_slipped_in_is_not_accepted(watch: Watch) -> None:
    here = watch.here
    await here.give(CAF, MOVED, FAMILY, HERS)
    made = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await here.step()

    key = await slip_in_signing_key(watch, PORTAL)
    watch.restart()
    token = await token_of(watch.hand, made.declaration_id)
    await declares(watch, await forged(watch, key, MOVED, elsewhere(here), token))
    await watch.hand.remove("signing_keys", kid=key.kid)

    await watch.judge("signing key: slipped in")


async def test_a_declaration_under_a_revoked_key_that_is_brought_back_is_not_accepted(watch: Watch) -> None:
    here = watch.here
    await here.give(CAF, MOVED, FAMILY, HERS)
    made = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    directory = await here.home.lookup.newest(here.home.store)
    (stolen,) = here.home.keyring.signers(directory, PORTAL, here.clock())
    async with here.home.store.begin() as tx:
        await here.home.registrar.revoke_key(tx, stolen.kid, here.clock)
    await here.step()
    here.clock.pass_(1_000)

    async with watch.hand.flipped(["signing_keys"], {"kid": stolen.kid}, revoked_at=None):
        watch.restart()
        token = await token_of(watch.hand, made.declaration_id)
        await declares(watch, await forged(watch, stolen, MOVED, elsewhere(here), token))

    await watch.judge("signing key: revoked, brought back")


async def test_a_publishing_right_that_is_slipped_in_lets_nobody_declare(watch: Watch) -> None:
    """The town, which may not tell of bank accounts, tells the family fund of one."""
    here = watch.here
    await here.give(CAF, BANK, FAMILY, ["subject", "iban"])
    await here.step()
    model = await watch.hand.row("publishing_rights", party=PORTAL, event_type=BANK)

    await watch.hand.insert("publishing_rights", {**model, "party": RENNES})
    watch.restart()
    envelope = await watch.lets(
        watch.here.home.desk.envelope(RENNES, BANK, here.bank(iban=OTHER_IBAN), provenance=SURE)
    )
    if envelope is not None:
        await declares(watch, envelope)
    await watch.hand.remove("publishing_rights", party=RENNES)

    await watch.judge("publishing right: slipped in")


async def test_a_publishing_right_whose_end_is_taken_back_lets_nobody_declare(watch: Watch) -> None:
    here = watch.here
    await here.give(CAF, BANK, FAMILY, ["subject", "iban"])
    async with here.home.store.begin() as tx:
        await here.home.registrar.end_publishing(tx, PORTAL, BANK, here.clock)
    await here.step()
    here.clock.pass_(1_000)

    async with watch.hand.flipped(["publishing_rights"], {"party": PORTAL, "event_type": BANK}, valid_to=None):
        watch.restart()
        envelope = await watch.lets(
            watch.here.home.desk.envelope(PORTAL, BANK, here.bank(iban=OTHER_IBAN), provenance=SURE)
        )
        if envelope is not None:
            await declares(watch, envelope)

    await watch.judge("publishing right: end taken back")


async def test_a_sector_that_is_changed_for_a_while_links_no_citizen_to_another_sector(watch: Watch) -> None:
    here = watch.here
    await here.subscribe(CPAM, MOVED, FAMILY, HERS)
    for party in (CAF, CPAM):
        await here.give(party, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    await here.step()
    (theirs,) = await here.take(CAF)
    await watch.begins()

    async with watch.hand.flipped(["parties"], {"id": CPAM}, sector="family"):
        watch.restart()
        pulled = await watch.lets(watch.here.inbox(CPAM).pull(10))
        opened = await watch.lets(watch.here.open(CPAM, pulled)) if pulled is not None else []
        watch.rightly = len(opened or [])
        if theirs.pseudonym in {one.pseudonym for one in opened or []}:
            watch.gained.add(RELEASE)

    await watch.judge("party: sector")


async def test_a_directory_that_an_insider_changed_is_not_signed(watch: Watch) -> None:
    """What agencies pin is the house's word: whoever asks in that moment pins the insider's key for good."""
    key = await slip_in_signing_key(watch, PORTAL)
    watch.restart()
    told = await watch.lets(watch.here.home.publication.newest())
    if told is not None and key.kid.hex() in told.content:
        watch.gained.add(RELEASE)
    await watch.hand.remove("directory_notes")
    await watch.hand.remove("signing_keys", kid=key.kid)

    await watch.judge("directory: signed with a key that was slipped in")


async def test_a_running_process_does_not_live_on_in_the_directory_of_yesterday(watch: Watch) -> None:
    """What was ended is ended in the tables; that they have changed is what the insider hides."""
    here = watch.here
    await waits(here)
    before = await watch.hand.row("meta", name="directory-version")
    async with anew(here.home).store.begin() as tx:
        await here.home.subscribing.end(tx, here.subscriptions[CAF, MOVED].id, here.clock())
    await here.step()
    await watch.begins()

    async with watch.hand.flipped(["meta"], {"name": "directory-version"}, value=before["value"]):
        await here.home.desk.declare(PORTAL, MOVED, here.moved())
        await watch.lets(here.home.router.route())
        await watch.takes(CAF)

    await watch.judge("directory: version held back", openly=True)  # a number that tells nobody anything any more


OTHER_IBAN = "FR7610107001011234567890129"


def elsewhere(here: World) -> dict[str, Any]:
    """What Élise never said."""
    return here.moved(new_address=BREST_ADDRESS, new_commune="29019")


async def declares(watch: Watch, envelope: bytes) -> None:
    """Hand it in, route it, and let the family fund pull: that it is believed is what was wanted."""
    await watch.begins()
    if await watch.lets(watch.here.home.intake.accept(envelope)) is not None:
        watch.gained.add(LET_IN)
    await watch.lets(watch.here.home.router.route())
    await watch.takes(CAF)
