"""Plain text: composed, printable, short."""

import pytest

from schemas.text import from_utf8, is_plain, is_unicode


@pytest.mark.parametrize("text", ["a", "family benefits", "Sécurité sociale, art. L114-8", "x" * 64])
def test_composed_printable_text_within_the_limit_is_plain(text: str) -> None:
    assert is_plain(text, 64)


@pytest.mark.parametrize(
    "text",
    ["", "x" * 65, "é" * 33, "e\u0301", "tab\t", "line\n", "\x1b[31m", "\u202eright to left", "\u200b", "\ue000"],
)
def test_anything_else_is_not(text: str) -> None:
    assert not is_plain(text, 64)


def test_bytes_are_read_as_utf_8_or_not_at_all() -> None:
    assert "é" == from_utf8(b"\xc3\xa9")
    assert from_utf8(b"\xe9") is None


def test_a_lone_surrogate_is_no_unicode() -> None:
    assert is_unicode("Élise")
    assert not is_unicode("\ud800")
