"""A PostgreSQL for tests: from Docker when an engine answers, else a private cluster of the server binaries found here.

Keeps: settings that a careful operator would have (fsync and synchronous_commit on); nothing outlives the `with` block.
"""

import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services import docker
from tests.services.absent import Absent
from tests.services.processes import bound_to_parent, end, free_port, wait_for

IMAGE = "postgres:17-alpine"
OLDEST = 15


@contextmanager
def running(memory: str = "128MB") -> Iterator[str]:
    """The address of a server for this block: a URL of its maintenance database, for a user who may make databases.

    `memory`: what a private one keeps of its tables there (shared_buffers). Raises Absent.
    """
    if docker.answers():
        with docker.postgres(IMAGE) as address:
            yield address
        return
    with own(memory=memory) as server:
        yield server.address


def _binaries() -> Path:
    """The folder of the newest server binaries, as Debian keeps them, or as the PATH names them."""
    found = {
        int(path.parent.parent.name): path.parent
        for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")
        if re.fullmatch(r"\d+", path.parent.parent.name)
    }
    if found and max(found) >= OLDEST:
        return found[max(found)]
    named = shutil.which("initdb")
    if named is None:
        raise Absent(f"no Docker engine and no PostgreSQL {OLDEST} or later here (Debian: apt-get install postgresql)")
    return Path(named).resolve().parent


class Server:
    """A private cluster of ours, that may be killed and started again with what is on its disk."""

    def __init__(self, binaries: Path, folder: Path, memory: str = "128MB", *, archives: bool = False) -> None:
        """`archives`: it keeps a copy of its write-ahead log, for `put_back`. Raises Absent."""
        self._memory = memory
        self._archive = folder / "archive" if archives else None
        self._binaries = binaries
        self._folder = folder
        self._user = "postgres" if os.geteuid() == 0 else None
        self.password = secrets.token_urlsafe(18)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._initialise()

    @property
    def address(self) -> str:
        """A URL of its maintenance database, for a user who may make databases."""
        return f"postgresql+asyncpg://unefois:{self.password}@127.0.0.1:{self.port}/postgres"

    def start(self, **more: str) -> None:
        """Return once it answers; `more`: further settings of the server. Raises Absent."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
            "max_connections": "200",
            "shared_buffers": self._memory,
            "jit": "off",
        }
        if self._archive is not None:
            options |= {"archive_mode": "on", "archive_command": f"cp %p {self._archive}/%f"}
        options |= more
        command = [str(self._binaries / "postgres"), "-D", str(self._folder / "cluster")]
        for name, told in options.items():
            command += ["-c", f"{name}={told}"]
        log = self._folder / "server.log"
        with log.open("ab") as output:
            server = subprocess.Popen(
                bound_to_parent(command, self._user), stdout=output, stderr=output, cwd=self._folder
            )
        self._process = server
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_for(lambda: subprocess.run(ready, check=False).returncode == 0, server, 60, str(log))

    def alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self._running().poll() is None

    def kill(self) -> None:
        """kill -9 of every one of its processes, in the middle of whatever they do; returns when they are gone."""
        server = self._running()
        server.send_signal(signal.SIGSTOP)  # so that it makes no further ones
        family = [server.pid, *_children(server.pid)]
        gone = [os.pidfd_open(pid) for pid in family]
        for pid in family:
            os.kill(pid, signal.SIGKILL)
        server.wait()
        for one in gone:
            with open(one) as end_of:
                select.select([end_of], [], [])

    def end(self) -> None:
        """As an operator ends it."""
        if self._process is not None:
            end(self._process, signal.SIGINT)

    def base_backup(self, name: str) -> None:
        """A copy of the running cluster, made as an operator makes it."""
        to = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "unefois", "-D", str(self._folder / name), "-c", "fast"]
        command = bound_to_parent([str(self._binaries / "pg_basebackup"), *to], self._user)
        environment = os.environ | {"PGPASSWORD": self.password}
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder, env=environment, timeout=120)

    def put_back(self, name: str, *, archived: bool) -> None:
        """The cluster of a base backup in place of this one, whose disk is lost; `archived`: with the archive of the
        write-ahead log, to its end. Returns once it answers, and takes writes.
        """
        cluster = self._folder / "cluster"
        shutil.rmtree(cluster)
        shutil.copytree(self._folder / name, cluster, copy_function=shutil.copy2)
        if archived:
            (cluster / "recovery.signal").touch()
        if self._user is not None:
            for path in (cluster, *cluster.rglob("*")):
                shutil.chown(path, self._user, self._user)
        self.start(hot_standby="off", restore_command=f"cp {self._archive}/%f %p")

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise Absent("it was not started")
        return self._process

    def _initialise(self) -> None:
        (self._folder / "password").write_text(self.password)
        if self._archive is not None:
            self._archive.mkdir()
        if self._user is not None:
            for path in (self._folder, *self._folder.iterdir()):
                shutil.chown(path, self._user, self._user)
        initdb = [str(self._binaries / "initdb"), "-D", str(self._folder / "cluster"), "-U", "unefois", "-E", "UTF8"]
        secure = ["--locale=C", "--auth=scram-sha-256", f"--pwfile={self._folder / 'password'}", "--no-instructions"]
        command = bound_to_parent([*initdb, *secure], self._user)
        made = subprocess.run(command, capture_output=True, cwd=self._folder, check=False, text=True)
        if made.returncode != 0:
            raise Absent(f"initdb failed: {made.stderr[-300:].strip()}")


def _children(pid: int) -> list[int]:
    """The processes that this one started."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def own(at: Path | None = None, memory: str = "128MB", *, archives: bool = False) -> Iterator[Server]:
    """A server that the caller may kill; `at`: below which folder it keeps its data; `archives`: see Server. Raises
    Absent.
    """
    binaries = _binaries()
    if shutil.which("setpriv") is None and os.geteuid() == 0:
        raise Absent("PostgreSQL does not run as root, and setpriv is missing")
    folder = Path(tempfile.mkdtemp(prefix="unefois-postgres-", dir=at))
    try:
        server = Server(binaries, folder, memory, archives=archives)
        try:
            server.start()
            yield server
        finally:
            server.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
