"""Podman without an engine, in a room of its own: processes, mounts and a network that end with whoever made it.

Refuses: to work without root. Keeps: images, containers and volumes below one folder, which is removed; no port, no
rule of a firewall and no process of the machine's own is touched, and none of ours outlives the room.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from tests.services.absent import Absent
from tests.services.processes import bound_to_parent

T = TypeVar("T")

NEEDED: Final = {
    "podman": "podman",
    "runc": "runc",
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
}
"""The programs, and Debian's packages that have them."""
HELPERS: Final = {"netavark": "netavark", "aardvark-dns": "aardvark-dns"}
"""Those of podman itself, which lie in its own folder."""
_CONTAINERS: Final = """\
[network]
network_config_dir = "{folder}/networks"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
"""
_ENTER: Final = """
set -e
ip link set lo up
cp -L /etc/resolv.conf "$1/resolv.conf"
mount -t tmpfs tmpfs /run  # podman's helpers keep their books there, wherever its own folders are
names=$(readlink -f /etc/resolv.conf)
[ -e "$names" ] || { mkdir -p "${names%/*}" && cp "$1/resolv.conf" "$names"; }
echo ready
exec cat
"""
_CLONE_NEWNET: Final = 0x40000000
COMMAND_SECONDS: Final = 600


class Failed(AssertionError):
    """A command did, with the end of what it said."""


@dataclass(frozen=True)
class Room:
    """Where podman runs."""

    folder: Path
    inside: int
    """The number of the first process in it."""

    def run(self, *words: object, online: bool = False, **how: object) -> str:
        """What a command in the room prints; `online`: with the machine's own network. Raises Failed."""
        done = self.attempt(*words, online=online, **how)
        if done.returncode != 0:
            raise Failed(f"{' '.join(map(str, words))[:300]}\n{(done.stdout + done.stderr)[-3000:]}")
        return done.stdout

    def attempt(
        self,
        *words: object,
        online: bool = False,
        typed: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """The same, however it ends."""
        spaces = ["--mount", "--pid", *([] if online else ["--net"])]
        enter = ["nsenter", "--target", str(self.inside), *spaces, "--"]
        return subprocess.run(
            [*enter, *map(str, words)],
            input=typed if typed is not None else "",
            env=self.environment | dict(environment or {}),
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )

    @property
    def environment(self) -> dict[str, str]:
        """Where podman finds its settings; no setting of ours comes along."""
        plain = {name: told for name, told in os.environ.items() if not name.startswith(("UNEFOIS_", "PYTHON"))}
        paths = {"CONTAINERS_CONF": "containers.conf", "CONTAINERS_STORAGE_CONF": "storage.conf"}
        return plain | {name: str(self.folder / file) for name, file in paths.items()}

    def podman(self, *words: object, online: bool = False) -> str:
        """What podman prints. Raises Failed."""
        return self.run("podman", *words, online=online)

    def within(self, call: Callable[[], T]) -> T:
        """What a call of this process returns that uses the room's network: as a client beside the containers."""

        def moved() -> T:
            with open(f"/proc/{self.inside}/ns/net") as network:
                if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            return call()

        with ThreadPoolExecutor(1) as thread:  # a network is a thread's own; this one ends here
            return thread.submit(moved).result()


def check() -> None:
    """Raises Absent, with what is missing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Absent("containers need root here")
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    folders = [Path(each) for each in ("/usr/lib/podman", "/usr/libexec/podman", "/usr/local/libexec/podman")]
    missing += [
        package
        for program, package in HELPERS.items()
        if shutil.which(program) is None and not any((folder / program).exists() for folder in folders)
    ]
    if missing:
        raise Absent(f"these packages are not here: {' '.join(missing)}")


@contextmanager
def room(folder: Path) -> Iterator[Room]:
    """A room for this block, with its files below this folder. Raises Absent."""
    check()
    (folder / "containers.conf").write_text(_CONTAINERS.format(folder=folder))
    storage = f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n'
    (folder / "storage.conf").write_text(storage)
    spaces = ["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child=KILL"]
    says = ["sh", "-c", _ENTER, "sh", str(folder)]
    holder = subprocess.Popen(
        bound_to_parent(["unshare", *spaces, *says]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if holder.stdout is None or holder.stdout.readline() != "ready\n":
            raise Absent("no namespaces can be made here")
        (inside,) = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        yield Room(folder, int(inside))
    finally:
        holder.kill()  # and with it the first process in the room, and with that every other one, and the mounts
        holder.communicate()


def names(prefix: str) -> Sequence[str]:
    """The names of this machine's variables that begin so: they are passed by name, and written down nowhere."""
    return sorted(name for name in os.environ if name.startswith(prefix))
