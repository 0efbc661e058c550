"""The kit on portals: the sample passes, and each careless one, which is the sample with one line changed, fails in the
case that is about it. `make test-conformance` runs this.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SAMPLE = (ROOT / "examples/portal/portal.py").read_text("utf-8")
KIT = [sys.executable, "-m", "broker", "conformance", "run", "--json", "--config"]
CASES = {
    "portal-sign-in",
    "portal-nonce",
    "portal-text",
    "portal-signs-out",
    "portal-another-browser",
    "portal-cancelled",
}
CARELESS = {
    "forwards another token": ('"userinfo": userinfo', '"userinfo": userinfo[:-4] + "AAAA"', "portal-sign-in"),
    "a nonce of its own": ('ask("/nonces")["nonce"]', '"a-nonce-of-my-own-and-long"', "portal-sign-in"),
    "shows it in its own words": ('print(shown["text"])', 'print("Acceptez-vous ?")', "portal-text"),
    "leaves the session": ('ask("/session:end", session=session_token)', "", "portal-signs-out"),
    "believes any browser": ('if came["state"] != [state]:', "if False:", "portal-another-browser"),
    "stops before the end": ('ask("/households", told | household, session)', "sys.exit(3)", "portal-sign-in"),
}

pytestmark = pytest.mark.skipif(
    not os.environ.get("UNEFOIS_CONFORMANCE"), reason="takes minutes: make test-conformance"
)


def tried(folder: Path, program: str) -> dict[str, set[str]]:
    """Case -> what was found, of a portal's source."""
    (folder / "portal.py").write_text(program, "utf-8")
    config = folder / "kit.json"
    told = {"version": 1, "portal": {"command": [sys.executable, str(folder / "portal.py")]}, "patience_seconds": 60}
    config.write_text(json.dumps(told))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LANG": "C", "no_proxy": "*"}
    done = subprocess.run([*KIT, str(config)], capture_output=True, text=True, env=environment, check=False)
    assert "" == done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return {one["case"]: {each["finding"] for each in one.get("findings", ())} for one in report["cases"]}


def test_the_sample_passes_every_case(tmp_path: Path) -> None:
    assert {case: set[str]() for case in CASES} == tried(tmp_path, SAMPLE)


@pytest.mark.parametrize("careless", CARELESS)
def test_a_careless_portal_fails_in_the_case_that_is_about_it(tmp_path: Path, careless: str) -> None:
    line, other, case = CARELESS[careless]
    assert 1 == SAMPLE.count(line)

    found = tried(tmp_path, SAMPLE.replace(line, other))

    assert found[case], found
