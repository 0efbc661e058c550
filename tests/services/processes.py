"""Processes: what starting a server takes. A free port, a command that dies with its parent, a wait for its answer."""

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from tests.services.absent import Absent


def free_port() -> int:
    """A TCP port of the loopback address that nobody uses now, below those that outgoing connections are given."""
    for _ in range(100):
        port = random.randrange(15_000, 30_000)
        with socket.socket() as attempt, suppress(OSError):
            attempt.bind(("127.0.0.1", port))
            return port
    raise Absent("no TCP port is free")


def bound_to_parent(command: Sequence[str], user: str | None = None) -> list[str]:
    """The command, ended by the kernel when the process that starts it ends in whatever way; as `user` when given."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        if user is not None:
            raise Absent("setpriv is missing, and this server does not run as root")
        return list(command)
    change = [f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user is not None else []
    return [setpriv, *change, "--pdeathsig", "KILL", *command]


def wait_for(answers: Callable[[], bool], server: "subprocess.Popen[bytes]", seconds: float, log: str) -> None:
    """Return once it answers. Raises Absent with the end of its log when it ended or takes too long."""
    until = time.monotonic() + seconds
    while not answers():
        if server.poll() is not None or time.monotonic() > until:
            raise Absent(f"the server did not start: {tail(log)}")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Whether somebody takes connections on this port."""
    with socket.socket() as attempt:
        attempt.settimeout(1)
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def tail(path: str) -> str:
    """What a log file says of an end: its first error, the line that follows it, and its last 300 characters.

    Those of a Java program are a trace; what happened stands before it, and what was thrown in the line after.
    """
    if not os.path.exists(path):
        return "it left no log"
    with open(path, errors="replace") as log:
        told = log.read()
    lines = told.splitlines()
    first = next((at for at, line in enumerate(lines) if " ERROR " in line or " FATAL " in line), len(lines))
    return "\n".join((*(line[:300] for line in lines[first : first + 2]), told[-300:].strip()))


def end(server: "subprocess.Popen[bytes]", signal: int, seconds: float = 20) -> None:
    """Ask it to end, then make it."""
    if server.poll() is None:
        server.send_signal(signal)
        try:
            server.wait(seconds)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
