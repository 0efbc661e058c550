"""A PostgreSQL for tests: from Docker when an engine answers, else a private cluster of the server binaries found here.

Keeps: settings that a careful operator would have (fsync and synchronous_commit on); nothing outlives the `with` block.
"""

import os
import re
import secrets
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
def running() -> Iterator[str]:
    """The address of a server for this block: a URL of its maintenance database, for a user who may make databases.

    Raises Absent.
    """
    if docker.answers():
        with docker.postgres(IMAGE) as address:
            yield address
        return
    binaries = _binaries()
    if shutil.which("setpriv") is None and os.geteuid() == 0:
        raise Absent("PostgreSQL does not run as root, and setpriv is missing")
    folder = Path(tempfile.mkdtemp(prefix="unefois-postgres-"))
    try:
        with _cluster(binaries, folder) as address:
            yield address
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


@contextmanager
def _cluster(binaries: Path, folder: Path) -> Iterator[str]:
    user = "postgres" if os.geteuid() == 0 else None
    password, port, log = secrets.token_urlsafe(18), free_port(), folder / "server.log"
    (folder / "password").write_text(password)
    if user is not None:
        for path in (folder, folder / "password"):
            shutil.chown(path, user, user)
    initdb = [str(binaries / "initdb"), "-D", str(folder / "cluster"), "-U", "unefois", "-E", "UTF8", "--locale=C"]
    secure = ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--no-instructions"]
    made = subprocess.run(
        bound_to_parent([*initdb, *secure], user), capture_output=True, cwd=folder, check=False, text=True
    )
    if made.returncode != 0:
        raise Absent(f"initdb failed: {made.stderr[-300:].strip()}")
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(folder),
        "max_connections": "200",
        "shared_buffers": "128MB",
        "jit": "off",
    }
    command = [str(binaries / "postgres"), "-D", str(folder / "cluster")]
    for name, told in options.items():
        command += ["-c", f"{name}={told}"]
    with log.open("wb") as output:
        server = subprocess.Popen(bound_to_parent(command, user), stdout=output, stderr=output, cwd=folder)
    try:
        ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        wait_for(lambda: subprocess.run(ready, check=False).returncode == 0, server, 30, str(log))
        yield f"postgresql+asyncpg://unefois:{password}@127.0.0.1:{port}/postgres"
    finally:
        end(server, signal.SIGINT)
