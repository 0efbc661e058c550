"""The directory answers for an instant, trusts no key blindly, and is the same bytes for all who pin the same."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from schemas.directory import Directory, PolicyEntry, PublishingRight
from schemas.hpke import Suite
from schemas.names import Instant, Kid
from schemas.retractions import CANCELLED, RECALLED
from schemas.signing import Algorithm


def test_a_key_is_found_by_its_id(world: Any) -> None:
    directory = world.directory()
    assert world.signing_entry(world.town, world.TOWN) == directory.signing_key(world.town.kid)
    assert world.sealing_entry(world.gate, world.BROKER) == directory.sealing_key(world.gate.kid)


def test_a_key_that_nobody_holds_is_refused(world: Any) -> None:
    unknown = Kid(bytes(32))
    assert "directory.unknown-key" == world.code_of(lambda: world.directory().signing_key(unknown))
    assert "directory.unknown-sealing-key" == world.code_of(lambda: world.directory().sealing_key(unknown))


def test_a_sealing_key_does_not_sign_and_a_signing_key_does_not_seal(world: Any) -> None:
    assert "directory.unknown-key" == world.code_of(lambda: world.directory().signing_key(world.gate.kid))
    assert "directory.unknown-sealing-key" == world.code_of(lambda: world.directory().sealing_key(world.town.kid))


@pytest.mark.parametrize(
    ("offset", "code"),
    [
        (-1, "directory.key-not-yet-valid"),
        (0, None),
        (50, None),
        (100, None),
        (101, "directory.key-expired"),
    ],
)
def test_a_key_is_good_from_its_first_to_its_last_instant(offset: int, code: str | None, world: Any) -> None:
    start = world.NOW
    signing = world.signing_entry(world.town, world.TOWN, valid_from=start, valid_to=start + 100)
    sealing = world.sealing_entry(world.gate, world.BROKER, valid_from=start, valid_to=start + 100)
    directory = world.directory(signing=[signing], sealing=[sealing])

    def asked() -> None:
        directory.check_publishing(world.TOWN, world.MOVED, world.town.kid, Instant(start + offset))

    def asked_sealing() -> None:
        directory.check_sealing(world.BROKER, world.gate.kid, Instant(start + offset))

    for question in (asked, asked_sealing):
        if code is None:
            question()
        else:
            assert code == world.code_of(question)


@pytest.mark.parametrize(("offset", "good"), [(-1, True), (0, False), (1, False)])
def test_a_key_is_not_good_from_the_instant_of_its_revocation(offset: int, good: bool, world: Any) -> None:
    entry = world.signing_entry(world.town, world.TOWN, revoked_at=world.NOW)
    directory = world.directory(signing=[entry])

    def asked() -> None:
        directory.check_publishing(world.TOWN, world.MOVED, world.town.kid, Instant(world.NOW + offset))

    if good:
        asked()
    else:
        assert "directory.key-revoked" == world.code_of(asked)


def test_during_a_rotation_old_and_new_key_are_good(world: Any) -> None:
    now, day = world.NOW, world.DAY
    old, new = world.town, world.signing_key("town's next")
    directory = world.directory(
        signing=[
            world.signing_entry(old, world.TOWN, valid_to=now + day),
            world.signing_entry(new, world.TOWN, valid_from=now - day),
        ]
    )
    for key in (old, new):
        directory.check_publishing(world.TOWN, world.MOVED, key.kid, now)
    before, after = Instant(now - 2 * day), Instant(now + 2 * day)
    directory.check_publishing(world.TOWN, world.MOVED, old.kid, before)
    directory.check_publishing(world.TOWN, world.MOVED, new.kid, after)
    for key, at in ((new, before), (old, after)):
        with pytest.raises(Exception, match=r"directory\.key-"):
            directory.check_publishing(world.TOWN, world.MOVED, key.kid, at)


def test_one_seals_to_the_key_that_became_valid_last_and_is_still_good(world: Any) -> None:
    now, day = world.NOW, world.DAY
    old, new, future, dead = (world.sealing_key(name) for name in ("old", "new", "future", "dead"))
    directory = world.directory(
        sealing=[
            world.sealing_entry(new, world.FUND, valid_from=now - day),
            world.sealing_entry(old, world.FUND),
            world.sealing_entry(future, world.FUND, valid_from=now + 1),
            world.sealing_entry(dead, world.FUND, valid_from=now - 1, revoked_at=now),
            world.sealing_entry(world.gate, world.BROKER, valid_from=now),
        ]
    )
    assert new.kid == directory.current_sealing_key(world.FUND, now).kid
    assert future.kid == directory.current_sealing_key(world.FUND, Instant(now + 1)).kid
    assert old.kid == directory.current_sealing_key(world.FUND, Instant(now - 2 * day)).kid


def test_a_party_without_a_good_sealing_key_cannot_be_sealed_to(world: Any) -> None:
    directory = world.directory(sealing=[world.sealing_entry(world.fund, world.FUND, valid_to=world.NOW)])
    late = Instant(world.NOW + 1)
    assert "directory.no-sealing-key" == world.code_of(lambda: directory.current_sealing_key(world.FUND, late))
    assert "directory.no-sealing-key" == world.code_of(lambda: directory.current_sealing_key(world.TOWN, late))


def test_a_key_speaks_only_for_its_own_party(world: Any) -> None:
    directory, now = world.directory(), world.NOW
    code = "directory.key-of-another-party"
    assert code == world.code_of(lambda: directory.check_publishing(world.TOWN, world.MOVED, world.other_town.kid, now))
    assert code == world.code_of(lambda: directory.check_sealing(world.FUND, world.gate.kid, now))


@pytest.mark.parametrize(("offset", "good"), [(-1, False), (0, True), (100, True), (101, False)])
def test_a_party_publishes_a_type_while_it_has_the_right(offset: int, good: bool, world: Any) -> None:
    right = PublishingRight(world.TOWN, world.MOVED, world.NOW, Instant(world.NOW + 100))
    directory = world.directory(rights=[right])

    def asked() -> None:
        directory.check_publishing(world.TOWN, world.MOVED, world.town.kid, Instant(world.NOW + offset))

    if good:
        asked()
    else:
        assert "directory.not-entitled" == world.code_of(asked)


def test_a_right_that_came_back_counts_again(world: Any) -> None:
    now = world.NOW
    rights = [
        PublishingRight(world.TOWN, world.MOVED, Instant(0), Instant(now - 1)),
        PublishingRight(world.TOWN, world.MOVED, Instant(now + 1)),
    ]
    directory = world.directory(rights=rights)
    ask = directory.check_publishing
    ask(world.TOWN, world.MOVED, world.town.kid, Instant(now - 1))
    ask(world.TOWN, world.MOVED, world.town.kid, Instant(now + 1))
    assert "directory.not-entitled" == world.code_of(lambda: ask(world.TOWN, world.MOVED, world.town.kid, now))


def test_a_right_for_one_type_or_party_is_none_for_another(world: Any) -> None:
    directory = world.directory(rights=[PublishingRight(world.TOWN, world.MOVED, Instant(0))])
    ask = directory.check_publishing
    assert "directory.not-entitled" == world.code_of(lambda: ask(world.TOWN, world.LEFT, world.town.kid, world.NOW))
    other = (world.OTHER_TOWN, world.MOVED, world.other_town.kid, world.NOW)
    assert "directory.not-entitled" == world.code_of(lambda: ask(*other))


def test_whoever_may_publish_anything_may_take_it_back_and_the_broker_may_recall(world: Any) -> None:
    now = world.NOW
    directory = world.directory(rights=[PublishingRight(world.TOWN, world.MOVED, Instant(0), Instant(now))])
    ask = directory.check_publishing
    for kind in (CANCELLED, RECALLED):
        ask(world.TOWN, kind, world.town.kid, now)
        late = (world.TOWN, kind, world.town.kid, Instant(now + 1))
        assert "directory.not-entitled" == world.code_of(lambda late=late: ask(*late))
        other = (world.OTHER_TOWN, kind, world.other_town.kid, now)
        assert "directory.not-entitled" == world.code_of(lambda other=other: ask(*other))
    ask(world.BROKER, RECALLED, world.broker.kid, now)
    assert "directory.not-entitled" == world.code_of(lambda: ask(world.BROKER, CANCELLED, world.broker.kid, now))


def test_the_policy_is_the_one_in_force_at_that_instant(world: Any) -> None:
    now = world.NOW
    directory = world.directory(policies=[PolicyEntry(world.TOWN, 4, now), PolicyEntry(world.TOWN, 1, Instant(10))])
    assert 1 == directory.policy(world.TOWN, Instant(10))
    assert 1 == directory.policy(world.TOWN, Instant(now - 1))
    assert 4 == directory.policy(world.TOWN, now)
    assert "directory.no-policy" == world.code_of(lambda: directory.policy(world.TOWN, Instant(9)))
    assert "directory.no-policy" == world.code_of(lambda: directory.policy(world.FUND, now))


def test_a_key_that_signing_or_hpke_would_not_trust_does_not_enter(world: Any) -> None:
    weak = replace(world.signing_entry(world.town, world.TOWN), public=b"\x01" + bytes(31))
    assert "signing.small-order-key" == world.code_of(lambda: world.directory(signing=[weak]))
    short = replace(world.signing_entry(world.town_quantum, world.TOWN), public=bytes(1311))
    assert "signing.public-key-length" == world.code_of(lambda: world.directory(signing=[short]))
    open_to_all = replace(world.sealing_entry(world.gate, world.BROKER), public=bytes(32))
    assert "hpke.small-order-key" == world.code_of(lambda: world.directory(sealing=[open_to_all]))


def test_a_key_id_must_be_the_hash_of_its_key(world: Any) -> None:
    signing = replace(world.signing_entry(world.town, world.TOWN), kid=world.other_town.kid)
    assert "directory.kid-mismatch" == world.code_of(lambda: world.directory(signing=[signing]))
    sealing = replace(world.sealing_entry(world.gate, world.BROKER), kid=world.fund.kid)
    assert "directory.kid-mismatch" == world.code_of(lambda: world.directory(sealing=[sealing]))


def test_one_key_belongs_to_one_party(world: Any) -> None:
    code = "directory.same-key-twice"
    signing = [world.signing_entry(world.town, party) for party in (world.TOWN, world.OTHER_TOWN)]
    assert code == world.code_of(lambda: world.directory(signing=signing))
    sealing = [world.sealing_entry(world.gate, party) for party in (world.BROKER, world.FUND)]
    assert code == world.code_of(lambda: world.directory(sealing=sealing))


def test_a_period_that_ends_before_it_begins_is_refused(world: Any) -> None:
    code, end = "directory.empty-period", world.NOW - 11 * world.DAY
    assert code == world.code_of(
        lambda: world.directory(signing=[world.signing_entry(world.town, world.TOWN, valid_to=end)])
    )
    assert code == world.code_of(
        lambda: world.directory(sealing=[world.sealing_entry(world.gate, world.BROKER, valid_to=end)])
    )
    right = PublishingRight(world.TOWN, world.MOVED, world.NOW, Instant(world.NOW - 1))
    assert code == world.code_of(lambda: world.directory(rights=[right]))


def test_a_period_of_one_instant_is_a_period(world: Any) -> None:
    entry = world.signing_entry(world.town, world.TOWN, valid_from=world.NOW, valid_to=world.NOW)
    world.directory(signing=[entry]).check_signer(world.TOWN, world.town.kid, world.NOW)


def test_a_policy_must_exist_and_begin_alone(world: Any) -> None:
    unknown = [PolicyEntry(world.TOWN, 6, Instant(0))]
    assert "directory.unknown-policy" == world.code_of(lambda: world.directory(policies=unknown))
    both = [PolicyEntry(world.TOWN, 1, Instant(0)), PolicyEntry(world.TOWN, 4, Instant(0))]
    assert "directory.two-policies" == world.code_of(lambda: world.directory(policies=both))


def full(world: Any) -> Directory:
    lists = {
        "signing": [
            world.signing_entry(world.town, world.TOWN),
            world.signing_entry(world.broker, world.BROKER, valid_to=None, revoked_at=world.NOW),
            world.signing_entry(world.signing_key("p", Algorithm.ECDSA_P256), world.FUND),
            world.signing_entry(world.town_quantum, world.TOWN),
        ],
        "sealing": [
            world.sealing_entry(world.gate, world.BROKER),
            world.sealing_entry(world.sealing_key("h", Suite.MLKEM768_X25519), world.FUND, valid_to=None),
        ],
        "rights": [PublishingRight(world.TOWN, world.MOVED, Instant(0), Instant(5))],
        "policies": [PolicyEntry(world.TOWN, 5, world.NOW), PolicyEntry(world.TOWN, 1, Instant(0))],
    }
    directory: Directory = world.directory(**lists)
    return directory


def test_a_directory_survives_being_written_down(world: Any) -> None:
    directory = full(world)
    again = Directory.from_json(directory.to_json())
    assert directory == again
    assert directory.to_json() == again.to_json()
    assert directory.signing_key(world.town.kid) == again.signing_key(world.town.kid)


def test_the_order_in_which_entries_were_given_does_not_show(world: Any) -> None:
    one = world.directory()
    two = world.directory(signing=reversed(one.signing), rights=reversed(one.rights), policies=reversed(one.policies))
    assert one.to_json() == two.to_json()


def respaced(text: str) -> str:
    return json.dumps(json.loads(text))


def reordered(text: str) -> str:
    whole = json.loads(text)
    whole["signing"].reverse()
    return json.dumps(whole, indent=1) + "\n"


def in_capitals(text: str) -> str:
    return re.sub(r'(?<="kid": ")[0-9a-f]+', lambda kid: kid[0].upper(), text, count=1)


def with_a_key_twice(text: str) -> str:
    return text.replace('{\n "broker"', '{\n "broker": "urn:unefois:other",\n "broker"', 1)


def with_one_member_more(text: str) -> str:
    return json.dumps(json.loads(text) | {"more": 1}, indent=1) + "\n"


@pytest.mark.parametrize("bend", [respaced, reordered, in_capitals, with_a_key_twice, with_one_member_more])
def test_any_other_text_of_the_same_directory_is_refused(bend: Any, world: Any) -> None:
    assert "directory.not-exact" == world.code_of(lambda: Directory.from_json(bend(full(world).to_json())))


@pytest.mark.parametrize(
    "bend",
    [
        lambda text: "",
        lambda text: "[]",
        lambda text: "null",
        lambda text: "[" * 100_000,
        lambda text: text[:-3],
        lambda text: text.replace('"broker": "urn:unefois:broker"', '"broker": "nobody"'),
        lambda text: text.replace('"policy": 5', '"policy": true'),
        lambda text: text.replace('"policy": 5', '"policy": 5.0'),
        lambda text: text.replace('"algorithm": 1', '"algorithm": 9'),
        lambda text: text.replace('"algorithm": 1', '"algorism": 1'),
        lambda text: text.replace('"valid_to": 5', '"valid_to": "5"'),
        lambda text: text.replace('"policies"', '"politics"'),
    ],
)
def test_a_text_that_is_no_directory_is_refused(bend: Any, world: Any) -> None:
    assert "directory.malformed" == world.code_of(lambda: Directory.from_json(bend(full(world).to_json())))


def test_a_written_directory_is_checked_like_any_other(world: Any) -> None:
    text = full(world).to_json().replace(f'"public": "{world.town.public.hex()}"', f'"public": "{"01" + "00" * 31}"')
    assert "signing.small-order-key" == world.code_of(lambda: Directory.from_json(text))
