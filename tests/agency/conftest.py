"""What these tests share: the agency's wheel in an environment of its own, and a served broker, a town and a portal.

The environment holds the wheel and what it says that it needs, and nothing else: what it imports besides is missing.
"""

import json
import os
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import httpx2
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.services.mailserver import Post

ROOT = Path(__file__).parents[2]
TOWN, PORTAL = "urn:fr:siret:21350238800019", "urn:unefois:portal"
ABOUT = ("--address", "1 place de l'Exemple", "--contact", "c@example.fr", "--retention", "two years")
ELISE = {
    "family_name": "Martin",
    "given_names": ["Élise"],
    "birthdate": "1985-04-12",
    "gender": "female",
    "birthplace": "44109",
    "birthcountry": "99100",
}
FIELDS = ("subject", "effective_date", "new_address")


@dataclass(frozen=True)
class Environment:
    """A Python of its own."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def program(self) -> Path:
        """`unefois-agency`."""
        return self.folder / "bin" / "unefois-agency"

    def run(self, *words: object, cwd: Path, code: int = 0) -> str:
        """What a program of it prints; it has to end with this code."""
        done = subprocess.run(
            [str(word) for word in words], cwd=cwd, env=plain(), capture_output=True, text=True, check=False
        )
        assert code == done.returncode, done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")


def plain() -> dict[str, str]:
    """An agency's own shell: nothing of this checkout is in it."""
    kept = {
        name: told for name, told in os.environ.items() if not name.startswith(("UNEFOIS_", "PYTHON", "LC_", "VIRTUAL"))
    }
    return kept | {"LANG": "C.UTF-8"}


def needed(wanted: list[str], extras: frozenset[str] = frozenset()) -> Iterator[Path]:
    """The files of every distribution that these requirements lead to, as they are installed here."""
    waiting, seen = [(Requirement(one), extras) for one in wanted], set()
    while waiting:
        requirement, active = waiting.pop()
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *active)):
            continue
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # a marker of another platform
        assert Version(found.version) in requirement.specifier, name
        waiting += [(Requirement(one), frozenset(requirement.extras)) for one in found.requires or ()]
        yield from {Path(str(found.locate_file(each.parts[0]))) for each in found.files or () if ".." not in each.parts}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agency's wheel, built from this checkout without a network."""
    return built(ROOT / "agency", tmp_path_factory.mktemp("wheel"))


def built(project: Path, folder: Path) -> Path:
    """A project's wheel, in this folder."""
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *words, str(project)], check=True, env=plain())
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel with the extra `source`, and what that needs."""
    return installed(tmp_path_factory.mktemp("agency") / "venv", wheel)


def installed(folder: Path, wheel: Path, *others: Path) -> Environment:
    """An environment of its own with the agency's wheel, its extra `source`, and further wheels that need no more."""
    made = Environment(folder)
    venv.create(made.folder, symlinks=True)
    words = ["--python", str(made.python), "install", "--quiet", "--no-deps", "--no-index"]
    line = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words, str(wheel), *map(str, others)]
    subprocess.run(line, check=True, env=plain())
    (packages,) = made.folder.glob("lib/python*/site-packages")
    (metadata,) = packages.glob("unefois_agency-*.dist-info/METADATA")
    wanted = [line.removeprefix("Requires-Dist: ") for line in metadata.read_text("utf-8").splitlines()
              if line.startswith("Requires-Dist: ")]  # fmt: skip
    for path in needed(wanted, frozenset({"source"})):
        if not (packages / path.name).exists():
            (packages / path.name).symlink_to(path)
    return made


@dataclass(frozen=True)
class Served:
    """A broker that runs, its home, and the town's folder: `town.key`, `api.token`."""

    home: Path
    address: str
    town: Path

    def unefois(self, *words: object) -> Any:
        """The broker's program, as its operator has it; the answer as JSON."""
        return told(self.home, *words)

    def token(self, party: str, *scopes: str) -> str:
        """A token for a party."""
        named = [word for scope in scopes for word in ("--scope", scope)]
        issued: str = self.unefois("token", "issue", party, *named, "--days", 1)["token"]
        return issued

    def declare(self, name: str = "Martin") -> str:
        """Somebody of this name moves from Nantes to Rennes, and lets the town know. Returns the declaration's id."""
        person = ELISE | {"family_name": name}
        (self.home.parent / "person.json").write_text(json.dumps(person))
        (self.home.parent / "move.json").write_text(json.dumps({"event_type": MOVED, "record": moved(person)}))
        self.allow(self.home.parent / "person.json")
        declared: str = self.unefois("declare", self.home.parent / "move.json", "--source", PORTAL)["declaration"]
        return declared

    def arrived(self) -> None:
        """Return once something waits for the town: the router is another process."""
        headers = {"Authorization": f"Bearer {(self.town / 'api.token').read_text()}"}
        for _ in range(2_000):
            if httpx2.get(f"{self.address}/v1/status", headers=headers).json()["waiting"]:
                return
        pytest.fail("nothing arrived")

    def allow(self, person: Path) -> None:
        """A person lets the town know of moves."""
        fields = [word for field in FIELDS for word in ("--field", field)]
        self.unefois("grant", "--person", person, "--recipient", TOWN, "--type", "address.changed",
                     "--purpose", "local-services", *fields)  # fmt: skip


MOVED = "fr.unefois.address.changed.v1"


def moved(person: dict[str, Any]) -> dict[str, Any]:
    """A move, without the fields that may be left out."""
    address = {"housenumber": "12", "street": "rue de la Monnaie", "postcode": "35000", "city": "Rennes"}
    return {
        "subject": person,
        "capacity": "self",
        "effective_date": "2026-12-01",
        "new_address": {**address, "commune": "35238", "country": "99100", "lines": []},
        "old_commune": "44109",
        "new_commune": "35238",
        "new_country": "99100",
        "household": [],
        "vehicles": [],
        "occupants": 1,
    }


def told(home: Path, *words: object) -> Any:
    """An answer of the broker's program."""
    line = [sys.executable, "-m", "broker", *map(str, words), "--json"]
    env = plain() | {"UNEFOIS_HOME": str(home), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, env=env, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


class Endpoint(ThreadingHTTPServer):
    """An agency's own server. `heard`: each message, headers and body; `answers`: what it says to each, 200 then."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Told)
        self.heard: Queue[tuple[dict[str, str], bytes]] = Queue()
        self.answers: Queue[int] = Queue()

    @property
    def address(self) -> str:
        """Where the broker may call it."""
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Told(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Echo a challenge; answer what is to be answered."""
        assert isinstance(self.server, Endpoint)
        body = self.rfile.read(int(self.headers["content-length"]))
        status = 200 if self.server.answers.empty() else self.server.answers.get()
        told = json.dumps({"challenge": json.loads(body)["data"].get("challenge")}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)
        self.server.heard.put(({name.lower(): text for name, text in self.headers.items()}, body))

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="session")
def endpoint() -> Iterator[Endpoint]:
    """Where the town listens."""
    with Endpoint() as made:
        serving = Thread(target=made.serve_forever, daemon=True)
        serving.start()
        yield made
        made.shutdown()
        serving.join()


@pytest.fixture(scope="session")
def post() -> Iterator[Post]:
    """The mail server of the broker's operator."""
    with Post() as made:
        yield made


@pytest.fixture(scope="session")
def served(
    environment: Environment, endpoint: Endpoint, post: Post, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """`unefois serve`, with a portal that declares and a town whose key was made, and stays, at the town's."""
    folder = tmp_path_factory.mktemp("broker")
    home, town = folder / "home", folder / "town"
    town.mkdir()
    public = environment.run(environment.program, "key", "new", "town.key", "--kind", "x25519", cwd=town).strip()
    told(home, "init", "--address", "1 rue X", "--contact", "u@example.fr", "--ledger-origin", "log.example.fr/unefois")
    told(home, "party", "add", PORTAL, "--name", "Portal", "--kind", "portal", "--sector", "portal", "--suite", "none",
         "--publishes", "address.changed", *ABOUT)  # fmt: skip
    told(home, "party", "add", TOWN, "--name", "Rennes", "--sector", "commune", "--suite", "none", *ABOUT)
    told(home, "party", "add-key", TOWN, public)
    fields = [word for field in FIELDS for word in ("--field", field)]
    told(home, "subscribe", "--recipient", TOWN, "--type", "address.changed", "--purpose", "local-services", *fields,
         "--legal-reference", "CGCT, art. L2121-29")  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    env = plain() | {
        "UNEFOIS_HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "UNEFOIS_LISTEN": listen,
        "UNEFOIS_OUTBOUND_ALLOWED": f"127.0.0.1:{endpoint.server_port}",
        "UNEFOIS_MAIL_SERVER": f"127.0.0.1:{post.port}",
        "UNEFOIS_MAIL_SECURITY": "none",
        "UNEFOIS_MAIL_FROM": "unefois@broker.example",
    }
    process = subprocess.Popen([sys.executable, "-m", "broker", "serve"], env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "Running" in process.stdout.readline()
        made = Served(home, f"http://{listen}", town)
        (town / "api.token").write_text(made.token(TOWN, "receive", "read"))
        yield made
    finally:
        process.terminate()
        process.communicate()
