"""Directory, schemas, subscriptions over HTTP: exact bytes with their ETags; one's own subscriptions and no other."""

from hashlib import sha256

import pytest

from consent.policy import SubscriptionStatus
from schemas import directory_note
from schemas.directory import Directory
from schemas.errors import Refused
from schemas.note import Note
from tests.unit.broker.web.agencies.calls import Served
from tests.world import BANK, CAF, CPAM, HEALTH, MOVED

pytestmark = pytest.mark.asyncio
WISH = {"event_type": BANK, "purpose": HEALTH, "fields": ["subject", "iban"]}


async def test_the_directory_is_what_a_recipient_pins_and_has_a_tag_that_changes_with_it(served: Served) -> None:
    here, caf = served.here, await served.caller(CAF)
    first = await caf.asks("GET", "/v1/directory")
    tag = first.headers["etag"]
    again = await caf.asks("GET", "/v1/directory", if_none_match=f'"other", W/{tag}')
    await here.home.parties.rotate(CAF, 0)
    changed = await caf.asks("GET", "/v1/directory", if_none_match=tag)

    assert here.home.party == Directory.from_json(first.text).broker
    assert (304, b"", tag) == (again.status_code, again.content, again.headers["etag"])
    assert (200, True) == (changed.status_code, changed.headers["etag"] != tag)


async def test_the_signed_directory_is_believed_by_the_ledgers_key_and_its_version_only_rises(served: Served) -> None:
    here, caf = served.here, await served.caller(CAF)
    log = here.home.ledger.verifier_key
    first = await caf.told("GET", "/v1/directory:signed")
    _, pinned = directory_note.verify(first["directory"], Note.parse(first["note"].encode()), log, None)
    await here.home.parties.rotate(CAF, 0)
    second = await caf.told("GET", "/v1/directory:signed")
    found, later = directory_note.verify(second["directory"], Note.parse(second["note"].encode()), log, pinned)

    assert found.to_json() == (await caf.asks("GET", "/v1/directory")).text
    assert later.version > pinned.version
    with pytest.raises(Refused, match=r"directory\.rolled-back"):
        directory_note.verify(first["directory"], Note.parse(first["note"].encode()), log, later)


async def test_a_schema_is_the_bytes_that_its_id_is_the_digest_of(served: Served) -> None:
    caf = await served.caller(CAF)
    for one in (await caf.told("GET", "/v1/schemas"))["schemas"]:
        response = await caf.asks("GET", f"/v1/schemas/{one['schema']}")
        assert one["schema"] == sha256(response.content).hexdigest()
        assert f'"{one["schema"]}"' == response.headers["etag"]
    for wrong in ("00" * 32, "x", "%2e%2e"):
        assert (404, "api.not-found") == await caf.problem("GET", f"/v1/schemas/{wrong}")


async def test_a_subscription_is_asked_for_and_waits_for_an_operator(served: Served) -> None:
    here, cpam = served.here, await served.caller(CPAM)
    asked = await cpam.told("POST", "/v1/subscriptions", WISH, status=201)

    assert ("asked", None, ["iban", "subject"]) == (asked["status"], asked["legal_reference"], asked["fields"])
    assert {MOVED, BANK} == {
        one["event_type"] for one in (await cpam.told("GET", "/v1/subscriptions"))["subscriptions"]
    }
    assert (409, "subscribing.running") == await cpam.problem("POST", "/v1/subscriptions", WISH)
    async with here.home.store.read() as tx:
        mine = [one for one in (await here.home.lookup.subscriptions_by_id(tx)).values() if one.event_type == BANK]
    assert {(CPAM, SubscriptionStatus.ASKED)} <= {(one.recipient, one.status) for one in mine}


async def test_an_administration_ends_its_own_subscription_and_no_other(served: Served) -> None:
    caf, cpam = await served.caller(CAF), await served.caller(CPAM)
    (mine,) = (await cpam.told("GET", "/v1/subscriptions"))["subscriptions"]
    unknown = "00000000-0000-0000-0000-000000000000"
    for one in (mine["id"], unknown, "x"):
        assert (404, "subscribing.unknown") == await caf.problem("POST", f"/v1/subscriptions/{one}:end")
    ended = await cpam.told("POST", f"/v1/subscriptions/{mine['id']}:end")

    assert "ended" == ended["status"]
    assert (409, "subscribing.ended") == await cpam.problem("POST", f"/v1/subscriptions/{mine['id']}:end")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"event_type": "fr.unefois.nothing.v1"}, "catalogue.unknown-type"),
        ({"event_type": "../../etc"}, "name.event-type"),
        ({"purpose": "world-domination"}, "purposes.unknown"),
        ({"fields": ["no_such_field"]}, "subscribing.unknown-field"),
        ({"territories": ["44109"]}, "subscribing.no-territories"),
        ({"recipient": CAF}, "api.unknown-member"),
    ],
)
async def test_a_wish_that_cannot_be_is_refused(served: Served, change: dict[str, object], code: str) -> None:
    cpam = await served.caller(CPAM)
    assert (422, code) == await cpam.problem("POST", "/v1/subscriptions", WISH | change)
