"""A client that cannot be had is never passed over in silence."""

from pathlib import Path

import pytest
from _pytest.outcomes import Failed, Skipped

from tests.agency.foreign import clients
from tests.agency.foreign.clients import CLIENTS, Room

REMOTE = [name for name, (language, _) in CLIENTS.items() if language in {"go", "js"}]


@pytest.mark.parametrize("client", REMOTE)
@pytest.mark.parametrize(("required", "outcome"), [("", Skipped), ("kafka,foreign", Failed)])
def test_without_its_language_it_is_counted_and_fails_where_it_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: str, required: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UNEFOIS_REQUIRE", required)
    room = Room(tmp_path)

    with pytest.raises(outcome, match="on the PATH"):
        room.line(client)

    assert [f"0 foreign clients of {len(CLIENTS)} ran"] == room.closing()[:1]
    assert client in room.closing()[1]


def test_an_older_node_is_no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v18.19.0\n")
    node.chmod(0o755)
    (tmp_path / "npm").symlink_to(node)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UNEFOIS_REQUIRE", "")

    with pytest.raises(Skipped, match=f"v18.19.0, and {clients.NODE} is needed"):
        Room(tmp_path).line("openid-client")


def test_a_program_that_ends_otherwise_has_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(tmp_path)
    monkeypatch.setattr(room, "line", lambda *_: ["false"])

    with pytest.raises(AssertionError):
        room.run("openid-client")

    assert f"0 foreign clients of {len(CLIENTS)} ran" == room.closing()[0]
