"""The program `podman` as podman-compose calls it, where podman is older than 4.6 and no systemd runs.

wait --condition=healthy   looks itself until the health check of each succeeds: elsewhere systemd's timers look
--requires                 is left out: that old a podman starts nothing behind a container that has ended (`init`);
                           podman-compose keeps the order itself, by the conditions of the file
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

SECONDS: Final = 300
"""Until everything that is waited for is healthy."""


def main(words: Sequence[str]) -> int:
    """Do it, or become the real one."""
    if list(words) == ["--version"]:
        print("podman version 4.6.0")  # from there on podman-compose lets it wait for health
        return 0
    if "--condition=healthy" in words:
        return wait(words[words.index("--condition=healthy") + 1 :])
    kept = [word for word in words if not word.startswith("--requires=")]
    return os.execvp("podman", ["podman", *kept])


def wait(names: Sequence[str]) -> int:
    """0 once all of them are healthy; 1, with the name, when one is not in time."""
    until = time.monotonic() + SECONDS
    for name in names:
        while subprocess.run(["podman", "healthcheck", "run", name], capture_output=True, check=False).returncode:
            if time.monotonic() > until:
                print(f"{name} is not healthy", file=sys.stderr)
                return 1
            time.sleep(0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
