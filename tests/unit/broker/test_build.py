"""Build: the commit of a wheel is in it, that of a checkout is read without git, and nothing is guessed."""

import subprocess
from pathlib import Path

import pytest

from broker.observability import build
from broker.observability.build import commit_of

COMMIT, OTHER = "0123456789abcdef" * 2 + "01234567", "fedcba98" * 5
ROOT = Path(__file__).parents[3]


def repository(folder: Path, files: dict[str, str]) -> Path:
    """A checkout with these files of git's, and nothing else."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({".git/HEAD": f"{COMMIT}\n"}, id="detached"),
        pytest.param({".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": f"{COMMIT}\n"}, id="loose"),
        pytest.param(
            {
                ".git/HEAD": "ref: refs/heads/main\n",
                ".git/packed-refs": f"# pack-refs with: peeled\n{OTHER} refs/heads/old\n{COMMIT} refs/heads/main\n",
            },
            id="packed",
        ),
        pytest.param(
            {
                ".git": "gitdir: ../main/.git/worktrees/one\n",
                "../main/.git/worktrees/one/HEAD": "ref: refs/heads/one\n",
                "../main/.git/worktrees/one/commondir": "../..\n",
                "../main/.git/refs/heads/one": f"{COMMIT}\n",
            },
            id="worktree",
        ),
    ],
)
def test_a_checkout_tells_the_commit_that_it_stands_on(tmp_path: Path, files: dict[str, str]) -> None:
    assert COMMIT == commit_of(tmp_path / "commit.txt", repository(tmp_path / "here", files))


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"README.md": ""}, id="no checkout"),
        pytest.param({".git/HEAD": "ref: refs/heads/main\n"}, id="nothing committed"),
        pytest.param({".git/HEAD": "somewhere\n"}, id="no commit"),
        pytest.param({".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": "x\n"}, id="damaged"),
    ],
)
def test_what_is_not_known_is_not_guessed(tmp_path: Path, files: dict[str, str]) -> None:
    assert "unknown" == commit_of(tmp_path / "commit.txt", repository(tmp_path / "here", files))


def test_what_was_built_with_a_commit_tells_that_one(tmp_path: Path) -> None:
    baked = tmp_path / "commit.txt"
    baked.write_text(f"{OTHER}\n")

    assert OTHER == commit_of(baked, repository(tmp_path / "here", {".git/HEAD": COMMIT}))


def test_git_says_the_same_of_this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    told = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if told.returncode:
        pytest.skip("no git, or no checkout")
    monkeypatch.setattr(subprocess, "Popen", None)  # nobody is started from here on

    assert told.stdout.strip() == build.this_build().commit


def test_the_text_names_version_and_commit() -> None:
    assert f"unefois 1.2 ({COMMIT})" == build.Build("1.2", COMMIT, "3.13.1", "Linux").text
