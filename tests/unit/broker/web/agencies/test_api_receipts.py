"""Receipts over HTTP: each for whom it is about, with the signatures of witnesses where there are some."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from broker.web.common.bodies import b64u
from schemas import receipt
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.note import KeyType, VerifierKey
from tests.unit.broker.web.agencies.calls import Caller, Served
from tests.witnesses import key_of, witnessed
from tests.world import CAF, CPAM, FAMILY, HEALTH, MOVED, PORTAL, with_parts

pytestmark = pytest.mark.asyncio


def keys(count: int) -> Sequence[VerifierKey]:
    kind = KeyType.COSIGNATURE_ED25519
    return [VerifierKey.of(f"witness.example/{number}", key_of(number), kind) for number in range(count)]


async def declared(served: Served) -> tuple[Caller, str]:
    """A declaration that was handed in and has not been routed."""
    here, portal = served.here, await served.caller(PORTAL)
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.give(CPAM, MOVED, HEALTH, ["subject"])
    envelope = await here.home.desk.envelope(PORTAL, MOVED, here.moved())
    told = await portal.told("POST", "/v1/declarations:batch", {"declarations": [b64u(envelope)]})
    return portal, f"/v1/declarations/{told['results'][0]['declaration']}/receipt"


async def test_a_source_has_the_receipt_of_its_declaration_once_it_is_ordered_and_of_nobody_elses(
    served: Served,
) -> None:
    here = served.here
    portal, where = await declared(served)
    assert (409, "ledger.not-sequenced-yet") == await portal.problem("GET", where)
    await here.home.router.route()
    answer = await portal.asks("GET", where)
    assert (409, "5") == (answer.status_code, answer.headers["retry-after"])
    await here.home.ledger.sequence_unfinished()
    answer = await portal.asks("GET", where)
    checked = receipt.check(answer.text, here.home.ledger.verifier_key)

    assert ("text/plain; charset=utf-8", "no-store") == (
        answer.headers["content-type"],
        answer.headers["cache-control"],
    )
    assert (FactKind.RECEIVED, PORTAL, None) == (checked.facts.kind, checked.facts.actor, checked.facts.recipient)
    assert "This file proves" in answer.text
    assert "Ce fichier" in (await portal.asks("GET", where, accept_language="fr")).text
    caf = await served.caller(CAF)
    assert (404, "tracking.unknown") == await caf.problem("GET", where)


async def test_a_recipient_has_the_receipt_of_its_delivery_and_of_nobody_elses(served: Served) -> None:
    here = served.here
    await declared(served)
    await here.home.router.route()
    caf, cpam = await served.caller(CAF), await served.caller(CPAM)
    (mine,) = (await caf.told("POST", "/v1/deliveries:pull", {}))["deliveries"]
    where = f"/v1/deliveries/{mine['id']}/receipt"
    await here.home.ledger.sequence_unfinished()
    checked = receipt.check((await caf.asks("GET", where)).text, here.home.ledger.verifier_key)

    assert (FactKind.RELEASED, CAF) == (checked.facts.kind, checked.facts.recipient)
    for who, path in ((cpam, where), (caf, "/v1/deliveries/x/receipt")):
        assert (404, "mailbox.unknown-delivery") == await who.problem("GET", path)


async def test_a_receipt_has_the_checkpoint_that_a_quorum_cosigned_where_that_reaches_it(
    served: Served, tmp_path: Path
) -> None:
    here = served.here
    portal, where = await declared(served)
    await here.home.router.route()
    await here.home.ledger.sequence_unfinished()
    log = here.home.ledger.verifier_key
    with witnessed(tmp_path / "w", here, 3, quorum=2) as cosigning:
        served.app.state.home = with_parts(here.home, cosigning=cosigning)
        before = (await portal.asks("GET", where)).text
        await cosigning.step()
        text = (await portal.asks("GET", where)).text
        _, later = await declared_again(served)
        newest = (await portal.asks("GET", later)).text
        still = (await portal.asks("GET", where)).text
    assert 3 == len(receipt.check(text, log, keys(3), 2).witnesses)
    assert text == still
    for unwitnessed in (before, newest):
        receipt.check(unwitnessed, log)
        with pytest.raises(Refused, match=r"checkpoint\."):
            receipt.check(unwitnessed, log, keys(3), 2)


async def declared_again(served: Served) -> tuple[Caller, str]:
    """Another declaration, ordered and not cosigned."""
    here, portal = served.here, await served.caller(PORTAL)
    envelope = await here.home.desk.envelope(PORTAL, MOVED, here.moved(occupants=3))
    told = await portal.told("POST", "/v1/declarations:batch", {"declarations": [b64u(envelope)]})
    await here.home.router.route()
    await here.home.ledger.sequence_unfinished()
    return portal, f"/v1/declarations/{told['results'][0]['declaration']}/receipt"
