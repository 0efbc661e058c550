"""Publishing over HTTP: what a source signed is taken from it alone, once, with a receipt; it learns counts only."""

import json
from base64 import b64decode

import pytest
from sqlalchemy import select

from broker.store.tables import declarations
from broker.web.common.bodies import b64u
from schemas import signing
from schemas.facts import FactKind
from schemas.intake_receipt import RECEIPT_TYPE
from schemas.names import DeclarationId, Instant, Kid, PartyId
from tests.unit.broker.web.agencies.calls import Caller, Served, raw
from tests.world import BANK, CAF, CPAM, DAY, ELISE, FAMILY, HEALTH, MOVED, PORTAL

pytestmark = pytest.mark.asyncio
NOBODY = "00000000-0000-0000-0000-000000000000"
AVRO = {"content_type": "application/avro"}


async def envelope(served: Served) -> bytes:
    return await served.here.home.desk.envelope(PORTAL, MOVED, served.here.moved())


async def sends(caller: Caller, content: bytes, status: int = 202) -> dict[str, object]:
    response = await caller.asks("POST", "/v1/declarations", content, **AVRO)
    assert status == response.status_code, response.text
    told: dict[str, object] = response.json()
    return told


async def test_a_signed_envelope_is_taken_with_a_receipt_that_verifies_and_reaches_who_may_have_it(
    served: Served,
) -> None:
    here = served.here
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    portal = await served.caller(PORTAL)
    content = await envelope(served)
    response = await portal.asks("POST", "/v1/declarations", content, **AVRO)
    told = response.json()
    await here.home.router.route()

    receipt = told["receipt"]
    async with here.home.store.read() as tx:
        directory = await here.home.lookup.directory(tx)
    key = directory.signing_key(Kid.parse(receipt["signatures"][0]["keyid"]))
    payload = b64decode(receipt["payload"])
    message = signing.pae(RECEIPT_TYPE, payload)
    assert signing.verify(key.algorithm, key.public, b64decode(receipt["signatures"][0]["sig"]), message)
    assert told["manifest"] == json.loads(payload)["manifest"]
    assert f"/v1/declarations/{told['declaration']}" == response.headers["location"]
    assert 1 == len(await here.take(CAF))


async def test_the_same_bytes_get_the_same_receipt_and_the_same_id_with_other_bytes_is_refused(served: Served) -> None:
    portal = await served.caller(PORTAL)
    content = await envelope(served)
    first, again = await sends(portal, content), await sends(portal, content)
    assert first | {"repeated": True} == again

    here = served.here
    same = {"declaration_id": DeclarationId.parse(str(first["declaration"]))}
    other = await here.home.desk.envelope(PORTAL, MOVED, here.moved(occupants=2), **same)
    assert (422, "intake.id-reused") == await portal.problem("POST", "/v1/declarations", other, **AVRO)


async def test_what_another_source_signed_is_refused_whether_it_is_known_or_not(served: Served) -> None:
    caf, portal = await served.caller(CAF), await served.caller(PORTAL)
    known, unknown = await envelope(served), await envelope(served)
    await sends(portal, known)
    told = [await sends(caf, each, status=403) for each in (known, unknown)]

    assert ["intake.other-source"] * 2 == [each["code"] for each in told]
    assert 2 == len(await served.here.entries(FactKind.REFUSED))


async def test_what_is_no_envelope_is_refused_and_written_down(served: Served) -> None:
    portal = await served.caller(PORTAL)
    content = await envelope(served)
    for wrong in (b"", b"{}", content[:-1], content + b"\x00"):
        response = await portal.asks("POST", "/v1/declarations", wrong, **AVRO)
        assert 422 == response.status_code, response.text
    assert (415, "api.media-type") == await portal.problem("POST", "/v1/declarations", content)
    large = await portal.problem("POST", "/v1/declarations", bytes(1_048_577), **AVRO)
    assert (413, "api.too-large") == large
    assert (413, "intake.too-large") == await portal.problem("POST", "/v1/declarations", bytes(1_000_001), **AVRO)


async def test_each_of_a_batch_has_its_own_result(served: Served) -> None:
    portal = await served.caller(PORTAL)
    good = await envelope(served)
    sent = {"declarations": [b64u(each) for each in (good, good[:-1], good)]}
    results = (await portal.told("POST", "/v1/declarations:batch", sent))["results"]

    assert [True, False, True] == [one["ok"] for one in results]
    assert results[0]["receipt"] == results[2]["receipt"]
    assert 422 == results[1]["problem"]["status"]
    assert (422, "api.field") == await portal.problem("POST", "/v1/declarations:batch", {"declarations": ["+/=="]})
    assert (422, "api.base64") == await portal.problem("POST", "/v1/declarations:batch", {"declarations": ["AB"]})


async def test_a_source_follows_its_own_by_counts_that_do_not_tell_who(served: Served) -> None:
    here = served.here
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.give(CPAM, MOVED, HEALTH, ["subject"])
    portal, caf = await served.caller(PORTAL), await served.caller(CAF)
    path = f"/v1/declarations/{(await sends(portal, await envelope(served)))['declaration']}"
    waiting = await portal.told("GET", path)
    await here.home.router.route()
    await here.take(CAF)
    response = await portal.asks("GET", path)
    told = response.json()

    assert (None, 0) == (waiting["routed_at"], sum(waiting["deliveries"].values()))
    none = {"received": 0, "in-progress": 0, "refused": 0, "to-complete": 0, "technical": 0}
    assert {"sent": 1, "done": 1, **none} == told["deliveries"]
    assert not any(party in response.text for party in (CAF, CPAM))
    for one in (path, f"/v1/declarations/{NOBODY}", "/v1/declarations/x", "/v1/declarations/%00"):
        assert (404, "tracking.unknown") == await caf.problem("GET", one)


async def test_a_subjects_token_is_the_sources_own_and_expires(served: Served) -> None:
    here, identity = served.here, served.here.home.identity
    portal = await served.caller(PORTAL)
    first, second = [await portal.told("POST", "/v1/subjects:resolve", {"subject": ELISE}) for _ in range(2)]
    token = raw(first["subject_token"])

    assert first["subject_token"] != second["subject_token"]
    assert here.subject() == identity.resolve(token, PORTAL, here.clock())
    for party, later, code in ((CAF, 0, "identity.token-foreign"), (PORTAL, DAY, "identity.token-expired")):
        with pytest.raises(Exception, match=code):
            identity.resolve(token, PartyId(party), Instant(here.clock() + later))


async def test_a_person_that_cannot_be_is_told_by_the_field_and_not_repeated(served: Served) -> None:
    portal = await served.caller(PORTAL)
    wrong = {"subject": ELISE | {"birthdate": "1985-13-45"}}
    response = await portal.asks("POST", "/v1/subjects:resolve", wrong)

    assert 422 == response.status_code
    assert ["/subject/birthdate"] == [one["pointer"] for one in response.json()["errors"]]
    assert not any(told in response.text for told in ("1985", "Martin", "Élise"))
    assert (422, "api.field") == await portal.problem("POST", "/v1/subjects:resolve", {"subject": ELISE["birthdate"]})


async def test_a_type_that_may_not_be_published_is_refused(served: Served) -> None:
    async with served.here.home.store.begin() as tx:
        await served.here.home.registrar.end_publishing(tx, PORTAL, BANK, served.here.clock)
    served.here.clock.pass_(1)
    portal = await served.caller(PORTAL)
    content = await served.here.home.desk.envelope(PORTAL, BANK, served.here.bank())
    assert (403, "directory.not-entitled") == await portal.problem("POST", "/v1/declarations", content, **AVRO)


async def test_a_declaration_keeps_the_trace_id_of_its_request(served: Served) -> None:
    portal = await served.caller(PORTAL)
    trace = "0af7651916cd43dd8448eb211c80319c"
    sent = {**AVRO, "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    told = await portal.asks("POST", "/v1/declarations", await envelope(served), **sent)
    await served.here.home.router.route()
    async with served.here.home.store.read() as tx:
        kept = (await tx.execute(select(declarations.c.trace))).scalar_one()
    assert (202, trace, trace) == (told.status_code, told.headers["trace-id"], kept.hex())
