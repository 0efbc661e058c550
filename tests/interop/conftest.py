"""The foreign reader: a Go program on golang.org/x/mod/sumdb, built once for all workers of a test run."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent
Readlog = Callable[..., "subprocess.CompletedProcess[str]"]


def _absent(reason: str) -> None:
    """Skip, or fail where `UNEFOIS_REQUIRE` names go."""
    if "go" in os.environ.get("UNEFOIS_REQUIRE", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def readlog(services_folder: Path) -> Readlog:
    """Run the reader: `readlog(directory, *older_checkpoints)`, with stdout, stderr and returncode."""
    go = shutil.which("go")
    if go is None:
        _absent("no `go` on the PATH")
    program = services_folder / "readlog"
    with (services_folder / "readlog.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            if subprocess.run([go, "mod", "download"], cwd=SOURCE, capture_output=True, check=False).returncode:
                _absent("the Go module golang.org/x/mod cannot be had")
            subprocess.run([go, "build", "-mod=readonly", "-o", program, "."], cwd=SOURCE, check=True)

    def run(directory: Path, *older: Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([program, directory, *older], capture_output=True, text=True, check=False)

    return run
