"""`unefois channel`: an address comes from a file or a pipe and never from a word, and is never shown whole."""

import json
import socket
from pathlib import Path

import pytest

from tests.program import Program
from tests.told import line_of

ADDRESS = "elise.martin@example.fr"


@pytest.fixture
def told(unefois: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where messages are written."""
    monkeypatch.setenv("UNEFOIS_MESSAGE_EMAIL", "file")
    monkeypatch.setenv("UNEFOIS_MESSAGE_FILE", str(tmp_path / "messages"))
    return tmp_path / "messages"


def test_an_address_is_added_from_a_pipe_listed_as_a_hint_and_removed(
    unefois: Program, told: Path, elise: Path
) -> None:
    added = unefois.run("channel", "add", "email", "--person", elise, "--json", typed=ADDRESS + "\n")
    assert (0, "") == (added.exit_code, added.stderr)
    channel = json.loads(added.stdout)["channel"]
    assert ("email", "e…@example.fr", "fr", None) == tuple(
        channel[name] for name in ("kind", "address", "language", "ended_at")
    )
    unefois.run("run", "--once")
    (listed,) = unefois.told("channel", "list", "--person", elise)["channels"]
    assert (channel["id"], None, 0) == (listed["id"], listed["failing"], listed["given_up"])
    assert listed["sent_at"] is not None

    removed = unefois.told("channel", "remove", channel["id"], "--person", elise)
    assert removed["channel"]["ended_at"] is not None
    assert [] == unefois.told("channel", "list", "--person", elise)["channels"]
    unefois.run("run", "--once")
    assert [ADDRESS] * 2 == [line_of(line)["to"] for line in told.read_text("utf-8").splitlines()]
    assert 0 == unefois.run("fsck").exit_code


def test_in_words_and_from_a_file(unefois: Program, told: Path, elise: Path, tmp_path: Path) -> None:
    (tmp_path / "address").write_text(f" {ADDRESS}\n")
    shown = unefois.run(
        *("channel", "add", "email", "--person", elise, "--address", tmp_path / "address", "--lang", "fr")
    )
    assert "courriel" in shown.stdout
    assert "entrée du registre" in shown.stdout
    assert ADDRESS not in shown.output
    assert "e-mail" in unefois.run("channel", "list", "--person", elise).stdout


@pytest.mark.parametrize(
    ("words", "typed", "code"),
    [
        (("add", "email"), "nobody", "channels.email"),
        (("add", "mobile"), "0612345678", "channels.no-way"),
        (("remove", "0" * 32), "", "channels.unknown"),
        (("remove", "mine"), "", "name.channel-id"),
    ],
)
def test_what_cannot_be_is_refused_without_the_address(
    unefois: Program, told: Path, elise: Path, words: tuple[str, ...], typed: str, code: str
) -> None:
    refused = unefois.run("channel", *words, "--person", elise, "--json", typed=typed)
    assert (3, "") == (refused.exit_code, refused.stdout)
    assert code == json.loads(refused.stderr)["error"]["code"]
    assert not typed or typed not in refused.stderr


def test_where_nobody_is_told_no_address_is_taken(unefois: Program, elise: Path) -> None:
    refused = unefois.run("channel", "add", "email", "--person", elise, typed=ADDRESS)
    assert 3 == refused.exit_code
    assert ADDRESS not in refused.output


def test_a_way_that_is_closed_is_told_by_doctor(unefois: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    for name, value in (
        ("MESSAGE_EMAIL", "smtp"),
        ("MAIL_SERVER", f"127.0.0.1:{port}"),
        ("MAIL_FROM", "unefois@broker.example"),
        ("MESSAGE_MOBILE", "http"),
        ("SMS_URL", f"http://127.0.0.1:{port}/v1"),
        ("OUTBOUND_ALLOWED", "127.0.0.1"),
    ):
        monkeypatch.setenv(f"UNEFOIS_{name}", value)
    seen = json.loads(unefois.run("doctor", "--json").stdout)

    assert {"email": "mail.away", "mobile": "outbound.away"} == seen["figures"]["ways"]
    assert 2 == [one["code"] for one in seen["findings"]].count("doctor.way-away")
    assert "(set)" == seen["settings"]["sms_url"]
