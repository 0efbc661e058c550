"""litewitness: a witness that we did not write, in a process of its own, its key in an ssh-agent as it wants it."""

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from schemas.note import VerifierKey
from tests.agency.conftest import plain
from tests.agency.foreign.clients import HERE, Room
from tests.services.processes import bound_to_parent, free_port, listens, wait_for

NAME = "witness.example/lite"
_VKEY = re.compile(r'msg="verifier key" vkey=(\S+)')
_REQUEST = re.compile(
    r"^POST \S+/add-checkpoint\n```\n(.*?)```\nHTTP (\d+)\n\[Asserts\]\nbody ([^\n]*)$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Asked:
    """A request of its own tests: the body, the status of its answer, and what else is said of the answer."""

    body: bytes
    status: int
    said: str


@contextmanager
def running(room: Room, folder: Path, logs: Sequence[VerifierKey]) -> Iterator[tuple[str, VerifierKey]]:
    """Its address and its key, as a witness of these logs."""
    lite, control = room.line("litewitness")[0], room.line("litewitness", "witnessctl")[0]
    room.tools("litewitness", "ssh-agent", "ssh-add", "ssh-keygen")
    database, agent, key, errors = (folder / name for name in ("lite.db", "agent", "key", "errors"))
    for log in logs:
        _run(control, "add-log", "-db", database, "-origin", log.name)
        _run(control, "add-key", "-db", database, "-origin", log.name, "-key", log.text)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    fingerprint = _run("ssh-keygen", "-l", "-f", key).split()[1]
    port = free_port()
    settings = (
        "-ssh-agent",
        agent,
        "-name",
        NAME,
        "-key",
        fingerprint,
        "-db",
        database,
        "-listen",
        f"127.0.0.1:{port}",
    )
    line = [lite, *map(str, settings)]
    with _process(["ssh-agent", "-D", "-a", str(agent)], folder / "agent.errors", agent.is_socket):
        _run("ssh-add", "-q", key, SSH_AUTH_SOCK=str(agent))
        with _process(line, errors, lambda: listens(port)):
            room.ran.add("litewitness")
            found = _VKEY.search(errors.read_text())
            assert found, errors.read_text()
            yield f"http://127.0.0.1:{port}", VerifierKey.parse(found[1])


def own_table() -> tuple[str, list[Asked]]:
    """The log's public key in hexadecimal and the requests of litewitness' own tests, as its module brings them."""
    module = ["go", "list", "-m", "-f", "{{.Dir}}", "filippo.io/torchwood"]
    folder = subprocess.run(module, cwd=HERE / "go", env=plain(), capture_output=True, text=True, check=True).stdout
    script = (Path(folder.strip()) / "cmd/litewitness/testdata/litewitness.txt").read_text()
    (key,) = re.findall(r"add-sigsum-log -key=([0-9a-f]{64})", script)
    return key, [Asked(body.encode(), int(status), said) for body, status, said in _REQUEST.findall(script)]


def _run(*line: object, **env: str) -> str:
    told = [str(word) for word in line]
    return subprocess.run(told, env=plain() | env, capture_output=True, text=True, check=True).stdout


@contextmanager
def _process(line: list[str], errors: Path, ready: Callable[[], bool]) -> Iterator[None]:
    with (
        errors.open("wb") as log,
        subprocess.Popen(bound_to_parent(line), env=plain(), stdout=subprocess.DEVNULL, stderr=log) as process,
    ):
        wait_for(ready, process, 30, str(errors))
        try:
            yield
        finally:
            process.terminate()
