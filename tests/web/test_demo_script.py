"""`unefois demo --script`: the whole story in a real Chromium, each claim held against what the machine has done."""

from pathlib import Path

from tests.program import Program
from tests.web.chromium import chromium_path


def test_the_story_is_played_through_and_every_claim_is_true(tmp_path: Path) -> None:
    chromium_path()  # skips without one
    told = Program(tmp_path).run("demo", "--script", str(tmp_path / "pictures")).stdout.splitlines()

    assert told[-1].startswith(f"{len(told) - 1} claims, all checked")
    assert len(told) > 20
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert {"01-accueil.png", "05-verifier.png", "11-recu-modifie.png"} < set(pictures)
