"""Writes the commit into what is built, so that `unefois --version` tells it wherever the wheel is installed.

The commit is that of UNEFOIS_COMMIT, for a build without `.git` (the image), else of the checkout, read without git.
"""

import os
import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BAKED = "broker/commit.txt"


class CommitHook(BuildHookInterface):
    """Adds one file; an editable installation needs none, for it has its checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the file, unless a source distribution brought it along, or nothing is known."""
        root = Path(self.root)
        if version == "editable" or (root / BAKED).is_file():
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
