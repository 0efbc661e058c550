"""A machine that is played: the programs that only root has, below another root folder, for who follows a page there.

`useradd`, `chown`, `nginx` do nothing, `install` forgets owners, `runuser` runs the command as who is here, and
`systemctl` starts what a unit file says, with its environment and its credentials, and stops it.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

FOLDERS = (
    "/opt/unefois",
    "/var/lib/unefois",
    "/var/backups/unefois",
    "/etc/unefois",
    "/etc/systemd",
    "/etc/nginx",
    "/usr/local",
)
"""Those that a page for root names; each is below the other root."""
ROOT = "PLAYED_ROOT"
_NOTHING = ("useradd", "chown", "nginx")


def below(root: Path, text: str) -> str:
    """A text in which every folder of root's lies below the other root."""
    return re.sub(
        "|".join(f"(?<![\\w/]){re.escape(each)}" for each in FOLDERS), lambda found: f"{root}{found[0]}", text
    )


def play(root: Path) -> Path:
    """Make the folders and the programs; returns the folder that goes first into PATH."""
    programs = root / "played"
    for each in ("/opt", "/var/lib", "/var/backups", "/etc/systemd/system", "/etc/nginx/conf.d", "/usr/local/bin"):
        (root / each[1:]).mkdir(parents=True)
    programs.mkdir()
    scripts = dict.fromkeys(_NOTHING, "exit 0") | {
        "install": f'exec {shlex.quote(sys.executable)} -m tests.services.played install "$@"',
        "systemctl": f'exec {shlex.quote(sys.executable)} -m tests.services.played systemctl "$@"',
        "runuser": 'shift 3; exec "$@"',  # -u unefois --
    }
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    return programs


def stop_all(root: Path) -> None:
    """Stop whatever units still run."""
    for file in root.glob("run/*.pid"):
        _stop(root, file.stem)


def settings(text: str, section: str) -> list[tuple[str, str]]:
    """The lines of a section of a unit, in their order (systemd.syntax(7), as far as ours go)."""
    found, here = [], ""
    for line in text.splitlines():
        if line.startswith("["):
            here = line.strip("[]")
        elif here == section and "=" in line and not line.startswith(("#", ";")):
            name, _, told = line.partition("=")
            found.append((name, told))
    return found


def _install(words: Sequence[str]) -> None:
    """Without owners, which are not there."""
    kept, skip = [], False
    for word in words:
        if not skip and word not in ("-o", "-g"):
            kept.append(word)
        skip = not skip and word in ("-o", "-g")
    subprocess.run(["/usr/bin/install", *kept], check=True)


def _systemctl(root: Path, words: Sequence[str]) -> None:
    match [word for word in words if word != "--now"]:
        case ["daemon-reload"] | ["reload", "nginx"]:
            return
        case ["enable" | "start", *units]:
            for unit in units:
                _start(root, unit)
        case ["stop", *units]:
            for unit in units:
                _stop(root, unit)
        case _:
            raise SystemExit(f"systemctl: not played: {words}")


def _start(root: Path, unit: str) -> None:
    name, _, kind = unit.partition(".")
    folder = root / "etc/systemd/system"
    template, _, instance = name.partition("@")
    file = folder / (f"{template}@.service" if instance else f"{name}.{kind or 'service'}")
    text = file.read_text()
    if kind == "timer":
        assert (folder / f"{name}.service").is_file(), "a timer starts the service of its name"
        return
    service = settings(text, "Service")
    environment, kind = _environment(root, name, instance, service), dict(service)["Type"]
    for key, told in service:
        if key not in ("ExecStart", "ExecStartPost"):
            continue
        line = [_expanded(root, name, instance, word) for word in shlex.split(below(root, told))]
        log = (root / "run" / f"{name}.log").open("ab")  # the journal
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        if kind == "oneshot":
            subprocess.run(line, env=environment, check=True, **streams)
            continue
        process = subprocess.Popen(line, env=environment, start_new_session=True, **streams)
        (root / "run" / f"{name}.pid").write_text(str(process.pid))


def _environment(root: Path, name: str, instance: str, service: list[tuple[str, str]]) -> dict[str, str]:
    """What systemd would give: nothing of the caller's but what the unit says."""
    told = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    credentials = root / "run/credentials" / name
    credentials.mkdir(parents=True, exist_ok=True, mode=0o700)
    for key, value in service:
        if key == "LoadCredential":
            credential, _, source = value.partition(":")
            shutil.copyfile(below(root, source), credentials / credential)
            (credentials / credential).chmod(0o400)
        elif key == "EnvironmentFile":
            path = Path(below(root, _expanded(root, name, instance, value.removeprefix("-"))))
            if path.is_file():
                told |= dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
        elif key == "Environment":
            variable, _, text = below(root, value).partition("=")
            told[variable] = _expanded(root, name, instance, text)
    return told


def _expanded(root: Path, name: str, instance: str, text: str) -> str:
    """Specifiers and `$$` (systemd.unit(5), systemd.service(5))."""
    told = {"%%": "%", "%i": instance, "%d": str(root / "run/credentials" / name), "$$": "$"}
    return re.sub(r"%[%id]|\$\$", lambda found: told[found[0]], text)


def _stop(root: Path, unit: str) -> None:
    file = root / "run" / f"{unit}.pid"
    if not file.exists():
        return
    pid = int(file.read_text())
    os.kill(pid, signal.SIGTERM)
    for _ in _patiently():
        if not _lives(pid):
            break
    file.unlink()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _patiently() -> Iterator[int]:
    """For somebody else's end, whose length decides nothing."""
    for each in range(600):
        yield each
        time.sleep(0.05)
    raise SystemExit("it does not end")


if __name__ == "__main__":
    where = Path(os.environ[ROOT])
    (where / "run").mkdir(exist_ok=True)
    if sys.argv[1] == "install":
        _install(sys.argv[2:])
    else:
        _systemctl(where, sys.argv[2:])
