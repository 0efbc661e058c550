"""Writes into what is built what a checkout has and a wheel would not: the commit, for `unefois --version`, and what
`unefois deploy write` writes.

The commit is that of UNEFOIS_COMMIT, for a build without `.git` (the image), else of the checkout, read without git.
"""

import os
import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BAKED = "broker/commit.txt"
DEPLOY = "broker/deploy"
SECRETS = "secrets"
"""A folder that `deploy/compose.yaml` tells its reader to make; nothing of it is ever built in."""


class Hook(BuildHookInterface):
    """Adds files; an editable installation needs none, for it has its checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them; of the commit, nothing where a source distribution brought it along, or nothing is known."""
        root = Path(self.root)
        if version == "editable":
            return
        if self.target_name == "wheel":
            build_data["force_include"].update(_deployed(root))
        if (root / BAKED).is_file():
            return
        told = runpy.run_path(str(root / "broker/observability/build.py"))
        given = os.environ.get("UNEFOIS_COMMIT", "").strip()
        commit = given or told["commit_of"](root / BAKED, root)
        if commit == told["UNKNOWN"]:
            return
        descriptor, self._file = tempfile.mkstemp()
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{commit}\n")
        build_data["force_include"][self._file] = BAKED

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Take the file away."""
        if hasattr(self, "_file"):
            Path(self._file).unlink(missing_ok=True)


def _deployed(root: Path) -> dict[str, str]:
    """Each file of `deploy`, and the pinned packages, by the place in the wheel."""
    files = [path for path in sorted((root / "deploy").rglob("*")) if path.is_file()]
    kept = [path for path in files if SECRETS not in path.relative_to(root).parts]
    told = {str(path): f"{DEPLOY}/{path.relative_to(root / 'deploy').as_posix()}" for path in kept}
    return told | {str(root / "requirements/server.txt"): f"{DEPLOY}/requirements/server.txt"}
