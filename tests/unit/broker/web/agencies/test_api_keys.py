"""A new key of one's own: proven to be held, authorised by a present one, with overlap; a token is not enough."""

import json
from typing import Any

import httpx2
import pytest

from broker.access.credentials import Scope
from broker.directory.succession import CHALLENGE_MS, Answer, Authorisation, NewKey
from broker.ports import KeyKind
from connectors.client import Client
from connectors.renewal import Renewal, Told
from schemas.delivery import open_release
from schemas.directory import Directory
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.hpke import SealingKey, Suite
from schemas.locked import LockedDelivery
from schemas.names import Instant, Kid, PartyId
from schemas.signing import Algorithm, PrivateKey
from schemas.succession import Use
from tests.unit.broker.web.agencies.calls import Caller, Served, raw
from tests.world import CAF, CPAM, FAMILY, MOVED, PORTAL

pytestmark = pytest.mark.asyncio
HOUR = 3_600_000
Key = PrivateKey | SealingKey


async def directory(served: Served) -> Directory:
    async with served.here.home.store.read() as tx:
        return await served.here.home.lookup.directory(tx)


async def present(served: Served, party: PartyId) -> PrivateKey:
    """The signing key that a hosted party has now."""
    return served.here.home.keyring.signers(await directory(served), party, served.here.clock())[0]


def asked(served: Served, party: PartyId, new: Key) -> Told:
    """A challenge for this party and key."""
    kind, use = (new.algorithm, Use.SIGNING) if isinstance(new, PrivateKey) else (new.suite, Use.SEALING)
    home = served.here.home
    made = home.succession.challenge(party, NewKey(use, kind, new.public), home.clock())
    return Told(made.challenge, made.sealed)


async def handed(served: Served, new: Key, overlap_hours: int = 24, **changes: Any) -> dict[str, Any]:
    """What CAF's client would hand in, changed."""
    call = Renewal(CAF, await present(served, CAF)).take(new, asked(served, CAF, new), overlap_hours)
    told: dict[str, Any] = json.loads(call.body or b"")
    return told | changes


async def refused(served: Served, caller: Caller, body: dict[str, Any]) -> str:
    """The code of a refusal, after which the directory is as before."""
    before = await directory(served)
    status, code = await caller.problem("POST", "/v1/keys", body)
    assert (422, before) == (status, await directory(served))
    return code


@pytest.mark.parametrize("suite", [None, Suite.X25519, Suite.MLKEM768_X25519])
async def test_a_client_renews_its_key_and_the_old_one_goes_on_for_the_overlap(
    served: Served, suite: Suite | None
) -> None:
    here, caf = served.here, await served.caller(CAF, Scope.KEYS)
    here.clock.pass_(1)
    new: Key = PrivateKey.generate(Algorithm.ED25519) if suite is None else SealingKey.generate(suite)
    renewal, transport = Renewal(CAF, await present(served, CAF)), httpx2.ASGITransport(served.app)
    async with Client.open("https://broker.example", caf.token or "", transport=transport) as client:
        told = await client.ask(renewal.challenge(new))
        assert new.kid == await client.ask(renewal.take(new, told, overlap_hours=24))
    now = await directory(served)
    listed = now.signing if suite is None else now.sealing
    assert {None, here.clock() + 24 * HOUR} == {one.valid_to for one in listed if one.party == CAF}  # type: ignore[attr-defined]
    assert CAF == next(one.party for one in listed if one.kid == new.kid)  # type: ignore[attr-defined]
    entry = (await here.entries(FactKind.KEY_ADDED))[-1]
    assert (CAF, bytes(new.kid)) == (entry.recipient, entry.detail)
    if suite is not None:
        assert new.kid == now.current_sealing_key(CAF, Instant(here.clock() + 1)).kid


async def test_what_is_sealed_to_the_renewed_key_opens_with_it(served: Served) -> None:
    here = served.here
    here.clock.pass_(1)
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    caf, new = await served.caller(CAF), SealingKey.generate(Suite.X25519)
    assert new.kid.hex() == (await caf.told("POST", "/v1/keys", await handed(served, new), status=201))["kid"]
    await here.declare(MOVED, here.moved())
    told = await caf.told("POST", "/v1/deliveries:pull", {})
    locked = [LockedDelivery.decode(raw(one["locked"])) for one in told["deliveries"]]
    assert 1 == len(open_release(locked, raw(told["key_release"]), new))


async def test_a_token_without_the_signature_of_a_present_key_of_the_same_party_changes_no_key(served: Served) -> None:
    here, home = served.here, served.here.home
    caf, new = await served.caller(CAF), SealingKey.generate(Suite.X25519)
    for thief in (PrivateKey.generate(Algorithm.ED25519), await present(served, CPAM), await present(served, PORTAL)):
        body = json.loads(Renewal(CAF, thief).take(new, asked(served, CAF, new)).body or b"")
        assert "succession.authorisation" == await refused(served, caf, body)
        body["present"] = (await present(served, CAF)).kid.hex()
        assert "succession.authorisation" == await refused(served, caf, body)
    good = await handed(served, new)
    other = await handed(served, SealingKey.generate(Suite.X25519))
    assert "succession.authorisation" == await refused(served, caf, good | {"authorisation": other["authorisation"]})
    signed = await handed(served, PrivateKey.generate(Algorithm.ED25519))
    assert "succession.authorisation" == await refused(served, caf, good | {"authorisation": signed["proof"]})
    async with home.store.begin() as tx:
        await home.registrar.revoke_key(tx, (await present(served, CAF)).kid, here.clock)
    here.clock.pass_(1)
    assert "succession.authorisation" == await refused(served, caf, good)


async def hybrid(served: Served, *, valid_from: int = 0) -> tuple[PrivateKey, PrivateKey]:
    """CAF's keys once its policy demands two algorithms, from now or so much later."""
    here, home = served.here, served.here.home
    half, at = PrivateKey.generate(Algorithm.ML_DSA_44), Instant(here.clock() + 1)
    async with home.store.begin() as tx:
        add = home.registrar.add_signing_key
        await add(tx, CAF, algorithm=half.algorithm, public=half.public, valid_from=at, at=at)
        await home.registrar.set_policy(tx, CAF, 4, Instant(at + valid_from))
    here.clock.pass_(1)
    return await first(served, Algorithm.ED25519), half


async def first(served: Served, algorithm: Algorithm) -> PrivateKey:
    """CAF's hosted key of an algorithm."""
    home = served.here.home
    kid = next(one.kid for one in (await directory(served)).signing if (one.party, one.algorithm) == (CAF, algorithm))
    return PrivateKey.from_raw(algorithm, home.keys.read(KeyKind.SIGNING, kid.hex()))


@pytest.mark.parametrize("later", [0, HOUR], ids=["in-force", "announced"])
async def test_every_algorithm_of_the_policy_hands_over_and_half_of_a_hybrid_key_does_not(
    served: Served, later: int
) -> None:
    caf = await served.caller(CAF)
    halves = await hybrid(served, valid_from=later)
    for new in (
        PrivateKey.generate(Algorithm.ED25519),
        PrivateKey.generate(Algorithm.ML_DSA_44),
        SealingKey.generate(Suite.X25519),
    ):
        told = asked(served, CAF, new)
        for alone in halves:
            body = json.loads(Renewal(CAF, alone).take(new, told).body or b"")
            assert "succession.policy-not-met" == await refused(served, caf, body)
            body["others"] = [{name: body[name] for name in ("present", "authorisation")}]
            assert "succession.policy-not-met" == await refused(served, caf, body)
            thief = PrivateKey.generate(Algorithm.ML_DSA_44)
            forged = json.loads(Renewal(CAF, alone, thief).take(new, told).body or b"")
            assert "succession.authorisation" == await refused(served, caf, forged)
    new, both = PrivateKey.generate(Algorithm.ML_DSA_44), Renewal(CAF, *halves)
    body = json.loads(both.take(new, asked(served, CAF, new)).body or b"")
    assert new.kid.hex() == (await caf.told("POST", "/v1/keys", body, status=201))["kid"]


async def test_the_present_keys_are_never_ended_at_once(served: Served) -> None:
    caf, new = await served.caller(CAF), PrivateKey.generate(Algorithm.ED25519)
    home, body = served.here.home, await handed(served, new, overlap_hours=0)
    assert 422 == (await caf.asks("POST", "/v1/keys", body)).status_code
    by = Authorisation(Kid.parse(body["present"]), raw(body["authorisation"]))
    answer, key = (
        Answer(raw(body["challenge"]), raw(body["proof"]), [by]),
        NewKey(Use.SIGNING, new.algorithm, new.public),
    )
    async with home.store.begin() as tx:
        with pytest.raises(Refused, match=r"succession\.overlap"):
            await home.succession.take(tx, CAF, key, answer, overlap_ms=HOUR - 1, clock=home.clock)
    await caf.told("POST", "/v1/keys", await handed(served, new, overlap_hours=1), status=201)


async def test_who_does_not_hold_the_new_key_does_not_list_it(served: Served) -> None:
    caf = await served.caller(CAF)
    for theirs, mine in (
        (PrivateKey.generate(Algorithm.ED25519), PrivateKey.generate(Algorithm.ED25519)),
        (SealingKey.generate(Suite.X25519), SealingKey.generate(Suite.X25519)),
    ):
        good, own = await handed(served, theirs), await handed(served, mine)
        assert "succession.possession" == await refused(served, caf, good | {"proof": own["proof"]})
        assert "succession.possession" == await refused(served, caf, good | {"proof": good["authorisation"]})
        assert "succession.challenge" == await refused(served, caf, good | {"public": own["public"]})


async def test_a_challenge_is_for_one_party_use_and_key_and_for_ten_minutes(served: Served) -> None:
    here, caf, cpam = served.here, await served.caller(CAF), await served.caller(CPAM)
    new = PrivateKey.generate(Algorithm.ED25519)
    good, other = await handed(served, new), await handed(served, PrivateKey.generate(Algorithm.ED25519))
    told = good["challenge"]
    bent = told[:20] + ("B" if told[20] != "B" else "C") + told[21:]
    for body in (
        good | {"use": "sealing", "kind": int(Suite.X25519)},
        good | {"challenge": "AAAA"},
        good | {"challenge": bent},
        good | {"challenge": other["challenge"]},
    ):
        assert "succession.challenge" == await refused(served, caf, body)
    assert "succession.challenge" == await refused(served, cpam, good)
    here.clock.pass_(CHALLENGE_MS)
    assert "succession.challenge" == await refused(served, caf, good)


async def test_a_key_is_listed_once_and_never_for_two(served: Served) -> None:
    caf, new = await served.caller(CAF), PrivateKey.generate(Algorithm.ED25519)
    good = await handed(served, new)
    await caf.told("POST", "/v1/keys", good, status=201)
    assert "registrar.key-exists" == await refused(served, caf, good)


async def test_another_algorithm_and_a_key_that_is_none_are_not_taken(served: Served) -> None:
    caf = await served.caller(CAF)
    p256 = PrivateKey.generate(Algorithm.ECDSA_P256)
    assert "succession.algorithm" == await refused(served, caf, await handed(served, p256))
    weak = {"use": "sealing", "kind": int(Suite.X25519), "public": "A" * 43}
    assert (422, "hpke.small-order-key") == await caf.problem("POST", "/v1/keys:challenge", weak)
    for use, kind in (("signing", 9), ("sealing", 1), ("signing", int(Suite.X25519))):
        wrong = (422, "succession.kind")
        assert wrong == await caf.problem("POST", "/v1/keys:challenge", weak | {"use": use, "kind": kind})


async def test_a_challenge_that_is_not_sealed_is_no_challenge_for_a_sealing_key(served: Served) -> None:
    renewal = Renewal(CAF, await present(served, CAF))
    with pytest.raises(Refused, match=r"client\.answer"):
        renewal.take(SealingKey.generate(Suite.X25519), Told(bytes(40), None))
    with pytest.raises(Refused, match=r"hpke\.cannot-open"):
        renewal.take(SealingKey.generate(Suite.X25519), asked(served, CAF, SealingKey.generate(Suite.X25519)))
    assert Kid.parse("00" * 32) == Kid(bytes(32))
