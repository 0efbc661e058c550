"""Strict: a page holds no script and no style of its own, so that it can be served under a policy without exceptions.

What the theme writes into each page goes into a file of the site; where it sets one property of one drawing, the same
is said by an attribute. And a page that has no translation says so to whoever reads it aloud: its language is English.

Refuses: a page in which any is left: the build fails, and nobody serves what a browser would leave out.
Keeps: the text of no page changes.
"""

import re
from pathlib import Path
from typing import Any, Final

SCRIPT: Final = re.compile(r"<script>(.*?)</script>", re.DOTALL)
STYLE: Final = re.compile(r"<style>(.*?)</style>", re.DOTALL)
LEFT: Final = re.compile(r"<style|<script>|<[^>]*\s(?:style|on[a-z]+)=", re.IGNORECASE)
CODE: Final = re.compile(r"<pre>.*?</pre>|<code.*?</code>", re.DOTALL)
SAME: Final = (('style="opacity: 50%"', 'opacity="0.5"'), ('style="display: none;"', 'class="drawings"'))
"""What the theme says of its icons, and the same as attributes; `site.css` hides `drawings`."""
TRANSLATED: Final = (
    "index",
    "agency/first-event",
    "agency/sandbox",
    "agency/api",
    "agency/webhooks",
    "agency/sdk",
    "agency/live",
    "agency/clients",
    "agency/conformance",
    "agency/connector",
    "agency/matching",
    "connectors/index",
    "connectors/table",
    "connectors/file",
    "connectors/sftp",
    "connectors/webhook",
    "connectors/publik",
    "connectors/rest",
)
"""The pages that have their French, and have to."""
DRAWN: Final = re.compile(r"new Function\(\s*\"n\",\s*`return \(\$\{catalog\.plural_expr\}\)`,?\s*\)")
"""A program that Sphinx makes of a text, for the plural of its few sentences; the policy lets no page do that."""
PLURAL: Final = "(n) => (n > 1 ? 1 : 0)"
"""The same in French; English asks for none."""


def moved(text: str, root: str) -> tuple[str, str, str]:
    """A page without scripts and styles of its own, and both; `root` leads from the page to the site's."""
    scripts, styles = SCRIPT.findall(text), STYLE.findall(text)
    text = SCRIPT.sub(f'<script src="{root}_static/page.js"></script>', text)
    text = STYLE.sub(f'<link rel="stylesheet" type="text/css" href="{root}_static/page.css">', text)
    for theirs, ours in SAME:
        text = text.replace(theirs, ours)
    return text, "\n".join(scripts), "\n".join(styles)


def write(folder: Path) -> None:
    """Do so to every page of a site. Raises ValueError for one that has any left, or another than the rest."""
    seen: dict[str, set[str]] = {"page.js": set(), "page.css": set()}
    for path in sorted(folder.rglob("*.html")):
        if "_static" in path.parts:
            continue
        text, script, style = moved(path.read_text("utf-8"), "../" * (len(path.relative_to(folder).parts) - 1))
        if left := LEFT.search(CODE.sub("", text)):
            raise ValueError(f"{path}: {left[0]} in the page")
        path.write_text(text, "utf-8")
        seen["page.js"].add(script)
        seen["page.css"].add(style)
    scripts = folder / "_static" / "doctools.js"
    if scripts.exists():
        told_once, count = DRAWN.subn(PLURAL, scripts.read_text("utf-8"))
        if count != 1:
            raise ValueError(f"{scripts}: {count} times what is replaced")
        scripts.write_text(told_once, "utf-8")
    for name, told in seen.items():
        if len(told) != 1:
            raise ValueError(f"{name}: {len(told)} of them")
        (folder / "_static" / name).write_text(told.pop(), "utf-8")


def _on_build_finished(app: Any, exception: Exception | None) -> None:
    if exception is None and app.builder.name == "html":
        write(Path(app.outdir))


def _on_page_context(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    context["translated"], context["shown"] = page in TRANSLATED, app.config.language
    if app.config.language != "en" and not context["translated"] and doctree is not None:
        context["language"] = "en"


def setup(app: Any) -> dict[str, bool]:
    """Sphinx asks for this by its name."""
    app.connect("html-page-context", _on_page_context)
    app.connect("build-finished", _on_build_finished)
    return {"parallel_read_safe": True}
