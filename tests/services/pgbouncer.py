"""A pgbouncer before a PostgreSQL of the tests: transactions of many clients over few connections of the server.

Keeps: nothing outlives the `with` block; the password stands in a file that only its account reads.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from tests.services.absent import Absent
from tests.services.processes import bound_to_parent, end, free_port, listens, wait_for

POOL = 4
"""Connections to the server, for all clients together."""


@contextmanager
def before(address: str) -> Iterator[str]:
    """The URL of the same database through a pooler, as the settings take it. Raises Absent."""
    binary = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if binary is None:
        raise Absent("no pgbouncer here (Debian: apt-get install pgbouncer)")
    server, port = make_url(address), free_port()
    folder = Path(tempfile.mkdtemp(prefix="unefois-pgbouncer-"))
    (folder / "users").write_text(f'"{server.username}" "{server.password}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"""[databases]
* = host={server.host} port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder / "users"}
pool_mode = transaction
default_pool_size = {POOL}
max_client_conn = 200
"""
    )
    user = "postgres" if os.geteuid() == 0 else None  # it does not run as root
    if user is not None:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, user, user)
    log = folder / "log"
    try:
        with log.open("wb") as output:
            command = bound_to_parent([binary, str(folder / "pgbouncer.ini")], user)
            process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
        try:
            wait_for(lambda: listens(port), process, 10, str(log))
            through = server.set(host="127.0.0.1", port=port).update_query_dict({"pooler": "transaction"})
            yield through.render_as_string(hide_password=False)
        finally:
            end(process, signal.SIGINT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
