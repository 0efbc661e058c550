"""Green on any machine: clock, zone, language, chance and ports are the test's; who reads the machine's is known."""

import ast
import asyncio
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests import machine
from tests.bad_input import telling
from tests.faults.test_canary import CANARIES, NEVER, OF_THE_ACCOUNT

ROOT = Path(__file__).parents[2]
OF_THE_MACHINE = re.compile(
    r"(?:.*\.)?(?:time\.(?:time|time_ns|monotonic|monotonic_ns|sleep|localtime|strftime|ctime)|datetime\.(?:now|today)"
    r"|date\.today|\w*loop(?:\(\))?\.time|locale\.(?:set|get)\w+|getpass\.\w+|os\.(?:getlogin|umask|cpu_count|urandom|getenv)"
    r"|Path\.home|expanduser|gethostname|platform\.\w+|uuid[14]|secrets\.(?:token_\w+|choice|randbelow)"
    r"|random\.(?:random|randrange|randint|choice|choices|sample|uniform|getrandbits))"
)
"""Clocks, zone, language, account, chance."""
READERS = {
    "the composition, which hands clock and chance to the others": [
        *(
            "broker/setup/wiring.py",
            "broker/setup/opening.py",
            "broker/setup/bootstrap.py",
            "broker/observability/observe.py",
            "broker/cli/demo/stage.py",
            "broker/lab/web_demo/town.py",
        ),
        *(
            "broker/settings/choices.py",
            "broker/settings/forms.py",
            "broker/services/keeping.py",
            "broker/services/accounts.py",
        ),
        *(
            "broker/setup/preflight.py",
            "broker/services/restoring.py",
            "broker/setup/upgrading.py",
            "broker/services/succeeding.py",
        ),
        *("connectors/driving.py", "connectors/source_serve.py", "connectors/testing.py"),
    ],
    "whose process this is, and whose the one at the other end of a socket is": ["broker/consents/local.py"],
    "which program this is, and what it runs on": ["broker/observability/build.py"],
    "a key that nobody else is to have, of what is compared with itself alone": ["broker/maintenance/checks/aside.py"],
    "a default that a test replaces": [
        *("broker/flow/offsets.py", "broker/web/agencies/waiting.py", "connectors/blocking.py", "broker/cli/watch.py"),
    ],
    "how long something took or may take, by the loop's clock or one that never goes back": [
        *("broker/cli/demo/theatre.py", "broker/lab/conformance/run.py", "broker/log/kafka_reader.py"),
        *(
            "broker/outbound.py",
            "broker/consents/asking.py",
            "broker/lab/sandbox/door.py",
            "broker/runtime/serving.py",
            "broker/web/common/connections.py",
        ),
    ],
}
"""By the reason why each reads the machine itself."""
TRUSTED = {
    "names of a server's logins, which no other run may have": ["tests/unit/broker/test_logins.py"],
    "names of topics, cluster-wide, that no other run may have": [
        *("tests/conftest.py", "tests/contract/test_kafka_log.py", "tests/contract/test_kafka_move.py"),
        *("tests/contract/test_kafka_relay.py", "tests/contract/test_kafka_transactions.py"),
        *("tests/contract/test_log.py", "tests/contract/test_topic_plan.py"),
    ],
    "certificates that are good today, for libraries with a clock of their own": [
        *("tests/unit/broker/test_outbound.py", "tests/e2e/test_nginx.py"),
    ],
    "an administration's own program, which is not the test": [
        *("tests/conformance/agencies.py", "tests/conformance/sample_source.py"),
    ],
    "the wait for another process or a server, whose length decides nothing": [
        *("tests/bad_input/test_bad_http.py", "tests/machine.py"),
    ],
    "keys, nonces and blinds that are as good as any others": [
        *("tests/bad_input/test_bad_homes.py", "tests/e2e/test_readme.py", "tests/signed.py", "tests/world.py"),
        *("tests/contract/test_endings.py", "tests/interop/test_go_reads_over_http.py", "tests/insider/estate.py"),
        *("tests/unit/broker/cli/test_cli_home_id.py", "tests/unit/broker/rows/test_adopting.py"),
        *("tests/unit/broker/test_keys_lock.py", "tests/unit/broker/test_openings.py"),
        *("tests/unit/broker/test_openings_kept.py", "tests/unit/consent/test_registry.py"),
    ],
    "the seed of a fuzz from the command line, which is printed": ["tests/fuzz/__main__.py"],
    "chance that Hypothesis gives": ["tests/properties/test_sealed.py"],
    "sets what it reads": ["tests/unit/broker/test_keys_file.py", "tests/unit/test_any_machine.py"],
}
"""Tests that take something of the machine, by the reason why none of it decides whether they are green."""
APART = (
    "tests/agency",
    "tests/bench",
    "tests/cluster",
    "tests/compose",
    "tests/fire",
    "tests/services",
    "tests/systems",
)
"""What starts real servers and measures them; no test of `make test` but those of `services` themselves."""


def named(node: ast.AST) -> str:
    """`a.b().c` of what an expression reads; "" for what has no name."""
    match node:
        case ast.Attribute(value=inner, attr=name):
            return f"{named(inner)}.{name}"
        case ast.Name(id=name):
            return name
        case ast.Call(func=inner):
            return f"{named(inner)}()"
    return ""


def readers(files: Iterable[Path]) -> set[str]:
    """Those that read a clock, the zone, the language, an account or chance of the machine: paths of the checkout."""
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            local = isinstance(node, ast.Call) and named(node.func).endswith(".astimezone") and not node.args
            read = isinstance(node, ast.Attribute | ast.Name) and OF_THE_MACHINE.fullmatch(named(node))
            if local or read:
                found.add(file.relative_to(ROOT).as_posix())
    return found


def suite() -> Iterator[Path]:
    for file in sorted((ROOT / "tests").rglob("*.py")):
        if not file.relative_to(ROOT).as_posix().startswith(APART):
            yield file


def test_the_code_reads_the_machine_where_it_is_known_to_and_nowhere_else() -> None:
    code = (
        file for package in ("schemas", "consent", "broker", "connectors") for file in (ROOT / package).rglob("*.py")
    )
    assert sorted(name for names in READERS.values() for name in names) == sorted(readers(code))


def test_a_test_takes_clock_chance_and_account_from_itself() -> None:
    assert sorted(name for names in TRUSTED.values() for name in names) == sorted(readers(suite()))


@pytest.mark.parametrize(
    "line", ["time.time()", "datetime.now(UTC)", "a.get_running_loop().time()", "x.astimezone()", "random.random()"]
)
def test_the_search_finds_a_reader(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "reader.py").write_text(f"def f():\n    return {line}\n")
    (tmp_path / "other.py").write_text("def f(clock, chance):\n    return clock.time, chance.random(), clock.now()\n")

    assert {"reader.py"} == readers(sorted(tmp_path.iterdir()))


def test_a_test_listens_on_a_port_that_the_machine_gives_it() -> None:
    fixed = []
    for file in suite():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and named(node.func).rpartition(".")[2] in {"create_server", "bind"}:
                numbers = [part.value for arg in node.args for part in ast.walk(arg) if isinstance(part, ast.Constant)]
                fixed += [file.name for number in numbers if isinstance(number, int) and number != 0]
    assert [] == fixed


def test_a_parameter_does_not_stand_in_the_place_of_what_every_test_is_given() -> None:
    """A parameter named as a fixture replaces it: so the language of the machine came back."""
    given: dict[Path, set[str]] = {}
    replaced = []
    for file in suite():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "autouse=True" in "".join(
                map(ast.unparse, node.decorator_list)
            ):
                given.setdefault(file.parent, set()).add(node.name)
    for file in suite():
        everyone_s = {name for folder, names in given.items() if file.is_relative_to(folder) for name in names}
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and named(node.func).endswith("mark.parametrize"):
                told = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
                words = {word.strip() for names in told for word in str(names).split(",")}
                replaced += [(file.name, word) for word in words & everyone_s]
    assert {"environment", "said"} <= set().union(*given.values())
    assert [] == replaced


def test_language_zone_and_settings_of_the_machine_reach_no_test(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = ("LC_ALL", "LC_MESSAGES", "LANGUAGE", "UNEFOIS_HOME", "UNEFOIS_LOG_LEVEL", "TRACEPARENT", "PGHOST")
    for name in theirs:
        monkeypatch.setenv(name, "fr_FR.UTF-8")
    monkeypatch.setenv("LANG", "fr_FR.UTF-8")
    monkeypatch.setenv("TZ", "Europe/Paris")
    monkeypatch.setenv("UNEFOIS_REQUIRE", "kafka")

    machine.forget()

    assert [] == [name for name in theirs if name in os.environ]
    assert ("C.UTF-8", machine.ZONE, "kafka") == tuple(os.environ[name] for name in ("LANG", "TZ", "UNEFOIS_REQUIRE"))


def test_what_the_suites_are_told_by_reaches_them() -> None:
    """Or a command that asks for more rounds, or for fewer databases, runs what it would have run without."""
    asked = re.compile(r"environ(?:\.get\(|\[)\"(UNEFOIS_[A-Z_]+)\"")
    read = {name for path in (ROOT / "tests").rglob("*.py") for name in asked.findall(path.read_text("utf-8"))}
    told_by_a_test = {"UNEFOIS_AGENCY_FILE"}
    outside_pytest = {"UNEFOIS_AB_POSTGRES"}

    assert {name for name in read if not name.startswith(machine.OURS)} == told_by_a_test | outside_pytest
    assert [] == [prefix for prefix in machine.OURS if not any(name.startswith(prefix) for name in read)]


def test_the_zone_of_the_tests_is_far_from_the_broker_s() -> None:
    assert (-12 * 3600, True) == (time.timezone, bool(time.daylight))


def test_a_loop_s_clock_begins_with_the_loop() -> None:
    async def first() -> float:
        return asyncio.get_running_loop().time()

    assert [True, True] == [asyncio.run(first()) < 60 for _ in range(2)]


def test_a_canary_is_met_where_it_was_written_and_never_by_chance() -> None:
    """No number, digest, id or base64 is spelled so: it is long and has letters beyond f, or signs that none has."""
    canaries = {*telling.CANARIES, *CANARIES, *OF_THE_ACCOUNT, *NEVER}
    day, word, signs = r"(?!2026)\d{4}-\d\d-\d\d", r"(?=.*[g-zG-Z]).{8,}", r".*[^0-9A-Za-z/=_-].*"

    assert [] == [canary for canary in canaries if not re.fullmatch(f"{day}|{word}|{signs}", canary)]
