"""The foreign clients: programs on libraries that we did not write, and how each of them is run.

All have one shape. A program reads one JSON object from its standard input, which is what its user would have in its
settings, prints one JSON object of what it saw, and ends with 0; what it refuses it tells on its error output, and
ends with 1. Every version is pinned by its hash: go/go.sum, js/package-lock.json, openapi/requirements.txt,
requirements/dev.txt.

Keeps: who has run is counted, and who has not is named with the reason: `conftest.py` prints it at the end.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.agency.conftest import plain

HERE = Path(__file__).parent
NODE = 20
"""The oldest that all of the JavaScript libraries are for."""
LITEWITNESS = ("filippo.io/torchwood/cmd/litewitness", "filippo.io/torchwood/cmd/witnessctl")
CLIENTS = {
    "franz-go's registry client": ("go", "registry"),
    "kafkajs' registry client": ("js", "registry"),
    "openid-client": ("js", "oauth"),
    "Authlib": ("python", "oauth"),
    "Standard Webhooks for Go": ("go", "webhook"),
    "Standard Webhooks for JavaScript": ("js", "webhook"),
    "the CloudEvents SDK for Go": ("go", "events"),
    "the CloudEvents SDK for JavaScript": ("js", "events"),
    "kafkajs with the CloudEvents SDK": ("js", "topic"),
    "litewitness": ("go", "litewitness"),
    "openapi-python-client": ("openapi", "pulls"),
}
"""Each client's name: its language, and its program."""


class Missing(Exception):
    """What a client cannot be run without."""


@dataclass
class Room:
    """Where the programs are built, once for a run of the tests."""

    folder: Path
    ran: set[str] = field(default_factory=set)
    missing: dict[str, str] = field(default_factory=dict)

    def run(self, client: str, code: int = 0, program: str = "", **told: Any) -> Any:
        """What a client saw, as JSON; with another `code`, what it said when it refused."""
        line = self.line(client, program)
        done = subprocess.run(
            line, input=json.dumps(told), env=plain(), capture_output=True, text=True, check=False, timeout=120
        )
        assert code == done.returncode, done.stdout + done.stderr
        self.ran.add(client)
        return done.stderr if code else json.loads(done.stdout)

    def line(self, client: str, program: str = "") -> list[str]:
        """The command of a client's program, or of another program that comes with it."""
        language, own = CLIENTS[client]
        with self._needed(client):
            ways = {"go": self._go, "js": self._js, "python": self._python, "openapi": self._openapi}
            return ways[language](program or own)

    def tools(self, client: str, *names: str) -> None:
        """See that these programs of the machine are there: what a client needs besides."""
        with self._needed(client):
            for name in names:
                _tool(name)

    @contextmanager
    def _needed(self, client: str) -> Iterator[None]:
        """Without what it needs, a client is a skip that is counted, or a failure where it is required."""
        try:
            yield
        except Missing as missing:
            self.missing[client] = str(missing)
            if "foreign" in os.environ.get("UNEFOIS_REQUIRE", "").split(","):
                pytest.fail(f"{client} is required: {missing}", pytrace=False)
            pytest.skip(f"{client}: {missing}")

    def _go(self, program: str) -> list[str]:
        return [str(_built(self.folder) / program)]

    def _js(self, program: str) -> list[str]:
        return ["node", str(_installed(self.folder) / f"{program}.mjs")]

    def _python(self, program: str) -> list[str]:
        return [sys.executable, str(HERE / "python" / f"{program}.py")]

    def _openapi(self, program: str) -> list[str]:
        return [str(_generator(self.folder) / "python"), str(self.folder / "openapi" / f"{program}.py")]

    def typed(self, document: bytes) -> Callable[[str], str]:
        """Make a client of an OpenAPI document, beside the programs that use it. Returns what mypy says of one."""
        with self._needed("openapi-python-client"):
            tools = _generator(self.folder)
        made = self.folder / "openapi"
        shutil.copytree(HERE / "openapi", made, dirs_exist_ok=True)
        (made / "openapi.json").write_bytes(document)
        words = ["generate", "--path", "openapi.json", "--output-path", "unefois_client", "--config", "config.yaml"]
        env = plain() | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
        line = [tools / "openapi-python-client", *words, "--meta", "none", "--overwrite", "--fail-on-warning"]
        subprocess.run(line, cwd=made, env=env, check=True)

        def checked(program: str) -> str:
            line = [tools / "mypy", "--config-file", "mypy.ini", f"{program}.py"]
            return subprocess.run(line, cwd=made, env=env, capture_output=True, text=True, check=False).stdout

        return checked

    def closing(self) -> list[str]:
        """How many have run, and why others could not."""
        missing = [f"not here: {name}, for {why}" for name, why in self.missing.items()]
        return [f"{len(self.ran)} foreign clients of {len(CLIENTS)} ran", *missing]


def _once(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """Made once; what was missing once is missing for all."""

    @cache
    def tried(folder: Path) -> Path | Missing:
        try:
            return make(folder)
        except Missing as missing:
            return missing

    def made(folder: Path) -> Path:
        found = tried(folder)
        if isinstance(found, Missing):
            raise found
        return found

    return made


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Missing(f"no `{name}` on the PATH")
    return found


def _done(*line: str, cwd: Path) -> str:
    done = subprocess.run(line, cwd=cwd, env=plain(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"`{' '.join(line[:2])}`: {done.stderr.strip()[-500:]}")
    return done.stdout


@_once
def _built(folder: Path) -> Path:
    """Every Go program; modules that cannot be had are missing, programs that do not compile are a failure."""
    go, made = _tool("go"), folder / "go"
    made.mkdir()
    _done(go, "mod", "download", cwd=HERE / "go")
    subprocess.run([go, "build", "-mod=readonly", "-o", made, "./...", *LITEWITNESS], cwd=HERE / "go", check=True)
    return made


@_once
def _installed(folder: Path) -> Path:
    """The JavaScript programs, beside what they import."""
    node, npm, made = _tool("node"), _tool("npm"), folder / "js"
    version = _done(node, "--version", cwd=HERE)
    if int(version.strip().removeprefix("v").partition(".")[0]) < NODE:
        raise Missing(f"Node {version.strip()}, and {NODE} is needed")
    shutil.copytree(HERE / "js", made)
    _done(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", cwd=made)
    return made


@_once
def _generator(folder: Path) -> Path:
    """The programs that make a client of an OpenAPI document, in an environment of their own: they need an older Typer
    than we do.
    """
    made = folder / "generator"
    venv.create(made, with_pip=True, symlinks=True)
    words = ("install", "--quiet", "--require-hashes", "-r", str(HERE / "openapi" / "requirements.txt"))
    _done(str(made / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", *words, cwd=HERE)
    return made / "bin"
