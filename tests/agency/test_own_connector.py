"""The example of a connector of one's own: built, installed beside the agency's wheel, and run against a sandbox."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import httpx2
import pytest

from tests.agency.conftest import ROOT, Environment, built, installed, needed, plain

EXAMPLE = ROOT / "examples/connector"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, as an administration would take it."""
    folder = tmp_path_factory.mktemp("own") / "connector"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def own(wheel: Path, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The agency's wheel and the connector's."""
    return installed(tmp_path_factory.mktemp("venv") / "venv", wheel, built(project, tmp_path_factory.mktemp("wheel")))


@dataclass(frozen=True)
class Sandbox:
    """A sandbox that runs, and its folder."""

    url: str
    folder: Path

    def post(self, path: str, **told: Any) -> Any:
        """Say what happens next."""
        answer = httpx2.post(f"{self.url}/sandbox/{path}", json=told)
        answer.raise_for_status()
        return answer.json()

    def states(self) -> list[str]:
        """What became of each delivery."""
        told = httpx2.get(f"{self.url}/sandbox/deliveries").json()
        return [one["state"] for one in told["deliveries"]]


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    folder = tmp_path / "sandbox"
    words = ["sandbox", "--folder", str(folder), "--type", "address.changed", "--listen", "127.0.0.1:0"]
    env = plain() | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "broker", *words]
    with subprocess.Popen(line, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while "Ctrl-C" not in process.stdout.readline():
                assert process.poll() is None
            yield Sandbox(json.loads((folder / "agency.json").read_text())["url"], folder)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()


def started(own: Environment, sandbox: Sandbox, folder: Path, broker: str = "") -> "subprocess.Popen[str]":
    """The example's program, once; `broker`: by way of another address."""
    folder.mkdir(exist_ok=True)
    env = plain() | {"UNEFOIS_AGENCY_FILE": str(sandbox.folder / "agency.json")}
    env |= {"UNEFOIS_BROKER": broker} if broker else {}
    line = [str(own.folder / "bin/register-receive"), "once"]
    return subprocess.Popen(line, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Its exit code, and what it complained of."""
    complaints = process.communicate()[1]
    return process.returncode, complaints


def rows(folder: Path) -> list[tuple[str, str]]:
    """What the register holds."""
    with sqlite3.connect(folder / "register.db") as database:
        return database.execute("SELECT reference, name FROM move").fetchall()


def test_its_own_tests_pass_where_the_agencys_wheel_is_installed(
    own: Environment, project: Path, tmp_path: Path
) -> None:
    extra = tmp_path / "pytest"
    extra.mkdir()
    for path in needed(["pytest"]):
        if not (extra / path.name).exists():
            (extra / path.name).symlink_to(path)
    line = [str(own.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    env = plain() | {"PYTHONPATH": str(extra)}
    done = subprocess.run(line, cwd=project, env=env, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "7 passed" in done.stdout


def test_it_is_found_beside_those_of_the_wheel(own: Environment, tmp_path: Path) -> None:
    code = "from unefois_agency.connectors import registry; print(list(registry.kinds()))"

    kinds = "['file', 'publik', 'register', 'rest', 'sftp', 'table', 'webhook']\n"
    assert kinds == own.run(own.python, "-c", code, cwd=tmp_path)


def test_the_same_delivery_twice_is_one_row(own: Environment, sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "town"
    (made,) = sandbox.post("events", citizen="maelle")["deliveries"]
    httpx2.put(f"{sandbox.url}/sandbox/faults", json={"faults": {"duplicate": 1}}).raise_for_status()

    assert (0, "") == ended(started(own, sandbox, folder))
    assert [(made["delivery"], "MAELLE")] == rows(folder)
    assert ["applied"] == sandbox.states()


def test_killed_between_write_and_acknowledgement_it_is_one_row(
    own: Environment, sandbox: Sandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "town"
    (made,) = sandbox.post("events", citizen="maelle")["deliveries"]

    with _Killer(sandbox.url) as between:
        Thread(target=between.serve_forever, daemon=True).start()
        process = started(own, sandbox, folder, between.address)
        between.victims.put(process.pid)
        assert -signal.SIGKILL == ended(process)[0]
        between.shutdown()

    assert [(made["delivery"], "MAELLE")] == rows(folder)
    assert ["released"] == sandbox.states()

    sandbox.post("leases:end")
    assert (0, "") == ended(started(own, sandbox, folder))
    assert [(made["delivery"], "MAELLE")] == rows(folder)
    assert ["applied"] == sandbox.states()


class _Killer(ThreadingHTTPServer):
    """In front of the sandbox: who is about to acknowledge is killed, and its acknowledgement goes nowhere."""

    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = behind
        self.victims: Queue[int] = Queue()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def _pass_on(self) -> None:
        assert isinstance(self.server, _Killer)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.endswith("deliveries:ack"):
            os.kill(self.server.victims.get(), signal.SIGKILL)
            return
        headers = {
            name: told for name, told in self.headers.items() if name.lower() in {"authorization", "content-type"}
        }
        answer = httpx2.request(self.command, self.server.behind + self.path, content=body, headers=headers)
        self.send_response(answer.status_code)
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = _pass_on

    def log_message(self, *_: object) -> None:
        """Nothing."""
