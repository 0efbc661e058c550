"""Assets: the style sheet and the scripts of the pages, under names that change with their content.

Refuses: a name that is no file of this version.
Keeps: what is served lies beside this module: Designsystemet's style sheets (`vendor`, unchanged, with their hashes and
licence), our theme and our scripts. Nothing comes from elsewhere, and there is no web font.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

VENDORED: Final = "vendor/designsystemet-css"
COMPONENTS: Final = (
    "base",
    "button",
    "card",
    "alert",
    "details",
    "divider",
    "error-summary",
    "field",
    "fieldset",
    "heading",
    "input",
    "label",
    "link",
    "list",
    "paragraph",
    "skip-link",
    "table",
    "tag",
    "validation-message",
)
"""The components that our pages use, in the order of Designsystemet's own index."""
FOREVER: Final = "public, max-age=31536000, immutable"
_HASH: Final = 16


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is served."""

    name: str
    content: bytes
    media: str


@cache
def by_name() -> Mapping[str, Asset]:
    """Every file by its name with the hash, as it stands in an address."""
    found = [_named("style", "css", _style(), "text/css; charset=utf-8")]
    found += [
        _named(each.name.removesuffix(".js"), "js", each.read_bytes(), "text/javascript; charset=utf-8")
        for each in sorted(files("broker.web.citizen").joinpath("static").iterdir(), key=lambda one: one.name)
        if each.name.endswith(".js")
    ]
    return {each.name: each for each in found}


def name_of(plain: str) -> str:
    """The name of a file in an address: `style.css` is `style.0123456789abcdef.css`. Raises KeyError."""
    return _names()[plain]


@cache
def _names() -> Mapping[str, str]:
    return {".".join(each.split(".")[::2]): each for each in by_name()}


def _named(stem: str, ending: str, content: bytes, media: str) -> Asset:
    return Asset(f"{stem}.{sha256(content).hexdigest()[:_HASH]}.{ending}", content, media)


def _style() -> bytes:
    """Designsystemet's components in a layer, so that our theme, in none, overrules them."""
    folder = files("broker.web.citizen")
    parts = [folder.joinpath(VENDORED, f"{each}.css").read_bytes() for each in COMPONENTS]
    theme = folder.joinpath("static", "theme.css").read_bytes()
    return b"@layer ds{" + b"\n".join(parts) + b"}\n" + theme
