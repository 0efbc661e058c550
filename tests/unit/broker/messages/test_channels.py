"""Channels: an address has one spelling, is held encrypted and once, and is its citizen's alone."""

import asyncio

import pytest
from sqlalchemy import select

from broker.messages.addresses import ChannelKind, hinted, written
from broker.messages.channels import MOST
from broker.messages.sealing import ChannelSeals
from broker.ports import KeyKind
from broker.store.message_tables import channels
from schemas.errors import Corrupt, Refused
from schemas.facts import FactKind
from schemas.names import ChannelId, SubjectRef
from tests.memory import MemoryKeys
from tests.told import EMAIL, MOBILE, Taken, by_mail, held, tell, with_ways
from tests.world import DAY, YANN, Entropy, World

MINE, OTHERS = SubjectRef(b"s" * 32), SubjectRef(b"o" * 32)
ONE, TWO = ChannelId(b"1" * 16), ChannelId(b"2" * 16)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (EMAIL, " Elise.Martin@Example.FR\n", "Elise.Martin@example.fr"),
        (MOBILE, "06 12 34 56 78", "+33612345678"),
        (MOBILE, "07.12-34 56 78", "+33712345678"),
        (MOBILE, "+33 (6) 12 34 56 78", "+33612345678"),
        (MOBILE, "+352 621 123 456", "+352621123456"),
    ],
)
def test_an_address_has_one_spelling(kind: ChannelKind, text: str, expected: str) -> None:
    assert expected == written(kind, text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (EMAIL, "elise"),
        (EMAIL, "a@b.example, c@d.example"),
        (EMAIL, "a@b.example\r\nBcc: c@d.example"),
        (EMAIL, "élise@exemple.fr"),
        (MOBILE, "01 42 76 40 40"),
        (MOBILE, "+0612345678"),
        (MOBILE, "+3361234567890123456"),
        (MOBILE, "0612345678; 0712345678"),
        (MOBILE, "٠٦١٢٣٤٥٦٧٨"),
        (MOBILE, ""),
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(kind: ChannelKind, text: str) -> None:
    with pytest.raises(Refused) as refused:
        written(kind, text)
    assert (f"channels.{kind.value}", "/address", {}) == (
        refused.value.code,
        refused.value.pointer,
        dict(refused.value.details),
    )


def test_a_hint_does_not_say_it_all() -> None:
    assert ("e…@example.fr", "+33…78") == (hinted(EMAIL, "elise@example.fr"), hinted(MOBILE, "+33612345678"))


def test_an_address_opens_for_its_channel_its_citizen_and_its_kind_alone() -> None:
    keys = MemoryKeys()
    seals = ChannelSeals(keys, Entropy())
    sealed = seals.seal(ONE, MINE, EMAIL, "elise@example.fr")

    assert "elise@example.fr" == ChannelSeals(keys, Entropy()).open(ONE, MINE, EMAIL, sealed)
    assert len(sealed) == len(seals.seal(ONE, MINE, EMAIL, "e@b.fr")), "its length tells nothing"
    assert sealed != seals.seal(ONE, MINE, EMAIL, "elise@example.fr")
    for of, subject, kind, content in (
        (TWO, MINE, EMAIL, sealed),
        (ONE, OTHERS, EMAIL, sealed),
        (ONE, MINE, MOBILE, sealed),
        (ONE, MINE, EMAIL, sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (ONE, MINE, EMAIL, b"\x02" + sealed[1:]),
        (ONE, MINE, EMAIL, b""),
    ):
        with pytest.raises(Corrupt) as damaged:
            seals.open(of, subject, kind, content)
        assert "channels.damaged" == damaged.value.code


def test_two_processes_that_hold_the_first_address_at_once_have_one_key() -> None:
    keys = MemoryKeys()
    first, second = ChannelSeals(keys, Entropy(b"a")), ChannelSeals(keys, Entropy(b"b"))
    sealed = [first.seal(ONE, MINE, EMAIL, "a@b.fr"), second.seal(TWO, MINE, EMAIL, "c@d.fr")]

    assert ("1",) == keys.names(KeyKind.CHANNELS)
    assert ["c@d.fr", "a@b.fr"] == [second.open(TWO, MINE, EMAIL, sealed[1]), second.open(ONE, MINE, EMAIL, sealed[0])]


@pytest.mark.asyncio
async def test_the_same_address_is_held_once_and_by_another_citizen_too(here: World) -> None:
    home = by_mail(here, Taken())
    await held(here, home)
    with pytest.raises(Refused, match=r"channels.held"):
        await held(here, home, "elise@EXAMPLE.fr")
    await held(here, home, person=YANN)


@pytest.mark.asyncio
@pytest.mark.databases
async def test_an_address_that_comes_twice_at_once_is_held_once(here: World) -> None:
    home = by_mail(here, Taken())
    ends = await asyncio.gather(*(held(here, home) for _ in range(4)), return_exceptions=True)

    assert ["channels.held"] * 3 == [end.code for end in ends if isinstance(end, Refused)]


@pytest.mark.asyncio
async def test_a_kind_that_this_broker_sends_nothing_to_is_refused(here: World) -> None:
    with pytest.raises(Refused, match=r"channels.no-way"):
        await held(here, by_mail(here, Taken()), "06 12 34 56 78", MOBILE)
    with pytest.raises(Refused, match=r"channels.no-way"):
        await held(here, here.home)


@pytest.mark.asyncio
async def test_a_citizen_has_so_many_and_no_more_until_one_ends(here: World) -> None:
    home = with_ways(here, {EMAIL: Taken(), MOBILE: Taken()})
    first = await held(here, home)
    for number in range(MOST - 1):
        await held(here, home, f"061234567{number}", MOBILE)
    with pytest.raises(Refused, match=r"channels.too-many"):
        await held(here, home, "another@example.fr")
    here.clock.pass_(1)
    await home.channels.end(first.subject, first.id)
    await held(here, home, "another@example.fr")


@pytest.mark.asyncio
async def test_another_citizens_channel_is_as_unknown_as_one_that_has_ended_or_never_was(here: World) -> None:
    home = by_mail(here, Taken())
    one = await held(here, home)
    for subject, of in ((here.subject(YANN), one.id), (one.subject, ChannelId(bytes(16)))):
        with pytest.raises(Refused, match=r"channels.unknown"):
            await home.channels.end(subject, of)
    here.clock.pass_(1)
    await home.channels.end(one.subject, one.id)
    with pytest.raises(Refused, match=r"channels.unknown"):
        await home.channels.end(one.subject, one.id)


@pytest.mark.asyncio
async def test_the_ledger_tells_of_each_change_and_of_no_address(here: World) -> None:
    home = by_mail(here, Taken())
    one = await held(here, home)
    here.clock.pass_(1)
    await home.channels.end(one.subject, one.id)

    told = await here.entries(FactKind.CHANNEL_ADDED, FactKind.CHANNEL_ENDED)
    assert [FactKind.CHANNEL_ADDED, FactKind.CHANNEL_ENDED] == [facts.kind for facts in told]
    assert all(facts.subject is not None and facts.detail is not None for facts in told)
    assert not any(b"elise" in facts.encode() for facts in told)


@pytest.mark.asyncio
async def test_an_end_that_the_journal_knows_and_the_row_does_not_is_completed(here: World) -> None:
    home = by_mail(here, Taken())
    one = await held(here, home)
    await tell(here, home)
    here.clock.pass_(1)
    over = type(one)(**{**{name: getattr(one, name) for name in one.__slots__}, "ended_at": here.clock()})
    await here.home.endings.write([over.ending()])
    async with here.home.store.read() as tx:
        assert [over.ended_at] == [each.ended_at for each in await home.channels.of(tx, [one.subject])]
    assert "endings.behind" in {finding.check for finding in await here.home.fsck.check()}

    here.clock.pass_(1)
    assert ["channels"] == [each.table for each in await home.completion.finish()]

    async with here.home.store.read() as tx:
        assert [over.ended_at] == list((await tx.execute(select(channels.c.ended_at))).scalars())


@pytest.mark.asyncio
async def test_what_ended_long_ago_is_pruned_with_its_messages_and_what_lives_stays(here: World) -> None:
    home = by_mail(here, Taken())
    one, _ = await held(here, home), await held(here, home, "stays@example.fr")
    await tell(here, home)
    here.clock.pass_(1)
    await home.channels.end(one.subject, one.id)
    await tell(here, home)
    here.clock.pass_(91 * DAY)
    await here.step()
    looked = (await here.home.pruning.look()).rows
    pruned = (await here.home.pruning.prune()).rows

    assert (6, 0) == (looked["messages"], looked["channels"])  # a channel goes once its messages are gone
    assert (6, 1) == (pruned["messages"], pruned["channels"])
    async with here.home.store.read() as tx:
        assert 1 == len((await tx.execute(select(channels))).all())
