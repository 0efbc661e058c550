"""init, run, fsck, config: a home is made, works, is checked, and tells its settings."""

import json
import sqlite3
import stat
from pathlib import Path

import pytest

from broker.observability import observe
from broker.runtime.serving import Serving
from broker.runtime.turns import Trouble, Turn
from broker.setup import preflight
from tests.program import FIELDS, Program, grant_and_declare, host
from tests.services.processes import free_port
from tests.world import RENNES


class TestInit:
    def test_a_home_is_made_private_with_what_was_chosen_and_is_clean(self, bare: Program) -> None:
        told = bare.told("init", "--name", "Ville de Nantes", "--ledger-origin", "log.nantes.example/unefois")

        assert (str(bare.home), "log.nantes.example/unefois") == (told["home"], told["ledger"])
        assert told["key"].startswith("log.nantes.example/unefois+")
        assert 0o700 == stat.S_IMODE(bare.home.stat().st_mode)
        assert "Ville de Nantes" == bare.told("config", "show")["name"]
        assert ["Ville de Nantes"] == [one["name"] for one in bare.told("party", "list")["parties"]]
        assert bare.told("fsck")["clean"]

    def test_doing_it_again_changes_nothing(self, bare: Program) -> None:
        first = bare.told("init")

        assert first == bare.told("init")

    def test_what_was_chosen_before_is_not_chosen_over(self, bare: Program) -> None:
        bare.told("init", "--name", "Nantes")

        error = bare.error("init", "--name", "Rennes", code=3)

        assert "home-file.exists" == error["code"]
        assert "Nantes" == bare.told("config", "show")["name"]

    def test_a_wrong_choice_leaves_nothing_behind(self, bare: Program) -> None:
        error = bare.error("init", "--ledger-origin", "https://log.example", code=3)

        assert ("settings.invalid", "/ledger_origin") == (error["code"], error["pointer"])
        assert not bare.home.exists()

    def test_it_says_what_comes_next(self, bare: Program) -> None:
        assert "Ensuite : unefois party add --help" in bare.run("init", "--lang", "fr").stdout


class TestRun:
    def test_once_routes_delivers_and_orders_the_ledger(
        self, unefois: Program, elise: Path, move: Path, tmp_path: Path
    ) -> None:
        host(unefois, tmp_path)
        grant_and_declare(unefois, elise, move, *FIELDS)

        done = unefois.told("run", "--once")

        assert (1, 1, 0, []) == (done["routed"], done["applied"], done["rejected"], done["troubles"])
        database = sqlite3.connect(tmp_path / "town.db")
        assert [("Martin", "rue de la Monnaie")] == database.execute("SELECT nom, rue FROM t").fetchall()
        database.close()
        assert unefois.told("fsck")["clean"]

    def test_a_second_time_there_is_nothing_to_do(self, unefois: Program) -> None:
        unefois.run("run", "--once")

        assert "Nothing to do.\n" == unefois.run("run", "--once").stdout

    def test_trouble_that_passes_is_code_4_with_its_sentence(
        self, unefois: Program, elise: Path, move: Path, tmp_path: Path
    ) -> None:
        host(unefois, tmp_path)
        grant_and_declare(unefois, elise, move, *FIELDS)
        (tmp_path / "town.db").write_text("no database")

        result = unefois.run("run", "--once")

        assert 4 == result.exit_code
        assert f"! table.away  {RENNES}" in result.stdout
        again = unefois.run("run", "--once", "--json")
        assert 4 == again.exit_code
        assert ["table.away"] == [each["code"] for each in json.loads(again.stdout)["troubles"]]

    def test_a_wrong_setting_is_code_3_and_the_others_go_on(
        self, unefois: Program, elise: Path, move: Path, tmp_path: Path
    ) -> None:
        host(unefois, tmp_path)
        file = unefois.home / "agencies" / "rennes.yaml"
        file.write_text(file.read_text().replace('"table": "t"', '"table": 7'))
        grant_and_declare(unefois, elise, move, *FIELDS)

        result = unefois.run("run", "--once", "--json")

        assert 3 == result.exit_code
        told = json.loads(result.stdout)
        assert 1 == told["routed"]
        assert [("connector.settings", "/routes/0/settings/table")] == [
            (each["code"], each["pointer"]) for each in told["troubles"]
        ]

    def test_a_broken_agencys_file_stops_before_anything_is_done(self, unefois: Program, tmp_path: Path) -> None:
        host(unefois, tmp_path)
        (unefois.home / "agencies" / "rennes.yaml").write_text("party: [")

        error = unefois.error("run", "--once", code=3)

        assert ("yaml.malformed", "rennes.yaml") == (error["code"], error["details"]["file"])


class TestServe:
    @pytest.fixture(autouse=True)
    def three_turns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The machine runs for three turns, and nobody's logging is changed."""

        async def run(serving: Serving) -> None:
            trouble = Trouble(RENNES, "table.away", "", {}, retriable=True)
            foreign = Trouble(RENNES, "soap.fault", "/x", {}, retriable=True)
            for done in (Turn(routed=3, applied=2), Turn(troubles=[trouble]), Turn(troubles=[foreign])):
                serving._heard(serving.role, done)

        monkeypatch.setattr(Serving, "run", run)
        monkeypatch.setattr(observe, "configure", lambda *_: None)

    def test_each_turn_that_did_something_is_a_line(self, unefois: Program) -> None:
        shown = unefois.run("run").stdout

        assert shown.startswith("Running, 0 hosted administrations.\n3 routed, 2 applied\n")
        assert f"! table.away  {RENNES}\n" in shown
        assert shown.endswith(f"! soap.fault  {RENNES} /x\n")

    def test_with_json_each_is_a_line_of_json(self, unefois: Program) -> None:
        lines = [json.loads(line) for line in unefois.run("run", "--json").stdout.splitlines()]

        assert [(3, 2, []), (0, 0, ["table.away"]), (0, 0, ["soap.fault"])] == [
            (told["routed"], told["applied"], [each["code"] for each in told["troubles"]]) for told in lines
        ]


class TestFsck:
    def test_a_finding_is_code_1_with_its_place(self, unefois: Program) -> None:
        database = sqlite3.connect(unefois.home / "unefois.db")
        with database:
            database.execute("UPDATE ledger_entries SET leaf = zeroblob(32) WHERE position = 0")
        database.close()

        result = unefois.run("fsck", "--json")

        assert 1 == result.exit_code
        told = json.loads(result.stdout)
        assert not told["clean"]
        assert "ledger.leaf" in [each["check"] for each in told["findings"]]
        assert "✗ ledger.leaf  ledger_entries/1" in unefois.run("fsck").stdout

    def test_a_clean_state_is_said_to_be_so(self, unefois: Program) -> None:
        assert "Tout est en ordre.\n" == unefois.run("fsck", "--lang", "fr").stdout


class TestConfig:
    def test_secrets_are_not_shown(self, unefois: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("UNEFOIS_KEYS_PASSPHRASE", "open sesame")

        for words in (("config", "show"), ("config", "show", "--json"), ("config", "check")):
            assert "sesame" not in unefois.run(*words).output
        assert ("***", "***") == (
            unefois.told("config", "show")["keys_passphrase"],
            unefois.told("config", "show")["database_url"],
        )

    def test_an_unknown_variable_is_serious(self, unefois: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UNEFOIS_LEASE_SECOND", "5")

        result = unefois.run("config", "check", "--json")

        assert 1 == result.exit_code
        told = json.loads(result.stdout)
        assert ("settings.unknown", True) in [(each["code"], each["serious"]) for each in told["problems"]]

    def test_debugging_is_no_unknown_variable(self, unefois: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UNEFOIS_DEBUG", "1")

        told = json.loads(unefois.run("config", "check", "--json").stdout)

        assert "UNEFOIS_DEBUG" not in [each["key"] for each in told["problems"]]

    def test_a_fresh_home_has_advice_and_nothing_serious(self, unefois: Program) -> None:
        told = unefois.told("config", "check")

        assert told["ok"]
        assert "settings.no-passphrase" in [each["code"] for each in told["problems"]]

    def test_a_database_and_a_log_that_are_both_wrong_are_both_told(
        self, unefois: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("UNEFOIS_DATABASE_URL", f"postgresql+asyncpg://u:p@127.0.0.1:{free_port()}/none")
        monkeypatch.setenv("UNEFOIS_LOG", "kafka")
        monkeypatch.setenv("UNEFOIS_KAFKA_BOOTSTRAP", f"127.0.0.1:{free_port()}")
        monkeypatch.setenv("UNEFOIS_KAFKA_SECURITY", "plaintext")

        told = json.loads(unefois.run("config", "check", "--json").stdout)

        serious = [(each["key"], each["code"]) for each in told["problems"] if each["serious"]]
        assert [("database_url", "store.away"), ("kafka_bootstrap", "kafka.away")] == serious

    def test_the_log_is_looked_at_for_what_a_role_does_there(
        self, unefois: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[frozenset[str]] = []

        async def look_log(*_: object, needed: frozenset[str]) -> tuple[()]:
            asked.append(needed)
            return ()

        monkeypatch.setattr(preflight, "look_log", look_log)
        unefois.run("config", "check")
        unefois.run("config", "check", "--role", "router")
        unefois.run("config", "check", "--role", "ledger")

        assert [{"read", "write", "describe"}, {"read", "describe"}, {"describe"}] == asked

    def test_agencies_are_listed_and_their_mistakes_are_serious(self, unefois: Program, tmp_path: Path) -> None:
        host(unefois, tmp_path)
        assert ["rennes.yaml"] == json.loads(unefois.run("config", "check", "--json").stdout)["agencies"]
        (unefois.home / "agencies" / "rennes.yaml").write_text("{}")

        result = unefois.run("config", "check")

        assert 1 == result.exit_code
        assert "✗ rennes.yaml  hosting.malformed" in result.stdout

    def test_without_a_home_it_says_so(self, bare: Program) -> None:
        result = bare.run("config", "check", "--json")

        assert 1 == result.exit_code
        assert "settings.no-home" in [each["code"] for each in json.loads(result.stdout)["problems"]]

    def test_a_settings_file_that_is_none_is_told_once(self, unefois: Program) -> None:
        (unefois.home / "unefois.toml").write_text("name = ")

        told = json.loads(unefois.run("config", "check", "--json").stdout)

        assert ["settings.not-toml"] == [each["code"] for each in told["problems"]]
