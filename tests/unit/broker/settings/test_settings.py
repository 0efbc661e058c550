"""Settings: where they come from, what is refused by name, what never shows."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from broker.settings.check import Problem, check, check_all
from broker.settings.choices import Settings, load
from broker.settings.sources import SECRETS
from schemas.errors import Fault, Refused
from schemas.hpke import Suite
from schemas.messages import explain, table

CANARY = "CANARY-passphrase"
KAFKA = {
    "log": "kafka",
    "kafka_bootstrap": "one.example:9092, two.example:9092",
    "kafka_security": "sasl_ssl",
    "kafka_username": "unefois",
    "kafka_password": CANARY,
}

MAIL = {
    "mail_server": "smtp.example:587",
    "mail_from": "unefois@broker.example",
    "mail_username": "unefois",
    "mail_password": CANARY,
}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("UNEFOIS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("UNEFOIS_HOME", str(home))


@pytest.fixture
def toml(tmp_path: Path) -> Callable[[str], None]:
    def write(text: str) -> None:
        (tmp_path / "home" / "unefois.toml").write_text(text)
        (tmp_path / "home" / "unefois.toml").chmod(0o600)

    return write


def refused(**chosen: Any) -> Refused:
    with pytest.raises(Refused) as raised:
        load(**chosen)
    assert CANARY not in f"{raised.value} {raised.value!r}"
    return raised.value


def codes(problems: tuple[Problem, ...]) -> set[str]:
    return {problem.fault.code for problem in problems}


class TestWhereFrom:
    def test_without_a_word_everything_lies_in_the_accounts_own_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("UNEFOIS_HOME")
        settings = load()
        assert tmp_path / "xdg" / "unefois" == settings.home
        monkeypatch.delenv("XDG_DATA_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert tmp_path / ".local/share/unefois" == load().home

    def test_database_and_keys_follow_the_home(self, tmp_path: Path) -> None:
        settings = load(home=tmp_path / "a b#?%20é")
        assert str(tmp_path / "a b#?%20é" / "unefois.db") == make_url(settings.database_url).database
        assert tmp_path / "a b#?%20é" / "keys" == settings.keys_folder

    def test_a_home_is_absolute_from_here_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert tmp_path / "here" == load(home="here").home
        assert tmp_path / "there" == load(home="~/there").home

    def test_the_call_counts_before_the_environment_before_the_file_before_the_default(
        self, toml: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert 60 == load().lease_seconds
        toml("lease_seconds = 61")
        assert 61 == load().lease_seconds
        monkeypatch.setenv("UNEFOIS_LEASE_SECONDS", "62")
        assert 62 == load().lease_seconds
        assert 63 == load(lease_seconds=63).lease_seconds
        assert 62 == load(lease_seconds=None).lease_seconds

    def test_the_file_is_that_of_the_home_that_the_call_names(
        self, tmp_path: Path, toml: Callable[[str], None]
    ) -> None:
        toml("lease_seconds = 61")
        assert 60 == load(home=tmp_path / "other").lease_seconds

    def test_no_other_file_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / ".env").write_text("UNEFOIS_LEASE_SECONDS=99")
        assert 60 == load().lease_seconds

    def test_places_are_written_in_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert ("France",) == load().storage_locations
        monkeypatch.setenv("UNEFOIS_STORAGE_LOCATIONS", "France, Côte d'Ivoire")
        assert ("France", "Côte d'Ivoire") == load().storage_locations

    @pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
    @pytest.mark.parametrize("name", SECRETS)
    def test_a_secret_comes_from_the_file_that_the_environment_names(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, ending: str
    ) -> None:
        (tmp_path / "secret").write_bytes(f" {CANARY} {ending}".encode())
        monkeypatch.setenv(f"UNEFOIS_{name.upper()}_FILE", str(tmp_path / "secret"))
        settings = load()
        told = {
            "keys_passphrase": settings.secret_passphrase(),
            "database_url": settings.database_url,
            "endings_database_url": settings.endings_database_url,
            "kafka_password": settings.secret_kafka_password(),
            "mail_password": settings.secret_mail_password(),
            "oidc_client_secret": settings.secret_oidc(),
            "sms_token": settings.secret_sms_token(),
            **{one: settings.secret(one) for one in SECRETS if one.startswith("franceconnect")},
        }
        assert f" {CANARY} " == told[name]
        assert CANARY not in f"{settings} {settings!r}"

    def test_an_ordinary_setting_does_not_come_from_a_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "lease").write_text("99")
        monkeypatch.setenv("UNEFOIS_LEASE_SECONDS_FILE", str(tmp_path / "lease"))
        assert 60 == load().lease_seconds


class TestRefused:
    def test_an_unknown_setting_of_the_file_is_refused_by_its_name(self, toml: Callable[[str], None]) -> None:
        toml(f'lease_second = "{CANARY}"')
        fault = refused()
        assert ("settings.unknown", "lease_second") == (fault.code, fault.details["key"])

    def test_an_unknown_setting_of_the_call_is_refused_by_its_name(self) -> None:
        assert ("settings.unknown", "/lease_second") == (refused(lease_second=1).code, refused(lease_second=1).pointer)

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("lease_seconds", 4),
            ("lease_seconds", 3601),
            ("lease_seconds", CANARY),
            ("language", CANARY),
            ("log_level", CANARY),
            ("party", CANARY),
            ("ledger_origin", f"https://{CANARY}"),
            ("ledger_origin", "a" * 201),
            ("signature_policy", 9),
            ("hpke_suite", CANARY),
            ("log_partitions", 0),
            ("home", 7),
            ("storage_locations", ""),
            ("storage_locations", f"France,,{CANARY}"),
            ("storage_locations", [f"{CANARY}\nFrance"]),
            ("storage_locations", ["a" * 101]),
        ],
    )
    def test_a_setting_out_of_its_bounds_is_refused_by_its_name_without_its_value(self, name: str, told: Any) -> None:
        fault = refused(**{name: told})
        assert ("settings.invalid", name) == (fault.code, fault.details["key"])

    @pytest.mark.parametrize(
        ("left_out", "changed", "name"),
        [
            ("kafka_bootstrap", {}, "kafka_bootstrap"),
            ("kafka_security", {}, "kafka_security"),
            ("kafka_username", {}, "kafka_username"),
            ("kafka_password", {}, "kafka_password"),
            (None, {"kafka_bootstrap": "host"}, "kafka_bootstrap"),
            (None, {"kafka_bootstrap": "host:9092,,other:9092"}, "kafka_bootstrap"),
            (None, {"kafka_bootstrap": "kafka://host:9092"}, "kafka_bootstrap"),
            (None, {"kafka_security": "SASL"}, "kafka_security"),
            (None, {"kafka_security": "ssl"}, "kafka_username"),
            (None, {"kafka_mechanism": "GSSAPI"}, "kafka_mechanism"),
            (None, {"kafka_topic_prefix": "no dot"}, "kafka_topic_prefix"),
            (None, {"log": "rabbit"}, "log"),
        ],
    )
    def test_a_log_on_kafka_needs_to_know_where_and_as_whom(
        self, left_out: str | None, changed: dict[str, Any], name: str
    ) -> None:
        whole = KAFKA | changed
        fault = refused(**{key: told for key, told in whole.items() if key != left_out})
        assert ("settings.invalid", name) == (fault.code, fault.details["key"])

    @pytest.mark.parametrize(
        ("changed", "name"),
        [
            ({"mail_server": "smtp.example"}, "mail_server"),
            ({"mail_server": "smtp.example:99999"}, "mail_server"),
            ({"mail_from": None}, "mail_from"),
            ({"mail_server": None}, "mail_from"),
            ({"mail_from": "Unefois <u@broker.example>"}, "mail_from"),
            ({"mail_password": None}, "mail_username"),
            ({"mail_security": "none"}, "mail_username"),
            ({"mail_security": CANARY}, "mail_security"),
        ],
    )
    def test_a_mail_server_needs_a_sender_and_never_gets_a_password_in_clear(
        self, changed: dict[str, Any], name: str
    ) -> None:
        fault = refused(**(MAIL | changed))
        assert ("settings.invalid", name) == (fault.code, fault.details["key"])

    @pytest.mark.parametrize(("server", "told"), [("smtp.example:25", 1), ("127.0.0.1:25", 0)])
    def test_letters_that_go_in_clear_beyond_this_machine_are_told(self, server: str, told: int) -> None:
        clear = {"mail_server": server, "mail_from": MAIL["mail_from"], "mail_security": "none"}
        problems = check(load(**clear))
        assert [False] * told == [one.serious for one in problems if one.fault.code == "settings.mail-in-clear"]

    @pytest.mark.parametrize(
        ("listen", "proxies", "told"),
        [
            ("127.0.0.1:1", (), 0),
            ("none", (), 0),
            ("0.0.0.0:1", (), 1),
            ("192.0.2.1:1", (), 1),
            ("0.0.0.0:1", ("10.0.0.1/32",), 0),
        ],
    )
    def test_http_in_clear_beyond_this_machine_is_told(self, listen: str, proxies: tuple[str, ...], told: int) -> None:
        problems = check(load(listen=listen, trusted_proxies=proxies))
        assert [False] * told == [one.serious for one in problems if one.fault.code == "settings.http-in-clear"]

    @pytest.mark.parametrize(
        ("chosen", "told"),
        [
            ({}, 0),
            ({"listen": "0.0.0.0:1"}, 1),
            ({"trusted_proxies": ("10.0.0.1/32",)}, 1),
            ({"listen": "0.0.0.0:1", "party": "urn:fr:siret:13002526500013"}, 0),
        ],
    )
    def test_a_name_that_every_broker_has_is_told_where_others_rely_on_it(
        self, chosen: dict[str, Any], told: int
    ) -> None:
        problems = check(load(**chosen))
        assert [False] * told == [one.serious for one in problems if one.fault.code == "settings.party-of-everybody"]

    def test_kafkas_brokers_are_separated_by_commas_and_its_password_is_in_no_repr(self) -> None:
        settings = load(**KAFKA)
        assert ("one.example:9092", "two.example:9092") == settings.kafka_bootstrap
        assert CANARY == settings.secret_kafka_password()
        assert CANARY not in f"{settings} {settings!r}"

    def test_a_secret_given_twice_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UNEFOIS_KEYS_PASSPHRASE", CANARY)
        monkeypatch.setenv("UNEFOIS_KEYS_PASSPHRASE_FILE", str(tmp_path / "secret"))
        assert "settings.twice" == refused().code

    @pytest.mark.parametrize("content", [None, b"\xff", b"a" * 16385])
    def test_a_secret_file_that_holds_no_secret_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
    ) -> None:
        if content is not None:
            (tmp_path / "secret").write_bytes(content)
        monkeypatch.setenv("UNEFOIS_KEYS_PASSPHRASE_FILE", str(tmp_path / "secret"))
        assert "settings.secret-file" == refused().code

    @pytest.mark.parametrize(("text", "line"), [("lease_seconds = ", 1), ('name = "a"\nlease_seconds 60', 2)])
    def test_a_file_that_is_no_toml_is_refused_by_its_line(
        self, toml: Callable[[str], None], text: str, line: int
    ) -> None:
        toml(text)
        fault = refused()
        assert ("settings.not-toml", line) == (fault.code, fault.details["line"])

    def test_a_file_that_is_no_text_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "home" / "unefois.toml").write_bytes(b"\xff")
        assert "settings.not-toml" == refused().code

    def test_settings_do_not_change_once_read(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            load().lease_seconds = 99

    def test_names_that_may_be_called_inside_are_a_list(self) -> None:
        told = " Hooks.example.lan:8443, [::1],127.0.0.1 ,"
        assert ("hooks.example.lan:8443", "[::1]", "127.0.0.1") == load(outbound_allowed=told).outbound_allowed

    @pytest.mark.parametrize("told", ["https://a.example", "a.example/", "a b", "::1", "a.example:port", "*"])
    def test_what_is_no_name_may_not_be_called_inside(self, told: str) -> None:
        fault = refused(outbound_allowed=told)
        assert ("settings.invalid", "/outbound_allowed") == (fault.code, fault.pointer)

    @pytest.mark.parametrize("told", ["x25519", "X25519", 0x20, Suite.X25519])
    def test_a_suite_is_told_by_its_name_or_number(self, told: Any) -> None:
        assert Suite.X25519 is load(hpke_suite=told).hpke_suite


class TestCheck:
    def test_the_defaults_are_sound_and_some_want_attention(self) -> None:
        problems = check(load())
        assert {"settings.placeholder", "settings.keys-beside-database", "settings.no-passphrase"} == codes(problems)
        assert not any(problem.serious for problem in problems)

    def test_a_home_that_was_completed_has_no_problem(self, tmp_path: Path) -> None:
        done = {"address": "1 rue", "contact": "dpo@ville.example", "ledger_origin": "ville.fr/unefois"}
        settings = load(**done, keys_folder=tmp_path / "keys", keys_passphrase=CANARY)
        assert () == check(settings)

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"retry_first_seconds": 11, "retry_most_seconds": 10}, "settings.retry-order"),
            ({"gate_epoch_days": 75}, "settings.gate-retention"),
            ({"home": "/nowhere/at/all"}, "settings.no-home"),
        ],
    )
    def test_settings_that_contradict_each_other_are_serious(self, changed: dict[str, Any], code: str) -> None:
        assert [code] == [problem.fault.code for problem in check(load(**changed)) if problem.serious]

    @pytest.mark.parametrize(
        ("changed", "serious"),
        [
            ({"kafka_security": "sasl_plaintext"}, [True]),
            ({"kafka_security": "plaintext", "kafka_username": None, "kafka_password": None}, [False]),
            ({"kafka_bootstrap": "localhost:9092,127.0.0.1:9093", "kafka_security": "sasl_plaintext"}, []),
            ({}, []),
        ],
    )
    def test_kafka_in_clear_beyond_this_machine_is_told(self, changed: dict[str, Any], serious: list[bool]) -> None:
        problems = check(load(**(KAFKA | changed)))
        assert serious == [each.serious for each in problems if each.fault.code == "settings.kafka-in-clear"]

    @pytest.mark.parametrize(
        "changed",
        [
            {"retry_first_seconds": 10, "retry_most_seconds": 10},
            {"gate_epoch_days": 74},
        ],
    )
    def test_settings_that_just_agree_are_fine(self, changed: dict[str, Any]) -> None:
        assert not any(problem.serious for problem in check(load(**changed)))

    def test_what_others_can_read_is_told(self, tmp_path: Path, toml: Callable[[str], None]) -> None:
        toml("")
        (tmp_path / "home").chmod(0o755)
        (tmp_path / "home" / "unefois.toml").chmod(0o644)
        told = [problem.key for problem in check(load()) if problem.fault.code == "settings.readable-by-others"]
        assert ["home", "unefois.toml"] == told

    def test_a_secret_file_that_others_can_read_is_serious(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secret = tmp_path / "secret"
        secret.write_text(CANARY)
        monkeypatch.setenv("UNEFOIS_KEYS_PASSPHRASE_FILE", str(secret))
        secret.chmod(0o640)
        assert "settings.readable-by-others" in codes(tuple(p for p in check(load()) if p.serious))
        secret.chmod(0o600)
        assert "settings.readable-by-others" not in codes(check(load()))

    def test_a_variable_that_nobody_reads_is_told(self) -> None:
        problems = check_all(
            {"UNEFOIS_LEASE_SECOND": CANARY, "UNEFOIS_LEASE_SECONDS": "60", "UNEFOIS_REQUIRE": "", "PATH": ""}
        )
        assert ["UNEFOIS_LEASE_SECOND"] == [
            problem.key for problem in problems if problem.fault.code == "settings.unknown"
        ]

    def test_an_armed_crash_point_is_told(self) -> None:
        assert "settings.crash-armed" in codes(check_all({"UNEFOIS_CRASH_AT": "log.append"}))
        assert "settings.crash-armed" not in codes(check_all({"UNEFOIS_CRASH_AT": ""}))

    def test_everything_wrong_is_told_at_once(self, toml: Callable[[str], None]) -> None:
        toml(f'lease_seconds = 1\nnonsense = "{CANARY}"\nparty = "{CANARY}"')
        problems = check_all({})
        assert {
            ("lease_seconds", "settings.invalid"),
            ("nonsense", "settings.unknown"),
            ("party", "settings.invalid"),
        } == {(problem.key, problem.fault.code) for problem in problems}
        assert CANARY not in f"{problems}"

    def test_a_file_that_cannot_be_read_is_a_problem_too(self, toml: Callable[[str], None]) -> None:
        toml("=")
        assert {"settings.not-toml"} == codes(check_all({}))

    def test_every_problem_has_its_sentences(self) -> None:
        for code in [code for code in table() if code.startswith("settings.")]:
            fault: Fault = Refused(code, key="KEY", wrong="WRONG", days=1, line=1)
            for language in ("fr", "en"):
                assert "?" not in explain(fault, language).wrong


def test_every_setting_has_a_default() -> None:
    assert set(Settings.model_fields) <= set(load().model_dump())
