"""The wheels are as they would be published: whole, with their licence, and installed by pip from an index."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from packaging.metadata import Metadata

from broker.observability.build import this_build
from tests.services.wheels import ROOT, built, needed, plain, repacked, requires

pytestmark = pytest.mark.proof
SOURCES = {"unefois": ROOT, "unefois-agency": ROOT / "agency"}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    return {name: built(folder, source) for name, source in SOURCES.items()}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def index(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A simple index (PEP 503) on loopback: our wheels, and what they need."""
    folder = tmp_path_factory.mktemp("index")
    for name, wheel in wheels.items():
        (folder / name).mkdir()
        (folder / name / wheel.name).write_bytes(wheel.read_bytes())
        for found in needed(requires(wheel)):
            place = folder / str(found.metadata["Name"]).lower().replace("_", "-").replace(".", "-")
            place.mkdir(exist_ok=True)
            repacked(found, place)
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        serving.join()


def installed(name: str, index: str, folder: Path) -> Path:
    """A fresh environment in which pip has installed a name from the index; returns its `bin`."""
    venv.create(folder, symlinks=True, with_pip=False)
    words = ["--python", str(folder / "bin/python"), "install", "--quiet", "--index-url", index, name]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, env=plain())
    return folder / "bin"


def run(*words: object, cwd: Path, **more: str) -> str:
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=plain() | more, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def test_the_brokers_wheel_is_installed_from_an_index_and_works(index: str, tmp_path: Path) -> None:
    programs = installed("unefois", index, tmp_path / "venv")
    unefois = partial(run, programs / "unefois", cwd=tmp_path, UNEFOIS_HOME=str(tmp_path / "home"))

    assert f"{this_build().text}\n" == unefois("--version")
    unefois("init")
    assert json.loads(unefois("fsck", "--json"))["clean"]
    unefois("deploy", "write", "deploy")
    packed = {path.relative_to(tmp_path / "deploy").as_posix() for path in (tmp_path / "deploy").rglob("*.*")}
    assert {"systemd/unefois@.service", "requirements/server.txt", "nginx/unefois.conf", "compose.yaml"} <= packed


def test_the_agencys_wheel_is_installed_from_an_index_and_works(index: str, tmp_path: Path) -> None:
    programs = installed("unefois-agency", index, tmp_path / "venv")

    assert "key" in run(programs / "unefois-agency", "--help", cwd=tmp_path)
    run(programs / "unefois-agency", "key", "new", "town.key", "--kind", "x25519", cwd=tmp_path)
    assert (tmp_path / "town.key").exists()
    run(programs / "python", "-c", "from unefois_agency.connectors.client import Client", cwd=tmp_path)


@pytest.mark.parametrize("name", SOURCES)
def test_the_metadata_is_whole_and_names_no_host(wheels: dict[str, Path], name: str) -> None:
    with zipfile.ZipFile(wheels[name]) as archive:
        (place,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        told = Metadata.from_email(archive.read(place), validate=True)
        licences = [each for each in archive.namelist() if each.endswith(".dist-info/licenses/LICENSE")]
        assert (ROOT / "LICENSE").read_bytes() == archive.read(licences[0])

    assert (name, "EUPL-1.2", ["LICENSE"]) == (told.name, told.license_expression, told.license_files)
    assert None is told.project_urls, "there is no public place yet (publiccode.yml)"
    assert (SOURCES[name] / "README.md").read_text("utf-8").strip() == (told.description or "").strip()
    assert "text/markdown" == told.description_content_type
    assert {"Natural Language :: French", "Programming Language :: Python :: 3.11"} <= set(told.classifiers or ())
    assert ">=3.11" == str(told.requires_python)


def test_a_wheel_holds_no_secret_and_no_test(wheels: dict[str, Path]) -> None:
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
        assert [] == [name for name in names if "secret" in name.split("/")[:3] or name.startswith("tests/")]


def test_what_a_source_archive_builds_is_the_same_wheel(wheels: dict[str, Path], tmp_path: Path) -> None:
    environment = plain() | {"PATH": os.environ["PATH"]}
    words = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)]
    subprocess.run(words, check=True, cwd=ROOT, env=environment, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    (tmp_path / "again").mkdir()

    def files(wheel: Path) -> dict[str, bytes]:
        with zipfile.ZipFile(wheel) as opened:
            return {name: b"\n".join(sorted(opened.read(name).splitlines())) for name in opened.namelist()}

    assert files(wheels["unefois"]) == files(built(tmp_path / "again", archive))
