"""Wheels: those of this checkout, built, and those of what is installed here, put together again: no net is needed."""

import base64
import csv
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
_OF_AN_INSTALLATION = (".pyc", "/RECORD", "/INSTALLER", "/REQUESTED", "/direct_url.json")


def plain() -> dict[str, str]:
    """A shell in which nothing of this checkout or of pip's own settings counts."""
    kept = {
        name: told
        for name, told in os.environ.items()
        if not name.startswith(("UNEFOIS_", "PYTHON", "LC_", "VIRTUAL", "PIP_"))
    }
    quiet = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1"}
    return kept | quiet | {"LANG": "C.UTF-8"}


def built(into: Path, source: Path = ROOT) -> Path:
    """The wheel of a source tree or archive, built without a network."""
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(into)]
    before = set(into.glob("*.whl"))
    subprocess.run([sys.executable, "-m", "pip", *words, str(source)], check=True, env=plain())
    (made,) = set(into.glob("*.whl")) - before
    return made


def needed(requirements: Iterable[str]) -> Iterator[Distribution]:
    """Every distribution that these lead to, as it is installed here; what is not here belongs to another platform."""
    waiting, seen = [Requirement(one) for one in requirements], set()
    while waiting:
        wanted = waiting.pop()
        key = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if key in seen or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        seen.add(key)
        try:
            found = distribution(wanted.name)
        except PackageNotFoundError:
            continue
        yield found
        for one in map(Requirement, found.requires or ()):
            if not one.marker or any(one.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                one.marker = None
                waiting.append(one)


def repacked(found: Distribution, into: Path) -> Path:
    """An installed distribution as a wheel again (PEP 427), with a RECORD of what is in it."""
    lines = (found.read_text("WHEEL") or "").splitlines()
    tags = [line.removeprefix("Tag: ").split("-") for line in lines if line.startswith("Tag: ")]
    tag = "-".join(".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True))
    name = found.metadata["Name"].replace("-", "_").replace(".", "_")
    path = into / f"{name}-{found.version}-{tag}.whl"
    if path.exists():
        return path
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    with zipfile.ZipFile(path, "w") as archive:
        for file in found.files or ():
            inner = file.as_posix()
            if inner.startswith("..") or inner.endswith(_OF_AN_INSTALLATION):
                continue
            content = Path(str(found.locate_file(file))).read_bytes()
            archive.writestr(inner, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.writerow((inner, f"sha256={digest}", len(content)))
        (folder,) = {file.parts[0] for file in found.files or () if file.name == "RECORD"}
        rows.writerow((f"{folder}/RECORD", "", ""))
        archive.writestr(f"{folder}/RECORD", record.getvalue())
    return path


def requires(wheel: Path) -> list[str]:
    """What a wheel says that it needs, without what its extras need."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    told = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    return [one for one in told if "extra ==" not in one]
