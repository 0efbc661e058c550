"""party: administrations are added, listed, their keys rotated and revoked."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from connectors import key_files
from tests.program import Program, grant_and_declare
from tests.world import CAF, MOVED, PORTAL, RENNES

NEW = "urn:fr:siret:21440109300015"
WORDS = ("--sector", "commune", "--address", "1 rue X", "--contact", "c@x.example", "--retention", "2 ans")


def private(unefois: Program) -> list[str]:
    """The names of the files with private keys."""
    return sorted(path.name for path in (unefois.home / "keys").rglob("*") if path.is_file())


def by_id(unefois: Program) -> dict[str, dict[str, object]]:
    return {one["id"]: one for one in unefois.told("party", "list")["parties"]}


class TestAdd:
    def test_a_party_has_keys_its_policy_and_what_it_may_declare(self, unefois: Program) -> None:
        told = unefois.told(
            *("party", "add", NEW, "--name", "Ville de Nantes", *WORDS, "--policy", "4"),
            *("--publishes", "address.changed", "--publishes", "fr.unefois.person.born.v1"),
        )

        assert told == by_id(unefois)[NEW]
        assert [("ed25519", "signing"), ("ml_dsa_44", "signing"), ("mlkem768_x25519", "sealing")] == sorted(
            (key["kind"], key["use"]) for key in told["keys"]
        )
        assert [4] == [each["policy"] for each in told["policies"]]
        assert ["fr.unefois.address.changed.v1", "fr.unefois.person.born.v1"] == [
            each["event_type"] for each in told["publishes"]
        ]
        assert unefois.told("fsck")["clean"]

    def test_a_party_that_brings_its_own_public_keys_has_nothing_private_here(self, unefois: Program) -> None:
        own = [key_files.new(kind) for kind in ("ed25519", "ml_dsa_44", "x25519")]
        words = [word for key in own for word in ("--key", key_files.public(key))]
        before = private(unefois)

        told = unefois.told("party", "add", NEW, "--name", "Ville de Nantes", *WORDS, "--policy", "4", *words)

        assert {key.kid.hex(): False for key in own} == {key["kid"]: key["held"] for key in told["keys"]}
        assert before == private(unefois)
        assert [4] == [each["policy"] for each in told["policies"]]
        assert unefois.told("fsck")["clean"]

    @pytest.mark.parametrize(
        ("words", "code", "exit_code"),
        [
            (("--key", key_files.public(key_files.new("x25519"))), "registrar.policy-without-keys", 3),
            (("--key", "ed25519 zz"), "key-file.public", 3),
            (("--key", key_files.public(key_files.new("ed25519")), "--suite", "x25519"), "cli.usage", 2),
        ],
    )
    def test_keys_of_its_own_that_do_not_do_register_nobody(
        self, unefois: Program, words: tuple[str, ...], code: str, exit_code: int
    ) -> None:
        before = by_id(unefois), private(unefois)

        refused = unefois.error("party", "add", NEW, "--name", "Ville de Nantes", *WORDS, *words, code=exit_code)

        assert (code, before) == (refused["code"], (by_id(unefois), private(unefois)))

    def test_a_party_that_only_declares_needs_no_sealing_key(self, unefois: Program) -> None:
        told = unefois.told("party", "add", NEW, "--name", "Portail", *WORDS, "--kind", "portal", "--suite", "none")

        assert (["signing"], "portal") == ([key["use"] for key in told["keys"]], told["kind"])

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            ((NEW[:-1], "--name", "x"), "name.party"),
            ((CAF, "--name", "x"), "registrar.party-exists"),
            ((NEW, "--name", " x"), "registrar.text"),
            ((NEW, "--name", "x", "--policy", "9"), "registrar.unknown-policy"),
            ((NEW, "--name", "x", "--publishes", "nothing.ever"), "catalogue.unknown-type"),
        ],
    )
    def test_a_mistake_registers_nobody(self, unefois: Program, words: tuple[str, ...], code: str) -> None:
        before = by_id(unefois)

        assert code == unefois.error("party", "add", *words, *WORDS, code=3)["code"]

        assert before == by_id(unefois)


class TestAddKey:
    @pytest.mark.parametrize("kind", ["ed25519", "x25519", "mlkem768_x25519"])
    def test_a_key_of_a_partys_own_is_listed_and_its_private_half_is_not_here(
        self, unefois: Program, kind: str
    ) -> None:
        public = key_files.public(key_files.new(kind))

        told = unefois.told("party", "add-key", CAF, public)

        assert (told["key"], kind) in [(key["kid"], key["kind"]) for key in by_id(unefois)[CAF]["keys"]]  # type: ignore[attr-defined]
        assert not list(unefois.home.rglob(f"*{told['key']}*"))
        assert unefois.told("fsck")["clean"]
        assert "registrar.key-exists" == unefois.error("party", "add-key", CAF, public, code=3)["code"]

    @pytest.mark.parametrize(
        ("party", "key", "code"),
        [
            (NEW, "ed25519 " + "11" * 32, "directory.unknown-party"),
            (CAF, "ed25519", "key-file.public"),
            (CAF, "rsa 00", "key-file.public"),
            (CAF, "ed25519 zz", "key-file.public"),
            (CAF, "ed25519 00", "signing.public-key-length"),
        ],
    )
    def test_what_is_no_key_is_refused(self, unefois: Program, party: str, key: str, code: str) -> None:
        assert code == unefois.error("party", "add-key", party, key, code=3)["code"]


class TestKeys:
    def test_rotation_adds_keys_of_the_same_kinds_and_gives_the_old_ones_an_end(self, unefois: Program) -> None:
        told = unefois.told("party", "rotate", CAF, "--overlap-days", "7")

        keys = by_id(unefois)[CAF]["keys"]
        assert isinstance(keys, list)
        assert set(told["keys"]) == {key["kid"] for key in keys if key["valid_to"] is None}
        assert 2 == len([key for key in keys if key["valid_to"] is not None])

    def test_the_old_keys_are_good_for_as_long_as_the_settings_say_where_nobody_says_more(
        self, unefois: Program
    ) -> None:
        (unefois.home / "unefois.toml").write_text("key_overlap_days = 3\n")
        unefois.told("party", "rotate", CAF)

        keys = by_id(unefois)[CAF]["keys"]
        assert isinstance(keys, list)
        begun = {datetime.fromisoformat(key["valid_from"]) for key in keys if key["valid_to"] is None}
        ended = {datetime.fromisoformat(key["valid_to"]) for key in keys if key["valid_to"] is not None}
        assert {timedelta(days=3)} == {end - begin for end, begin in zip(sorted(ended), sorted(begun), strict=True)}

    def test_no_key_is_made_here_for_a_party_that_keeps_its_own(self, unefois: Program) -> None:
        own = key_files.new("x25519")
        unefois.told("party", "add-key", CAF, key_files.public(own))
        before = by_id(unefois)[CAF], private(unefois)

        refused = unefois.error("party", "rotate", CAF, code=3)

        assert ("registrar.keys-elsewhere", own.kid.hex()) == (refused["code"], refused["details"]["kid"])
        assert before == (by_id(unefois)[CAF], private(unefois))
        unefois.told("party", "revoke-key", own.kid.hex(), "--since", "2026-01-02T03:04:05Z", "--yes")
        assert 2 == len(unefois.told("party", "rotate", CAF)["keys"])  # what is left of it is held here

    def test_the_list_says_which_keys_are_held_here(self, unefois: Program) -> None:
        own = key_files.new("ed25519")
        unefois.told("party", "add-key", CAF, key_files.public(own))
        keys = by_id(unefois)
        for party, told in keys.items():
            for key in told["keys"]:  # type: ignore[attr-defined]
                assert key["held"] is (key["kid"] != own.kid.hex()), party

    def test_revoking_asks_and_no_leaves_the_key(self, unefois: Program) -> None:
        (kid,) = [key["kid"] for key in by_id(unefois)[PORTAL]["keys"] if key["use"] == "signing"]  # type: ignore[attr-defined]
        assert 0 != unefois.run("party", "revoke-key", kid, typed="n\n").exit_code
        assert [None] == [key["revoked_at"] for key in by_id(unefois)[PORTAL]["keys"] if key["kid"] == kid]  # type: ignore[attr-defined]
        assert 0 == unefois.run("party", "revoke-key", kid, typed="y\n").exit_code
        assert [None] != [key["revoked_at"] for key in by_id(unefois)[PORTAL]["keys"] if key["kid"] == kid]  # type: ignore[attr-defined]

    def test_a_revoked_key_shows_since_when(self, unefois: Program) -> None:
        keys = by_id(unefois)[PORTAL]["keys"]
        assert isinstance(keys, list)
        (kid,) = [key["kid"] for key in keys if key["use"] == "signing"]

        unefois.told("party", "revoke-key", kid, "--since", "2026-01-02T03:04:05Z", "--yes")

        keys = by_id(unefois)[PORTAL]["keys"]
        assert isinstance(keys, list)
        assert ["2026-01-02T03:04:05.000Z"] == [key["revoked_at"] for key in keys if key["kid"] == kid]
        assert "registrar.already-revoked" == unefois.error("party", "revoke-key", kid, "--yes", code=3)["code"]

    @pytest.mark.parametrize("when", ["yesterday", "2026-02-30", "2026-01-02T03:04:05"])
    def test_an_instant_that_is_none_is_a_mistake_of_the_command_line(self, unefois: Program, when: str) -> None:
        assert "cli.usage" == unefois.error("party", "revoke-key", "00" * 32, "--since", when, code=2)["code"]


def test_the_list_for_people_has_whole_key_ids(unefois: Program) -> None:
    shown = unefois.run("party", "list").stdout

    for party in json.loads(unefois.run("party", "list", "--json").stdout)["parties"]:
        for key in party["keys"]:
            assert key["kid"] in shown


class TestRights:
    def test_a_right_is_given_ended_and_given_again(self, unefois: Program) -> None:
        told = unefois.told("party", "allow", CAF, "address.changed")
        assert [MOVED] == [right["event_type"] for right in told["publishes"]]
        assert "registrar.right-exists" == unefois.error("party", "allow", CAF, MOVED, code=3)["code"]

        assert [MOVED] == unefois.told("party", "forbid", CAF, "address.changed", "--yes")["ended"]
        assert "registrar.no-right" == unefois.error("party", "forbid", CAF, MOVED, "--yes", code=3)["code"]
        assert "address.changed" not in unefois.run("party", "list").stdout.split(CAF)[1].split("urn:")[0]

        again = unefois.told("party", "allow", CAF, MOVED)["publishes"]
        assert [False, True] == [right["to"] is None for right in again]

    def test_a_source_that_is_stopped_declares_nothing_and_what_it_declared_goes_its_way(
        self, unefois: Program, elise: Path, move: Path
    ) -> None:
        grant_and_declare(unefois, elise, move, "subject")
        every = {right["event_type"] for right in by_id(unefois)[PORTAL]["publishes"]}  # type: ignore[union-attr, index]

        assert every == set(unefois.told("party", "forbid", PORTAL, "--yes")["ended"])
        assert "publishers.nobody" == unefois.error("declare", move, "--type", "address.changed", code=3)["code"]
        assert 1 == unefois.told("run", "--once")["routed"]
        assert "*" == unefois.error("party", "forbid", PORTAL, "--yes", code=3)["details"]["event_type"]

    def test_who_is_asked_and_does_not_say_yes_ends_nothing(self, unefois: Program) -> None:
        before = by_id(unefois)[PORTAL]
        assert 1 == unefois.run("party", "forbid", PORTAL, typed="n\n").exit_code
        assert before == by_id(unefois)[PORTAL]


class TestPolicy:
    def test_a_policy_is_raised_with_the_keys_that_it_needs_made_here(
        self, unefois: Program, elise: Path, move: Path
    ) -> None:
        told = unefois.told("party", "policy", PORTAL, "4")

        assert [1, 4] == [one["policy"] for one in told["policies"]]
        (made,) = [key for key in told["keys"] if key["kid"] in told["made"]]
        assert ("ml_dsa_44", True) == (made["kind"], made["held"])
        grant_and_declare(unefois, elise, move, "subject")
        assert 1 == unefois.told("run", "--once")["routed"]
        assert [] == unefois.told("party", "policy", PORTAL, "5", "--from", "2031-01-02")["made"][1:]

    def test_of_a_party_that_keeps_its_own_keys_none_is_made(self, unefois: Program) -> None:
        own = key_files.new("ed25519")
        unefois.told("party", "add-key", CAF, key_files.public(own))
        before = private(unefois)

        refused = unefois.error("party", "policy", CAF, "4", code=3)

        assert ("registrar.policy-without-keys", before) == (refused["code"], private(unefois))
        unefois.told("party", "add-key", CAF, key_files.public(key_files.new("ml_dsa_44")))
        assert 4 == unefois.told("party", "policy", CAF, "4")["policies"][-1]["policy"]

    @pytest.mark.parametrize(
        ("words", "code"),
        [((CAF, "9"), "registrar.unknown-policy"), ((NEW, "4"), "directory.unknown-party")],
    )
    def test_what_cannot_be_demanded_is_refused(self, unefois: Program, words: tuple[str, str], code: str) -> None:
        assert code == unefois.error("party", "policy", *words, code=3)["code"]


def test_who_is_behind_is_named_with_its_contact_however_it_is_served(
    unefois: Program, elise: Path, move: Path
) -> None:
    assert {"behind": []} == unefois.told("party", "behind")
    assert "Nothing waits.\n" == unefois.run("party", "behind").stdout
    grant_and_declare(unefois, elise, move, "subject")
    unefois.told("run", "--once")

    (late,) = unefois.told("party", "behind")["behind"]

    assert (RENNES, 1, 0, 0) == (late["party"], late["waiting"], late["handed_out"], late["dead_letters"])
    assert late["contact"]
    assert late["oldest_at"]
    assert RENNES in unefois.run("party", "behind").stdout


class TestEdit:
    def test_what_was_said_is_changed_and_the_rest_stays(self, unefois: Program) -> None:
        before = by_id(unefois)[CAF]

        told = unefois.told("party", "edit", CAF, "--contact", "accueil@caf.example", "--address", "2 rue Y")

        assert before | {"contact": "accueil@caf.example", "address": "2 rue Y"} == told == by_id(unefois)[CAF]
        assert unefois.told("fsck")["clean"]

    def test_what_is_so_already_or_nobody_said_is_refused_and_a_stranger_is_unknown(self, unefois: Program) -> None:
        name = str(by_id(unefois)[CAF]["name"])

        assert "registrar.no-change" == unefois.error("party", "edit", CAF, "--name", name, code=3)["code"]
        assert "registrar.text" == unefois.error("party", "edit", CAF, "--name", " ", code=3)["code"]
        assert "directory.unknown-party" == unefois.error("party", "edit", NEW, "--name", "X", code=3)["code"]
        assert 2 == unefois.run("party", "edit", CAF).exit_code
