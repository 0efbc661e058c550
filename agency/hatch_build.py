"""Builds the agency's wheel: `schemas` and `connectors`, from the same sources, as `unefois_agency.schemas` and so on.

An agency has folders of its own that are called `schemas` or `connectors`; these two would hide them, or be hidden.

Refuses: a source that it could not rewrite whole: an `import schemas`, a module that is named in a string.
Keeps: nothing but the names of the two packages changes, so a line of a traceback is the same line here and there.
"""

import ast
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = "unefois_agency"
PACKAGES = ("schemas", "connectors")
GROUP = "unefois.connectors"
"""The entry points of the broker's own installation; the agency's are apart, so that both can be in one place."""
INIT = '"""Unefois, the agency\'s side: `unefois_agency.connectors` over `unefois_agency.schemas`."""\n'


class AgencyHook(BuildHookInterface):
    """Adds the rewritten packages to what is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the packages into a folder of this build, or take those that a source distribution brought along."""
        here = Path(self.root)
        if (here / ROOT).is_dir():
            return
        self._folder = tempfile.mkdtemp()
        made = Path(self._folder) / ROOT
        write(here.parent, made)
        build_data["force_include"][str(made)] = ROOT

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Take the folder away."""
        shutil.rmtree(getattr(self, "_folder", ""), ignore_errors=True)


def write(sources: Path, into: Path) -> None:
    """The two packages of a checkout, rewritten, into a folder that is not there yet."""
    into.mkdir(parents=True)
    (into / "__init__.py").write_text(INIT, "utf-8")
    (into / "py.typed").touch()
    for package in PACKAGES:
        for path in sorted((sources / package).rglob("*")):
            if path.is_dir() or "__pycache__" in path.parts:
                continue
            to = into / path.relative_to(sources)
            to.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".py":
                to.write_text(rewritten(path.read_text("utf-8"), str(path)), "utf-8")
            else:
                shutil.copyfile(path, to)


def rewritten(source: str, name: str) -> str:
    """A module that looks for its siblings below `unefois_agency`. Raises ValueError where that cannot be done."""
    lines = source.encode().splitlines(keepends=True)
    # From the end, so that the places in front stay what they are.
    for node, old, new in sorted(_changes(ast.parse(source), name), key=lambda each: _place(each[0]), reverse=True):
        row, column = _place(node)
        at = lines[row].index(old, column)
        lines[row] = lines[row][:at] + new + lines[row][at + len(old) :]
    return b"".join(lines).decode()


def _place(node: ast.stmt | ast.expr) -> tuple[int, int]:
    return node.lineno - 1, node.col_offset


def _changes(tree: ast.Module, name: str) -> Iterator[tuple[ast.stmt | ast.expr, bytes, bytes]]:
    """Each node that names a package, what stands there, and what has to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            yield node, f"from {node.module} ".encode(), f"from {ROOT}.{node.module} ".encode()
        elif isinstance(node, ast.Import) and any(each.name.split(".")[0] in PACKAGES for each in node.names):
            raise ValueError(f"{name}:{node.lineno}: write `from package import module`")
        elif isinstance(node, ast.Constant) and node.value in PACKAGES and _names_files(tree, node):
            yield node, f'"{node.value}"'.encode(), f'"{ROOT}.{node.value}"'.encode()
        elif isinstance(node, ast.Call) and _last(node.func) in {"import_module", "__import__"}:
            raise ValueError(f"{name}:{node.lineno}: a module that is named in a string")
        elif isinstance(node, ast.Constant) and node.value == GROUP:
            yield node, GROUP.encode(), f"{ROOT}.connectors".encode()


def _names_files(tree: ast.Module, constant: ast.Constant) -> bool:
    """Is it the argument of `files(...)`?"""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and _last(node.func) == "files")
    return any(constant in call.args for call in calls)


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
