"""grant, revoke, pause, resume, narrow, grants: what a citizen allows, with its receipt, and no name in the history."""

import json
from base64 import b64decode
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.program import Program
from tests.world import CAF, ELISE, RENNES, YANN

GIVE = ("grant", "--recipient", CAF, "--type", "address.changed", "--purpose", "family-benefits")
FIELDS = ("--field", "subject", "--field", "new_address")


def give(unefois: Program, elise: Path, *words: object) -> dict[str, Any]:
    return unefois.told(*GIVE, *FIELDS, "--person", elise, *words)


def shown(unefois: Program, person: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = unefois.told("grants", "--person", person)["grants"]
    return found


def content(receipt: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(b64decode(json.loads(receipt)["payload"]))
    return told


class TestGrant:
    def test_a_consent_is_told_with_its_text_its_entry_and_its_signed_receipt(
        self, unefois: Program, elise: Path
    ) -> None:
        told = give(unefois, elise)

        grant = told["grant"]
        assert ("active", 1, "consent", "standing") == (
            grant["status"],
            grant["version"],
            grant["basis"],
            grant["scope"],
        )
        assert int(grant["granted_at"][:4]) + 2 == int(grant["expires_at"][:4])
        ends = datetime.fromisoformat(grant["expires_at"])
        assert f"\nEnds: {ends.day} {ends:%B %Y at %H:%M:%S} UTC.\n" in told["text"]
        assert (["new_address", "subject"], CAF) == (grant["fields"], grant["recipient"])
        assert sha256(told["text"].encode()).hexdigest() == grant["text_sha256"]
        assert told["text"].startswith("I allow caf to receive")
        receipt = content(told["receipt"])
        assert (grant["id"], told["entry"]) == (receipt["record_id"], receipt["ledger_entry"])
        assert [grant] == shown(unefois, elise)

    def test_the_text_is_in_the_language_of_the_call(self, unefois: Program, elise: Path) -> None:
        told = give(unefois, elise, "--lang", "fr")

        assert told["text"].startswith("J'autorise caf à recevoir")
        assert "fr" == told["grant"]["language"]

    def test_a_text_of_ones_own_is_what_is_hashed(self, unefois: Program, elise: Path, tmp_path: Path) -> None:
        (tmp_path / "text.txt").write_text("Our own words.\n")

        told = give(unefois, elise, "--text", tmp_path / "text.txt")

        assert sha256(b"Our own words.\n").hexdigest() == told["grant"]["text_sha256"]

    def test_a_mandate_has_its_article(self, unefois: Program, elise: Path) -> None:
        told = give(unefois, elise, "--law", "CSS, art. L583-3")

        assert "law:CSS, art. L583-3" == told["grant"]["basis"]
        assert told["text"].startswith("The law (CSS, art. L583-3) provides")
        chosen = give(unefois, elise, "--choice", "ordonnance 2005-395")
        assert "choice:ordonnance 2005-395" == chosen["grant"]["basis"]
        assert chosen["text"].startswith("A text (ordonnance 2005-395) lets me choose")

    def test_a_day_means_its_first_moment_as_a_beginning_and_its_last_as_an_end(
        self, unefois: Program, elise: Path
    ) -> None:
        grant = give(unefois, elise, "--from", "2027-01-01", "--until", "2027-12-31", "--once")["grant"]

        assert ("2027-01-01T00:00:00.000Z", "2028-01-01T00:00:00.000Z", "once") == (
            grant["starts_at"],
            grant["expires_at"],
            grant["scope"],
        )

    def test_who_spoke_how_and_for_whom_is_recorded(self, unefois: Program, elise: Path) -> None:
        grant = give(unefois, elise, "--given-by", "agent:12", "--capacity", "agent", "--channel", "counter")["grant"]

        assert ("agent:12", "agent", "counter") == (grant["given_by"], grant["capacity"], grant["channel"])

    def test_who_consents_for_another_names_the_record_of_it(self, unefois: Program, elise: Path) -> None:
        alone = ("--given-by", "agent:12", "--capacity", "guardian")
        fault = unefois.error("grant", *GIVE[1:], *FIELDS, "--person", elise, *alone, code=3)

        assert ("representations.none", "/given_by") == (fault["code"], fault["pointer"])

    def test_the_receipt_goes_into_a_file_of_its_owner_alone(
        self, unefois: Program, elise: Path, tmp_path: Path
    ) -> None:
        result = unefois.run(*GIVE, *FIELDS, "--person", elise, "--receipt", tmp_path / "r.json")

        assert 0 == result.exit_code
        assert "payload" not in result.stdout
        assert "given" == content((tmp_path / "r.json").read_text())["events"][0]["event_state"]
        assert 0o600 == (tmp_path / "r.json").stat().st_mode & 0o777

    def test_the_person_may_be_piped_in(self, unefois: Program, elise: Path) -> None:
        result = unefois.run(*GIVE, *FIELDS, "--person", "-", typed=elise.read_text())

        assert 0 == result.exit_code
        assert 1 == len(shown(unefois, elise))

    def test_the_latest_declaration_made_before_can_be_included(
        self, unefois: Program, elise: Path, move: Path
    ) -> None:
        declared = unefois.told("declare", move, "--type", "address.changed")["declaration"]
        unefois.run("run", "--once")

        give(unefois, elise, "--include-latest")

        steps = {step["recipient"]: step["progress"] for step in unefois.told("track", declared)["steps"]}
        assert "sent" == steps[CAF]

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (("--field", "all"), "grant.field-name"),
            (("--field", "new_adress"), "grant.unknown-field"),
            (("--recipient", "urn:unefois:nobody"), "directory.unknown-party"),
            (("--purpose", "income-tax"), "purposes.basis"),
            (("--purpose", "curiosity"), "purposes.unknown"),
            (("--given-by", "Élise Martin"), "grant.given-by"),
            (("--until", "2020-01-01"), "grant.ends-before-it-starts"),
        ],
    )
    def test_a_grant_that_cannot_be_is_refused_without_a_trace(
        self, unefois: Program, elise: Path, words: tuple[str, ...], code: str
    ) -> None:
        assert code == unefois.error(*GIVE, *FIELDS, "--person", elise, *words, code=3)["code"]
        assert [] == shown(unefois, elise)

    def test_a_person_s_mistake_is_told_by_its_place_and_never_by_its_value(
        self, unefois: Program, tmp_path: Path
    ) -> None:
        (tmp_path / "p.json").write_text(json.dumps(ELISE | {"birthdate": "12 avril 1985"}))

        result = unefois.run(*GIVE, *FIELDS, "--person", tmp_path / "p.json")

        assert 3 == result.exit_code
        assert "identity.birthdate  /birthdate" in result.stderr
        for value in ("avril", "Martin", "Élise"):
            assert value not in result.output


class TestChanges:
    def test_a_revoked_consent_is_over_and_its_receipt_says_so(self, unefois: Program, elise: Path) -> None:
        grant = give(unefois, elise)["grant"]["id"]

        told = unefois.told("revoke", grant)

        assert ("revoked", 2) == (told["grant"]["status"], told["grant"]["version"])
        assert "withdrawn" == content(told["receipt"])["events"][0]["event_state"]
        assert "grant.over" == unefois.error("revoke", grant, code=3)["code"]

    def test_a_mandate_is_ended_by_an_operator_and_not_revoked(self, unefois: Program, elise: Path) -> None:
        grant = give(unefois, elise, "--law", "CSS, art. L583-3")["grant"]["id"]

        assert "grant.mandate" == unefois.error("revoke", grant, code=3)["code"]
        assert "revoked" == unefois.told("revoke", grant, "--mandate", "--channel", "system")["grant"]["status"]

    def test_everything_of_a_citizen_is_revoked_but_mandates(self, unefois: Program, elise: Path) -> None:
        give(unefois, elise)
        give(unefois, elise, "--law", "CSS, art. L583-3")

        told = unefois.told("revoke", "--all", "--person", elise)

        assert ["consent"] == [each["grant"]["basis"] for each in told["revoked"]]
        assert {("consent", "revoked"), ("law:CSS, art. L583-3", "active")} == {
            (each["basis"], each["status"]) for each in shown(unefois, elise)
        }

    def test_everything_revoked_is_told_in_words(self, unefois: Program, elise: Path) -> None:
        grant = give(unefois, elise)["grant"]["id"]

        shown = unefois.run("revoke", "--all", "--person", elise).stdout

        assert shown.startswith("Consents withdrawn: 1\n")
        assert grant in shown

    @pytest.mark.parametrize("words", [(), ("--all",), ("0" * 32, "--all", "--person", "-")])
    def test_what_to_revoke_has_to_be_said_once(self, unefois: Program, words: tuple[str, ...]) -> None:
        assert "cli.usage" == unefois.error("revoke", *words, code=2)["code"]

    def test_a_pause_ends_by_resuming(self, unefois: Program, elise: Path) -> None:
        grant = give(unefois, elise)["grant"]["id"]

        assert "paused" == unefois.told("pause", grant)["grant"]["status"]
        assert "grant.not-active" == unefois.error("pause", grant, code=3)["code"]
        assert "active" == unefois.told("resume", grant)["grant"]["status"]

    def test_a_narrowed_consent_keeps_what_was_named(self, unefois: Program, elise: Path) -> None:
        grant = give(unefois, elise)["grant"]["id"]

        assert ["subject"] == unefois.told("narrow", grant, "--field", "subject")["grant"]["fields"]
        assert "grant.wider" == unefois.error("narrow", grant, "--field", "household", code=3)["code"]

    @pytest.mark.parametrize(("grant", "code"), [("0" * 32, "consents.unknown-grant"), ("mine", "name.grant-id")])
    def test_a_grant_that_nobody_gave_is_refused(self, unefois: Program, grant: str, code: str) -> None:
        assert code == unefois.error("pause", grant, code=3)["code"]


class TestGrants:
    def test_a_citizen_s_are_shown_and_nobody_else_s(self, unefois: Program, elise: Path, tmp_path: Path) -> None:
        yann = tmp_path / "yann.json"
        yann.write_text(json.dumps(YANN))
        give(unefois, elise)

        assert (1, 0) == (len(shown(unefois, elise)), len(shown(unefois, yann)))
        assert "(nothing)\n" == unefois.run("grants", "--person", yann).stdout

    def test_a_look_is_in_the_ledger(self, unefois: Program, elise: Path) -> None:
        before = unefois.told("audit", "verify")["size"]

        unefois.told("grants", "--person", elise)
        unefois.told("grants", "--person", elise, "--viewer", "urn:unefois:broker")

        assert before + 2 == unefois.told("audit", "verify")["size"]
        assert unefois.told("fsck")["clean"]

    @pytest.mark.parametrize("viewer", [RENNES, "urn:unefois:nobody"])
    def test_nobody_looks_in_the_name_of_another(self, unefois: Program, elise: Path, viewer: str) -> None:
        before = unefois.told("audit", "verify")["size"]

        refused = unefois.error("grants", "--person", elise, "--viewer", viewer, code=3)

        assert ("viewing.another-party", "/viewer") == (refused["code"], refused["pointer"])
        assert before == unefois.told("audit", "verify")["size"]

    def test_they_are_shown_to_people_in_words(self, unefois: Program, elise: Path) -> None:
        grant = give(unefois, elise)["grant"]

        result = unefois.run("grants", "--person", elise, "--lang", "fr")

        assert f"{grant['id']}, version 1" in result.stdout
        assert "finalité" in result.stdout
        assert "Martin" not in result.stdout
