"""The files of the pages: Designsystemet as it came, and colours that can be read."""

import re
from hashlib import sha256

import pytest

from broker.web.citizen import assets
from tests.web.catalogue import FOLDER

VENDORED = FOLDER / assets.VENDORED
THEME = (FOLDER / "static" / "theme.css").read_text("utf-8")
TEXTS = [("text-subtle", 4.5), ("text-default", 7.0), ("border-default", 3.0), ("border-strong", 4.5)]


def test_designsystemet_is_unchanged() -> None:
    told = dict(line.split("  ")[::-1] for line in (VENDORED / "SHA256SUMS").read_text().splitlines())
    there = {
        each.name: sha256(each.read_bytes()).hexdigest()
        for each in VENDORED.iterdir()
        if each.name not in {"SHA256SUMS", "README.md"}
    }

    assert told == there
    assert {f"{each}.css" for each in assets.COMPONENTS} | {"LICENSE"} == set(there)


def test_nothing_is_loaded_from_elsewhere() -> None:
    style = assets.by_name()[assets.name_of("style.css")].content.decode()
    assert [] == [each[:40] for each in re.findall(r"url\(([^)]*)", style) if not each.startswith('"data:')]
    assert "@import" not in style
    assert "@font-face" not in style


def test_every_variable_that_is_used_is_there() -> None:
    style = assets.by_name()[assets.name_of("style.css")].content.decode()
    used = set(re.findall(r"var\(\s*(--ds-[a-z0-9-]+)", style))
    assert set() == used - set(re.findall(r"(--ds-[a-z0-9-]+)\s*:", style))


@pytest.mark.parametrize("scheme", [0, 1])
@pytest.mark.parametrize("colour", ["neutral", "accent", "danger", "success", "warning", "info"])
def test_text_and_borders_stand_out(scheme: int, colour: str) -> None:
    def value(name: str) -> str:
        return re.findall(rf"--ds-color-{name}: (#[0-9a-f]{{6}});", THEME)[scheme]

    ground = value("neutral-background-default")
    for name, least in TEXTS:
        assert least <= contrast(value(f"{colour}-{name}"), ground)
    assert 4.5 <= contrast(value(f"{colour}-text-subtle"), value(f"{colour}-surface-tinted"))
    assert 4.5 <= contrast(value(f"{colour}-base-contrast-default"), value(f"{colour}-base-default"))
    assert 4.5 <= contrast(value(f"{colour}-base-contrast-default"), value(f"{colour}-base-hover"))


def contrast(one: str, other: str) -> float:
    """By WCAG 2.2, 1.4.3."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """Relative, 0 to 1."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
