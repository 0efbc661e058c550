"""Stand-ins for base images that cannot be pulled: Debian's own Python, PostgreSQL and Java, with Kafka's jars.

Refuses: to leave in a layer where a package came from: the lists of sources and the settings of apt and pip stay out.
Keeps: names and tags of the official images, as deploy/Dockerfile and deploy/compose.yaml say them, and their
entrypoints' promises as far as the two rely on them. Whoever ran on them says so (`told`).
"""

import re
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.compose.engine import Room, names
from tests.services import kafka
from tests.services.absent import Absent

ROOT: Final = Path(__file__).parents[2]
IMAGES: Final = Path(__file__).with_name("images")
_PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "python": ("python3", "python3-venv", "ca-certificates"),
    "servers": ("postgresql", "default-jre-headless"),
}
_FORGET: Final = 'rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/apt.conf.d/99mmdebstrap'
_ACQUIRE: Final = re.compile(r"Acquire::(?:Check-|https?::|Retries)")
_BUILD: Final = ("build", "--network", "host", "--isolation", "chroot", "--layers=false")


def make(room: Room) -> str:
    """Make those that this checkout's files name, and the image of the broker on top; returns `told`. Raises Absent,
    Failed.
    """
    libs = kafka.jars()
    with ThreadPoolExecutor(1) as beside:
        servers = beside.submit(_bootstrap, room, "servers")
        _bootstrap(room, "python")
        (python,) = {tag for tag in _bases() if tag.startswith("python:")}
        _on_top(room, "python", python)
        _broker(room)
        servers.result()
    binaries = room.podman("run", "--rm", "stand-in-servers", "sh", "-c", "ls -d /usr/lib/postgresql/*/bin").strip()
    by_name = {tag.partition(":")[0].rpartition("/")[2]: tag for tag in _others()}
    _on_top(room, "postgres", by_name["postgres"], f"--build-arg=BINARIES={binaries}")
    _on_top(room, "kafka", by_name["kafka"], "--build-context", f"libs={libs}")
    return _told(room, python, by_name, libs)


def _bases() -> Iterable[str]:
    return re.findall(r"^FROM (\S+:\S+)", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)


def _others() -> Iterable[str]:
    return re.findall(r"^ +image: (\S+:\S+)$", (ROOT / "deploy/compose.yaml").read_text(), re.MULTILINE)


def _bootstrap(room: Room, name: str) -> None:
    """A Debian with these packages, from this machine's own sources."""
    archive = room.folder / f"{name}.tar"
    release = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    if release is None:
        raise Absent("this is no Debian of which a base image could be made")
    apt = Path("/etc/apt")
    listed = [apt / "sources.list", *apt.glob("sources.list.d/*.list"), *apt.glob("sources.list.d/*.sources")]
    sources = sorted(str(path) for path in listed if path.is_file())
    settings = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False).stdout
    options = [f"--aptopt={line}" for line in settings.splitlines() if _ACQUIRE.match(line)]
    options += [f"--customize-hook={_FORGET}", "--variant=minbase", f"--include={','.join(_PACKAGES[name])}"]
    command = ["mmdebstrap", *options, release[1], str(archive), *sources]
    with (room.folder / f"{name}.log").open("w") as log:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        raise Absent(f"mmdebstrap made no base image with {', '.join(_PACKAGES[name])}")
    room.podman("import", "--quiet", archive, f"stand-in-{name}")
    archive.unlink()


def _on_top(room: Room, name: str, tag: str, *more: object) -> None:
    image = tag if "/" in tag else f"library/{tag}"
    file = IMAGES / f"{name}.Dockerfile"
    room.podman(*_BUILD, *more, "--quiet", "-t", f"docker.io/{image}", "-f", file, IMAGES, online=True)


def _broker(room: Room) -> None:
    """deploy/Dockerfile, as it is. How pip gets packages is this machine's business: passed by name, and taken out of
    the image's settings again, where podman leaves it.
    """
    passed = [f"--env={name}" for name in names("PIP_")]
    seen = ["-v", "/etc/ssl/certs:/etc/ssl/certs:ro"]
    room.podman(*_BUILD, *passed, *seen, "-t", "built", "-f", ROOT / "deploy/Dockerfile", ROOT, online=True)
    forget = [f"--unsetenv={name}" for name in names("PIP_")]
    room.run("podman", "build", *forget, "--quiet", "-t", "unefois", "-", typed="FROM built\nLABEL base=stand-in\n")


def _told(room: Room, python: str, others: Mapping[str, str], libs: Path) -> str:
    version = room.podman("run", "--rm", f"docker.io/library/{python}", "python", "--version").strip()
    server = room.podman("run", "--rm", "--entrypoint", "postgres", others["postgres"], "--version").strip()
    (jar,) = libs.glob("kafka_2.13-*.jar")
    return (
        "Ran on stand-in base images, which cannot be pulled here: "
        f"{python} is Debian's {version}, {others['postgres']} is Debian's {server}, "
        f"{others['kafka']} is {jar.stem} on Debian's Java."
    )
