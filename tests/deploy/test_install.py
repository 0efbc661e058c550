"""docs/install.md is followed, line by line, below another root; and page and units say the same."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.cli.deploy import deployed
from broker.cli.exits import FINAL
from broker.settings.choices import Settings
from tests.docs.pages import DOCS, Block, blocks, cut
from tests.services import played
from tests.services.processes import free_port
from tests.services.wheels import ROOT, built, plain

PAGE = DOCS / "install.md"
UNITS = {path.name: path.read_text() for path in sorted((ROOT / "deploy/systemd").iterdir()) if path.is_file()}
SERVICES = sorted(name for name in UNITS if name.endswith(".service"))
SERVED = "127.0.0.1:8470"
HASHED = "pip install --quiet --require-hashes -r "


def told(name: str, section: str = "Service") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in played.settings(UNITS[name], section):
        found.setdefault(key, []).append(value)
    return found


def writable(name: str) -> set[str]:
    """What a unit may write to."""
    service = told(name)
    state = {f"/var/lib/{each}" for line in service["StateDirectory"] for each in line.split()}
    return state | {each for line in service.get("ReadWritePaths", []) for each in line.split()}


@dataclass
class Follower:
    """Root, in an empty folder, with the page."""

    root: Path
    address: str

    @property
    def here(self) -> Path:
        return self.root / "root"

    def follow(self, block: Block) -> None:
        if block.kind == "console":
            for part in re.split(r"^(?=\$ )", block.text, flags=re.MULTILINE):
                if part:
                    self._command(*cut(part))
        else:
            first, _, _ = block.text.partition("\n")
            path = Path(self._here(first.removeprefix("# ")))
            path.write_text(self._here(block.text))

    def _command(self, command: str, expected: str) -> None:
        if HASHED in command:
            self._libraries(command)
            return
        environment = plain() | {
            "PATH": f"{self.root / 'played'}:{self.root / 'usr/local/bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            played.ROOT: str(self.root),
        }
        if "/bin/unefois" in command or command.startswith("unefois"):
            environment.pop("PYTHONPATH")  # the wheel's program, and nothing of this checkout
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._here(command)],
            cwd=self.here,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert 0 == done.returncode, f"{command}\n{said}"
        assert re.fullmatch(self._pattern(expected.strip()), said.strip()), f"{command}\n{said}"
        self._below("usr/local/bin/unefois")

    def _pattern(self, expected: str) -> str:
        """Three dots stand for anything, and keys for those of this run."""
        shown = re.sub(r"\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{40,}", "...", self._here(expected))
        return "(?s)" + re.escape(shown).replace(r"\.\.\.", ".*")

    def _here(self, text: str) -> str:
        return played.below(self.root, text).replace(SERVED, self.address)

    def _below(self, name: str) -> None:
        """What was installed for root's own folders looks below the other root."""
        path = self.root / name
        if path.is_file() and str(self.root) not in path.read_text():
            path.write_text(played.below(self.root, path.read_text()))

    def _libraries(self, command: str) -> None:
        """Without a net, those of this environment stand in for what is pinned; the pins are this checkout's."""
        pins = self.here / command.rpartition(HASHED)[2].strip()
        assert (ROOT / "requirements/server.txt").read_bytes() == pins.read_bytes()
        (packages,) = (self.root / "opt/unefois").glob("lib/python*/site-packages")
        (ours,) = Path(sys.prefix).glob("lib/python*/site-packages")
        (packages / "libraries.pth").write_text(f"{ours}\n")


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    root = tmp_path / "machine"
    root.mkdir()
    played.play(root)
    made = Follower(root, f"127.0.0.1:{free_port()}")
    made.here.mkdir()
    built(made.here)
    try:
        yield made
    finally:
        played.stop_all(root)


@pytest.mark.proof
def test_who_follows_the_page_has_a_broker_that_serves_and_is_backed_up(follower: Follower) -> None:
    if shutil.which("curl") is None:
        pytest.skip("the page is followed with curl, which is not here")
    for block in blocks(PAGE):
        follower.follow(block)

    copies = list((follower.root / "var/backups/unefois").iterdir())
    assert {"manifest", "unefois.db"} == {file.name for file in copies[0].iterdir()}
    assert 2 == len(copies)
    keys = follower.root / "var/lib/unefois-keys"
    assert (keys / "ledger").is_dir()
    assert 0o600 == (follower.root / "etc/unefois/keys-passphrase").stat().st_mode & 0o777
    written = {path.name for path in (follower.root / "var/lib/unefois").iterdir()}
    assert {"unefois.toml", "unefois.db", "endings"} <= written <= {"unefois.toml", "endings", *databases()}


def databases() -> set[str]:
    return {f"unefois.db{end}" for end in ("", "-wal", "-shm")}


def test_the_page_is_in_the_wheel_with_everything_that_it_installs() -> None:
    named = set(re.findall(r"\bdeploy/([\w/@.-]+\.\w+|bin/unefois)", PAGE.read_text()))

    assert len(named) > 6
    assert set() == named - set(deployed())


def test_the_services_may_write_where_the_pages_settings_put_things_and_nowhere_else() -> None:
    (block,) = [block for block in blocks(PAGE) if block.kind == "toml"]
    chosen = tomllib.loads(block.text)
    home = str(Path(block.text.partition("\n")[0].removeprefix("# ")).parent)
    for name in SERVICES:
        service = told(name)
        backups = {"/var/backups/unefois"} if name == "unefois-backup.service" else set()
        assert {home, chosen["keys_folder"], *backups} == writable(name), name
        assert ["strict"] == service["ProtectSystem"]
        assert f"UNEFOIS_HOME={home}" in service["Environment"]
        assert ["0700"] == service["StateDirectoryMode"]
    made = re.search(r"install -d -o unefois .*", PAGE.read_text())
    assert made is not None
    assert writable("unefois-backup.service") <= set(made[0].split())


def test_it_is_not_started_again_after_the_exit_codes_that_would_come_again() -> None:
    (line,) = told("unefois@.service")["RestartPreventExitStatus"]

    assert FINAL == {int(word) for word in line.split()}
    page = re.search(r"exit codes ([0-9]), ([0-9]) and ([0-9])", PAGE.read_text())
    assert page is not None
    assert FINAL == {int(each) for each in page.groups()}


def test_every_setting_that_a_unit_gives_exists_and_the_passphrase_is_the_pages() -> None:
    known = {f"UNEFOIS_{name.upper()}" for name in Settings.model_fields} | {"UNEFOIS_KEYS_PASSPHRASE_FILE"}
    for name in SERVICES:
        service = told(name)
        assert set() == {line.partition("=")[0] for line in service["Environment"]} - known
        assert ["keys-passphrase:/etc/unefois/keys-passphrase"] == service["LoadCredential"]
    assert "> /etc/unefois/keys-passphrase" in PAGE.read_text()


def test_no_backup_is_kept_for_longer_than_the_journal_remembers() -> None:
    (line,) = told("unefois-backup.service")["ExecStartPost"]
    days = re.search(r"-mtime \+([0-9]+)", line)

    assert days is not None
    assert int(days[1]) < Settings.model_fields["backup_retention_days"].default
    assert f"older than {days[1]} days" in PAGE.read_text()


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".timer")])
def test_a_timer_catches_up_after_a_night_without_power_and_has_its_service(name: str) -> None:
    assert ["true"] == told(name, "Timer")["Persistent"]
    assert name.replace(".timer", ".service") in UNITS


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_as_closed_as_the_others(name: str) -> None:
    shut = ("Protect", "Private", "RestrictA", "RestrictN", "RestrictS", "Lock", "SystemCall")
    closed = {key: value for key, value in told("unefois@.service").items() if key.startswith(shut)}
    own = told(name)

    assert closed == {key: own[key] for key in closed}
    assert own["NoNewPrivileges"] == ["yes"]
    assert own["CapabilityBoundingSet"] == [""]
    assert "unefois" == own["User"][0]


def test_systemd_understands_each_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not there")
    for name, text in UNITS.items():
        (tmp_path / name).write_text(text.replace("/opt/unefois/bin/unefois", "/bin/true"))
    names = [name.replace("@.", "@all.") for name in UNITS]
    verify = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in names)]

    done = subprocess.run(verify, capture_output=True, text=True, check=False)

    assert (0, []) == (done.returncode, [line for line in done.stderr.splitlines() if "unefois" in line])
