"""Webhooks: proven first, told once for many news, tried as the standard says, given up aloud; never by two at once."""

import asyncio
import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import func, insert, select
from standardwebhooks import Webhook as Standard

from broker.outbound import Reply
from broker.store.access_tables import webhook_attempts, webhooks
from broker.webhooks import telling as tellings
from broker.webhooks.endpoints import LIVING, OVERLAP_MS, Kind, Status, Webhook
from broker.webhooks.telling import KEPT, LEASE_MS, REMINDERS, SCHEDULE
from schemas.errors import Fault, Refused, Unavailable
from schemas.facts import FactKind
from schemas.names import Instant, PartyId
from tests.endpoints import Answer, Endpoints, Heard, echo, send, status, telling
from tests.world import BANK, CAF, CPAM, DAY, ELISE, FAMILY, MINUTE, MOVED, World

pytestmark = pytest.mark.asyncio
URL = "https://caf.example/hook"
HOUR = 60 * MINUTE


async def added(here: World, party: PartyId = CAF, url: str = URL, **more: Any) -> Webhook:
    async with here.home.store.begin() as tx:
        return await here.home.webhooks.add(tx, party, url, here.clock(), **more)


async def active(here: World, **more: Any) -> Webhook:
    """One that has echoed its challenge."""
    hook = await added(here, **more)
    assert [None] == [one.code for one in await send(here, Endpoints())]
    return hook


async def now(here: World, hook: Webhook) -> Webhook:
    async with here.home.store.read() as tx:
        return await here.home.webhooks.one(tx, hook.party, hook.id)


async def codes(here: World, hook: Webhook) -> list[str | None]:
    """What came of each attempt, oldest first."""
    async with here.home.store.read() as tx:
        found = await here.home.webhooks.attempts(tx, hook.party, hook.id, limit=500)
    return [one.code for one in reversed(found)]


async def news(here: World, count: int = 1, first: int = 0) -> None:
    """As many deliveries for CAF."""
    for number in range(first, first + count):
        person = ELISE | {"birthdate": f"1985-04-{number + 1:02}"}
        await here.give(CAF, MOVED, FAMILY, ["subject"], person=person)
        await here.declare(MOVED, here.moved(person))


async def pause(here: World) -> None:
    async with here.home.store.begin() as tx:
        await here.home.subscribing.pause(tx, here.subscriptions[CAF, MOVED].id, here.clock())


async def resume(here: World) -> None:
    async with here.home.store.begin() as tx:
        await here.home.subscribing.resume(tx, here.subscriptions[CAF, MOVED].id)


async def refusal(awaitable: Any) -> str:
    with pytest.raises(Refused) as caught:
        await awaitable
    return caught.value.code


class TestProving:
    async def test_a_new_one_is_challenged_and_told_nothing_before_it_has_echoed(self, here: World) -> None:
        await news(here)
        hook, endpoints = await added(here), Endpoints(status(200))
        assert ["webhooks.echo"] == [one.code for one in await send(here, endpoints)]
        here.clock.pass_(SCHEDULE[0] * 2)
        await send(here, endpoints)
        await send(here, endpoints)

        assert [Kind.CHALLENGE.value] * 2 + [Kind.READY.value] == [one.told["type"] for one in endpoints.heard]
        first, second, _ = (one.told["data"] for one in endpoints.heard)
        assert (first, 43) == (second, len(first["challenge"]))
        assert (Status.ACTIVE, 0) == ((await now(here, hook)).status, (await now(here, hook)).attempts)

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda told: json.dumps({"challenge": told[:-1]}).encode(),
            lambda told: json.dumps({"challenge": [told]}).encode(),
            lambda told: json.dumps({"data": {"challenge": told}}).encode(),
            lambda told: b"\xff" + told.encode(),
            lambda _: b"[" * 4000,
            lambda _: b"",
        ],
    )
    async def test_an_echo_is_exact(self, here: World, wrong: Any) -> None:
        hook = await added(here)
        endpoints = Endpoints(lambda heard: Reply(200, {}, wrong(heard.told["data"]["challenge"]), whole=True))
        await send(here, endpoints)
        assert (Status.PROVING, ["webhooks.echo"]) == ((await now(here, hook)).status, await codes(here, hook))

    @pytest.mark.parametrize("how", [lambda told: told.encode(), lambda told: f'"{told}"\n'.encode()])
    async def test_the_challenge_as_plain_text_is_an_echo_too(self, here: World, how: Any) -> None:
        hook = await added(here)
        await send(here, Endpoints(lambda heard: Reply(201, {}, how(heard.told["data"]["challenge"]), whole=True)))
        assert Status.ACTIVE is (await now(here, hook)).status

    async def test_an_echo_that_did_not_end_is_none(self, here: World) -> None:
        hook = await added(here)
        await send(here, Endpoints(lambda heard: replace(echo(heard), whole=False)))
        assert Status.PROVING is (await now(here, hook)).status

    async def test_two_webhooks_and_two_proofs_have_challenges_of_their_own(self, here: World) -> None:
        endpoints = Endpoints()
        hook = await added(here)
        await added(here, CPAM, "https://cpam.example/")
        await send(here, endpoints)
        async with here.home.store.begin() as tx:
            await here.home.webhooks.prove(tx, CAF, hook.id, here.clock())
        await send(here, endpoints)
        assert 3 == len({one.told["data"]["challenge"] for one in endpoints.heard})

    async def test_one_that_never_echoes_is_disabled(self, here: World) -> None:
        hook, endpoints = await added(here), Endpoints(*[status(200)] * 9)
        for _ in range(9):
            await send(here, endpoints)
            here.clock.pass_(DAY)
        assert (5, Status.DISABLED, "webhooks.failed") == (
            len(endpoints.heard),
            (await now(here, hook)).status,
            (await now(here, hook)).reason,
        )


class TestTelling:
    async def test_many_news_are_one_message_that_says_how_many_wait_and_nothing_else(self, here: World) -> None:
        hook, endpoints = await active(here), Endpoints()
        await news(here, 3)
        await send(here, endpoints)
        await send(here, endpoints)

        (heard,) = endpoints.heard
        assert URL == heard.url
        assert {
            "type": "deliveries.ready",
            "timestamp": "2026-11-24T11:58:13.000Z",
            "data": {"webhook": tellings.uuid_text(hook.id), "waiting": 3},
        } == heard.told
        assert "application/json" == heard.headers["content-type"]

    async def test_news_that_come_while_a_message_is_under_way_are_one_more(self, here: World) -> None:
        await active(here)
        await news(here)
        endpoints = Endpoints(status(500))
        await send(here, endpoints)
        await news(here, 2, first=1)
        await send(here, endpoints)
        here.clock.pass_(SCHEDULE[0] * 2)
        await send(here, endpoints)
        await send(here, endpoints)
        assert [1, 1, 3] == [one.told["data"]["waiting"] for one in endpoints.heard]

    async def test_what_still_waits_is_told_again_ever_more_seldom_until_it_is_taken(self, here: World) -> None:
        await active(here)
        await news(here)
        endpoints, counts = Endpoints(), []
        await send(here, endpoints)
        for wait in (*REMINDERS[:3], REMINDERS[2], REMINDERS[2]):
            here.clock.pass_(wait - 1)
            await send(here, endpoints)
            counts.append(len(endpoints.heard))
            here.clock.pass_(1)
            await send(here, endpoints)
            counts.append(len(endpoints.heard))
        assert [1, 2, 2, 3, 3, 4, 4, 4, 4, 4] == counts
        await here.take(CAF)
        here.clock.pass_(30 * DAY)
        await send(here, endpoints)
        assert 4 == len(endpoints.heard)
        assert 4 == len({one.headers["webhook-id"] for one in endpoints.heard})

    async def test_what_is_paused_is_told_by_nobody_and_once_when_it_goes_on(self, here: World) -> None:
        """Also what came before the pause, and what was told already: it can be taken now."""
        await active(here)
        await news(here)
        endpoints = Endpoints()
        await send(here, endpoints)
        await pause(here)
        await news(here, 2, first=1)
        for wait in (0, *REMINDERS, 30 * DAY):
            here.clock.pass_(wait)
            await send(here, endpoints)
        assert [1] == [one.told["data"]["waiting"] for one in endpoints.heard]
        await resume(here)
        await send(here, endpoints)
        await send(here, endpoints)
        assert [1, 3] == [one.told["data"]["waiting"] for one in endpoints.heard]

    async def test_what_was_told_before_the_pause_and_not_taken_is_told_when_it_goes_on(self, here: World) -> None:
        await active(here)
        await news(here)
        endpoints = Endpoints()
        await send(here, endpoints)
        await pause(here)
        await resume(here)
        await send(here, endpoints)
        await send(here, endpoints)
        assert [1, 1] == [one.told["data"]["waiting"] for one in endpoints.heard]

    async def test_a_message_that_was_not_heard_is_not_tried_again_in_the_pause(self, here: World) -> None:
        hook = await active(here)
        await news(here)
        endpoints = Endpoints(status(500))
        await send(here, endpoints)
        await pause(here)
        here.clock.pass_(30 * DAY)
        await send(here, endpoints)
        assert 1 == len(endpoints.heard)
        await resume(here)
        await send(here, endpoints)
        await send(here, endpoints)
        assert 2 == len(endpoints.heard)
        assert 1 == len({one.headers["webhook-id"] for one in endpoints.heard})
        assert Status.ACTIVE is (await now(here, hook)).status

    async def test_what_is_not_paused_is_told_and_counted_alone(self, here: World) -> None:
        await active(here)
        await here.give(CAF, BANK, FAMILY, ["subject"])
        await pause(here)
        await news(here)
        await here.declare(BANK, here.bank())
        endpoints = Endpoints()
        await send(here, endpoints)
        assert [1] == [one.told["data"]["waiting"] for one in endpoints.heard]
        await resume(here)
        await send(here, endpoints)
        assert [1, 2] == [one.told["data"]["waiting"] for one in endpoints.heard]

    async def test_nobody_else_is_told(self, here: World) -> None:
        await active(here)
        await active(here, party=CPAM, url="https://cpam.example/")
        await news(here)
        endpoints = Endpoints()
        await send(here, endpoints)
        assert [URL] == [one.url for one in endpoints.heard]

    async def test_what_waits_when_it_is_proven_anew_is_news(self, here: World) -> None:
        hook, endpoints = await active(here), Endpoints()
        await news(here)
        await send(here, endpoints)
        async with here.home.store.begin() as tx:
            await here.home.webhooks.prove(tx, CAF, hook.id, here.clock())
        await send(here, endpoints)
        await send(here, endpoints)
        assert ["deliveries.ready", "webhook.challenge", "deliveries.ready"] == [
            one.told["type"] for one in endpoints.heard
        ]


class TestSignatures:
    async def test_ed25519_verifies_by_the_words_of_the_standard(self, here: World) -> None:
        hook, endpoints = await active(here), Endpoints()
        await news(here)
        await send(here, endpoints)
        (heard,) = endpoints.heard
        (public,) = here.home.webhooks.keys(hook, here.clock()).public
        version, _, signature = heard.headers["webhook-signature"].partition(",")
        signed = f"{heard.headers['webhook-id']}.{heard.headers['webhook-timestamp']}.".encode() + heard.body
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
        key.verify(base64.b64decode(signature), signed)
        assert ("v1a", str(here.clock() // 1000)) == (version, heard.headers["webhook-timestamp"])
        with pytest.raises(InvalidSignature):
            key.verify(base64.b64decode(signature), signed.replace(b"1}", b"2}"))

    async def test_the_shared_secret_verifies_by_the_standards_own_library_while_it_rotates(
        self, here: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            Standard, "_Webhook__verify_timestamp", lambda _, header: datetime.fromtimestamp(int(header), UTC)
        )
        home, hook = here.home, await active(here, symmetric=True)
        old = home.webhooks.keys(hook, here.clock(), show_secret=True).secret
        async with home.store.begin() as tx:
            rotated = await home.webhooks.rotate(tx, CAF, hook.id, here.clock(), HOUR)
        new = home.webhooks.keys(rotated, here.clock(), show_secret=True).secret
        assert old is not None
        assert new is not None
        endpoints = Endpoints()
        await news(here)
        await send(here, endpoints)
        here.clock.pass_(HOUR)
        await news(here, first=1)
        await send(here, endpoints)
        during, after = endpoints.heard

        for secret in (old, new):
            assert 1 == Standard(secret).verify(during.body, dict(during.headers))["data"]["waiting"]
        assert 2 == Standard(new).verify(after.body, dict(after.headers))["data"]["waiting"]
        with pytest.raises(Exception, match="No matching signature"):
            Standard(old).verify(after.body, dict(after.headers))
        assert [["v1a", "v1", "v1a", "v1"], ["v1a", "v1"]] == [
            [part[: part.index(",")] for part in one.headers["webhook-signature"].split(" ")] for one in (during, after)
        ]

    async def test_no_two_webhooks_versions_or_kinds_share_a_key(self, here: World) -> None:
        one, other = await added(here, symmetric=True), await added(here, CPAM, symmetric=True)
        made = [here.home.webhooks.signing(each, here.clock()) for each in (one, replace(one, version=2), other)]
        keys = [key.partition("_")[2] for each in made for key in each]
        assert (6, 6) == (len(keys), len(set(keys)))

    async def test_keys_rotate_with_the_old_public_one_beside_the_new_for_the_overlap(self, here: World) -> None:
        home, hook = here.home, await added(here)
        (first,) = home.webhooks.keys(hook, here.clock()).public
        async with home.store.begin() as tx:
            await home.webhooks.rotate(tx, CAF, hook.id, here.clock(), HOUR)
        during = home.webhooks.keys(await now(here, hook), here.clock()).public
        after = home.webhooks.keys(await now(here, hook), Instant(here.clock() + HOUR)).public
        assert ((first,), (during[0],), 2) == (during[1:], after, len(set(during)))
        for overlap in (-1, OVERLAP_MS + 1):
            async with home.store.begin() as tx:
                assert "webhooks.overlap" == await refusal(
                    home.webhooks.rotate(tx, CAF, hook.id, here.clock(), overlap)
                )


class TestTrying:
    async def test_it_is_tried_by_the_standards_schedule_and_then_given_up(self, here: World) -> None:
        hook = await active(here)
        await news(here)
        endpoints = Endpoints(*[status(500)] * 20)
        waits = []
        for _ in range(len(SCHEDULE) + 1):
            await send(here, endpoints)
            next_at = (await now(here, hook)).next_at
            if next_at is not None:
                waits.append(next_at - here.clock())
                here.clock.now = Instant(next_at - 1)
                await send(here, endpoints)
                here.clock.pass_(1)
        assert all(wait <= waited < wait * 1.1 for wait, waited in zip(SCHEDULE, waits, strict=True)), waits
        assert (10, 1) == (len(endpoints.heard), len({one.headers["webhook-id"] for one in endpoints.heard}))
        assert 10 == len({one.headers["webhook-timestamp"] for one in endpoints.heard})
        assert 1 == len({one.body for one in endpoints.heard})
        assert (Status.DISABLED, "webhooks.failed") == ((await now(here, hook)).status, (await now(here, hook)).reason)
        here.clock.pass_(30 * DAY)
        await send(here, endpoints)
        assert 10 == len(endpoints.heard)

    @pytest.mark.parametrize(
        ("told", "least"),
        [("120", 120_000), ("1", SCHEDULE[0]), ("99999999", 24 * HOUR), ("Tue, 24 Nov 2026 12:58:13 GMT", HOUR)],
    )
    async def test_what_the_endpoint_asks_for_is_waited(self, here: World, told: str, least: int) -> None:
        hook = await active(here)
        await news(here)
        await send(here, Endpoints(status(503, retry_after=told)))
        next_at = (await now(here, hook)).next_at
        assert next_at is not None
        assert least <= next_at - here.clock() < least * 1.1

    async def test_gone_is_the_end_at_once(self, here: World) -> None:
        hook = await active(here)
        await news(here)
        await send(here, Endpoints(status(410)))
        assert (Status.DISABLED, "webhooks.gone") == ((await now(here, hook)).status, (await now(here, hook)).reason)

    @pytest.mark.parametrize(
        ("answer", "code", "number"),
        [
            (status(302, location="http://169.254.169.254/"), "webhooks.answer", 302),
            (status(404), "webhooks.answer", 404),
            (lambda _: Unavailable("outbound.late", seconds=15), "outbound.late", None),
            (lambda _: Refused("outbound.address"), "outbound.address", None),
        ],
    )
    async def test_whatever_else_goes_wrong_is_an_attempt_that_the_agency_sees(
        self, here: World, answer: Answer, code: str, number: int | None
    ) -> None:
        hook = await active(here)
        await news(here)
        await send(here, Endpoints(answer))
        async with here.home.store.read() as tx:
            newest, _ = await here.home.webhooks.attempts(tx, CAF, hook.id)
        assert (code, number, Kind.READY) == (newest.code, newest.status, newest.kind)

    async def test_one_success_forgets_the_failures(self, here: World) -> None:
        hook = await active(here)
        await news(here)
        endpoints = Endpoints(status(500), status(500))
        for _ in range(3):
            await send(here, endpoints)
            here.clock.pass_(10 * MINUTE)
        assert (0, Status.ACTIVE) == ((await now(here, hook)).attempts, (await now(here, hook)).status)
        assert [None, "webhooks.answer", "webhooks.answer", None] == await codes(here, hook)

    async def test_the_newest_attempts_are_kept_and_no_more(self, here: World) -> None:
        hook, other = await active(here), await active(here, party=CPAM)
        old = {"webhook": hook.id, "message": bytes(16), "kind": "deliveries.ready", "at": 1, "duration_ms": 1}
        async with here.home.store.begin() as tx:
            await tx.execute(insert(webhook_attempts), [old | {"status": 200, "code": None}] * (KEPT + 5))
        await news(here)
        await send(here, Endpoints())
        async with here.home.store.read() as tx:
            found = [
                (await tx.execute(select(func.count()).where(webhook_attempts.c.webhook == one.id))).scalar_one()
                for one in (hook, other)
            ]
            newest = (await here.home.webhooks.attempts(tx, CAF, hook.id))[0]
        assert ([KEPT, 1], here.clock()) == (found, newest.at)


class TestSideBySide:
    async def test_of_two_senders_one_sends(self, here: World) -> None:
        await active(here)
        await news(here)
        endpoints = Endpoints()
        one, other = telling(here, endpoints), telling(here, endpoints)
        await asyncio.gather(one.step(), other.step())
        await asyncio.gather(one.finish(), other.finish())
        await asyncio.gather(one.step(), other.step())
        assert 1 == len(endpoints.heard)

    async def test_what_a_sender_that_died_had_begun_comes_again_with_the_same_id_when_its_lease_is_over(
        self, here: World
    ) -> None:
        await active(here)
        await news(here)
        endpoints = Endpoints()
        dead = telling(here, endpoints)
        await dead._claim(10)
        here.clock.pass_(LEASE_MS - 1)
        await send(here, endpoints)
        assert [] == endpoints.heard
        async with here.home.store.read() as tx:
            message = (await tx.execute(select(webhooks.c.message))).scalar_one()
        here.clock.pass_(1)
        await send(here, endpoints)
        assert [tellings.uuid_text(message)] == [one.headers["webhook-id"] for one in endpoints.heard]

    async def test_a_sender_that_lost_its_lease_changes_nothing(self, here: World) -> None:
        hook = await active(here)
        await news(here)
        slow, endpoints = telling(here, Endpoints(status(410))), Endpoints(status(500))
        (message,) = await slow._claim(10)
        here.clock.pass_(LEASE_MS)
        await send(here, endpoints)
        late = asyncio.create_task(slow._send(message))
        await late
        await slow._note([late])
        assert (Status.ACTIVE, [None, "webhooks.answer"]) == (
            (await now(here, hook)).status,
            await codes(here, hook),
        )

    async def test_one_that_is_ended_while_it_is_told_stays_ended(self, here: World) -> None:
        hook = await active(here)
        await news(here)
        sender = telling(here, Endpoints())
        await sender.step()
        async with here.home.store.begin() as tx:
            await here.home.webhooks.end(tx, CAF, hook.id, here.clock())
        await sender.finish()
        assert (Status.ENDED, []) == ((await now(here, hook)).status, await codes(here, hook))

    async def test_a_slow_one_does_not_hold_up_the_others(self, here: World) -> None:
        held = asyncio.Event()

        class Slow(Endpoints):
            async def call(self, method: str, url: str, **told: Any) -> Reply:
                if url == URL:
                    await held.wait()
                return await super().call(method, url, **told)

        hook, other = await added(here), await added(here, CPAM, "https://cpam.example/")
        sender = telling(here, Slow())
        outcomes, began = await sender.step()
        while not outcomes:
            outcomes, _ = await sender.step()
        assert (True, [other.id]) == (began, [one.message.to.id for one in outcomes])
        held.set()
        assert [hook.id] == [one.message.to.id for one in await sender.finish()]


class TestKeeping:
    async def test_registering_and_ending_have_their_entries(self, here: World) -> None:
        before = len(await here.entries())
        hook = await added(here)
        async with here.home.store.begin() as tx:
            await here.home.webhooks.end(tx, CAF, hook.id, here.clock())
        told = (await here.entries())[before:]
        assert [(FactKind.KEY_ADDED, CAF), (FactKind.KEY_REVOKED, CAF)] == [(one.kind, one.recipient) for one in told]
        assert told[0].detail == told[1].detail

    @pytest.mark.parametrize("url", ["http://caf.example/", "https://user:pass@caf.example/", "x"])
    async def test_an_address_that_is_not_called_is_not_registered(self, here: World, url: str) -> None:
        assert "outbound.url" == await refusal(added(here, url=url))

    async def test_there_are_no_two_of_one_address_and_no_more_than_a_few(self, here: World) -> None:
        hook = await added(here)
        assert "webhooks.url-twice" == await refusal(added(here))
        for number in range(1, LIVING):
            await added(here, url=f"{URL}/{number}")
        assert "webhooks.too-many" == await refusal(added(here, url=f"{URL}/more"))
        async with here.home.store.begin() as tx:
            await here.home.webhooks.end(tx, CAF, hook.id, here.clock())
        await added(here)
        assert "directory.unknown-party" == await refusal(added(here, PartyId("urn:unefois:nobody")))

    async def test_an_ended_one_is_ended_for_good(self, here: World) -> None:
        hook, hooks = await added(here), here.home.webhooks
        async with here.home.store.begin() as tx:
            await hooks.end(tx, CAF, hook.id, here.clock())
        async with here.home.store.begin() as tx:
            for change in (
                hooks.end(tx, CAF, hook.id, here.clock()),
                hooks.prove(tx, CAF, hook.id, here.clock()),
                hooks.rotate(tx, CAF, hook.id, here.clock(), 0),
            ):
                assert "webhooks.ended" == await refusal(change)
        endpoints = Endpoints()
        await send(here, endpoints)
        assert [] == endpoints.heard

    async def test_no_repr_shows_a_secret(self, here: World) -> None:
        hook = await added(here, symmetric=True)
        keys = here.home.webhooks.keys(hook, here.clock(), show_secret=True)
        assert keys.secret is not None
        assert keys.secret not in repr(keys)
        assert here.home.webhooks.keys(hook, here.clock()).secret is None


@pytest.mark.databases
async def test_a_message_is_claimed_told_and_noted_on_both_databases(here: World) -> None:
    hook = await active(here)
    await news(here, 2)
    endpoints = Endpoints(status(500))
    one, other = telling(here, endpoints), telling(here, endpoints)
    await asyncio.gather(one.step(), other.step())
    await asyncio.gather(one.finish(), other.finish())
    here.clock.pass_(SCHEDULE[0] * 2)
    await send(here, endpoints)
    assert (2, [None, "webhooks.answer", None]) == (len(endpoints.heard), await codes(here, hook))
    assert isinstance(endpoints.heard[0], Heard)
    assert issubclass(Unavailable, Fault)
