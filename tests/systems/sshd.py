"""An OpenSSH server for tests: Debian's own, as the user of these tests, with one key, one account, its sftp-server."""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.absent import Absent
from tests.services.processes import bound_to_parent, end, free_port, listens, wait_for

SFTP_SERVERS = (Path("/usr/lib/openssh/sftp-server"), Path("/usr/libexec/openssh/sftp-server"))
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
AllowUsers {user}
Subsystem sftp {sftp} {more}
"""


@dataclass(frozen=True)
class Sshd:
    """A server that runs."""

    folder: Path
    port: int
    user: str

    @property
    def host_key(self) -> str:
        """As `ssh-keyscan` prints it, without the name."""
        return " ".join((self.folder / "host.pub").read_text().split()[:2])

    @property
    def key_file(self) -> Path:
        """The account's private key."""
        return self.folder / "client"


@contextmanager
def running(folder: Path, more: str = "") -> Iterator[Sshd]:
    """The server for this block; `more`: options of its sftp-server. Raises Absent."""
    binary = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    sftp = next((one for one in SFTP_SERVERS if one.exists()), None)
    if binary is None or sftp is None or shutil.which("ssh-keygen") is None:
        raise Absent("no sshd here (Debian: apt-get install openssh-server)")
    for name in ("host", "client"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(folder / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    shutil.copyfile(folder / "client.pub", folder / "authorized")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it sets its rights aside, as its service makes it
    port, user, log = free_port(), pwd.getpwuid(os.geteuid()).pw_name, folder / "log"
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder, user=user, sftp=sftp, more=more))
    command = [binary, "-D", "-f", str(folder / "config"), "-E", str(log)]
    server = subprocess.Popen(bound_to_parent(command), stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: listens(port), server, 30, str(log))
        yield Sshd(folder, port, user)
    finally:
        end(server, signal.SIGTERM)
