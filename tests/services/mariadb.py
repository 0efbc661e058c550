"""A MariaDB for tests: a private server of Debian's binaries, with TLS, whose data go with it.

Keeps: settings as Debian has them, with a careless `sql_mode` (none) and an old charset (latin1) on purpose: what the
connector promises must not lean on the server's.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services import certificates
from tests.services.absent import Absent
from tests.services.processes import bound_to_parent, end, free_port, listens, wait_for


@contextmanager
def running() -> Iterator[str]:
    """A URL of its maintenance database, for a user who may make databases; `ca`: the authority of its certificate.

    Raises Absent.
    """
    server, install = (
        shutil.which("mariadbd", path=f"/usr/sbin:{os.environ['PATH']}"),
        shutil.which("mariadb-install-db"),
    )
    if server is None or install is None:
        raise Absent("no MariaDB server here (Debian: apt-get install mariadb-server)")
    user = "mysql" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="unefois-mariadb-") as place:
        folder, password, port = Path(place), secrets.token_urlsafe(18), free_port()
        _, ca = certificates.make(folder)
        (folder / "init.sql").write_text(
            f"CREATE USER unefois@'127.0.0.1' IDENTIFIED BY '{password}';\nGRANT ALL ON *.* TO unefois@'127.0.0.1';\n"
        )
        (folder / "data").mkdir()
        if user is not None:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, user)
        common = ["--no-defaults", f"--datadir={folder / 'data'}"]
        made = [install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"]
        done = subprocess.run(
            bound_to_parent(made, user), cwd=folder, capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode:
            raise Absent(f"mariadb-install-db ended with {done.returncode}: {done.stderr[-300:]}")
        options = {
            "bind-address": "127.0.0.1",
            "port": str(port),
            "socket": str(folder / "socket"),
            "init-file": str(folder / "init.sql"),
            "ssl-cert": str(folder / "server.pem"),
            "ssl-key": str(folder / "server.pem"),
            "sql-mode": "",
            "character-set-server": "latin1",
            "innodb-lock-wait-timeout": "2",
        }
        command = [server, *common, "--skip-name-resolve", *(f"--{name}={told}" for name, told in options.items())]
        log = folder / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(bound_to_parent(command, user), stdout=output, stderr=output, cwd=folder)
        try:
            wait_for(lambda: listens(port), process, 60, str(log))
            yield f"mysql+aiomysql://unefois:{password}@127.0.0.1:{port}/mysql?ca={ca}"
        finally:
            end(process, signal.SIGTERM)
