"""How a page is made fit for a strict policy, and what is looked at in a translation."""

from pathlib import Path

import pytest

from tests.docs.pages import ROOT

pytestmark = pytest.mark.usefixtures("extensions")


@pytest.fixture
def extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The site's own extensions can be imported, as Sphinx does it."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))


PAGE = """<html><head><style>
p { color: red }
</style></head><body><script>
go();
</script><svg style="display: none;"><path style="opacity: 50%"/></svg><pre>&lt;style&gt; x style="y"</pre></body>
</html>
"""


def test_scripts_and_styles_of_a_page_are_moved_into_files(tmp_path: Path) -> None:
    import strict

    for name in ("index.html", "agency/api.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(PAGE)
    (tmp_path / "_static").mkdir()
    strict.write(tmp_path)
    text = (tmp_path / "agency/api.html").read_text()

    assert '<script src="../_static/page.js"></script>' in text
    assert 'href="../_static/page.css"' in text
    assert '<svg class="drawings"><path opacity="0.5"/></svg>' in text
    assert "go();" == (tmp_path / "_static/page.js").read_text().strip()
    assert "p { color: red }" == (tmp_path / "_static/page.css").read_text().strip()


@pytest.mark.parametrize("left", ['<p style="color: red">', '<a onclick="go()">', '<style media="print">p {}</style>'])
def test_a_page_that_keeps_one_fails_the_build(tmp_path: Path, left: str) -> None:
    import strict

    (tmp_path / "_static").mkdir()
    (tmp_path / "index.html").write_text(PAGE.replace("<pre>", f"{left}<pre>"))

    with pytest.raises(ValueError, match="in the page"):
        strict.write(tmp_path)


def test_a_script_that_one_page_alone_has_fails_the_build(tmp_path: Path) -> None:
    import strict

    (tmp_path / "_static").mkdir()
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "other.html").write_text(PAGE.replace("go()", "come()"))

    with pytest.raises(ValueError, match="2 of them"):
        strict.write(tmp_path)


@pytest.mark.parametrize(
    ("french", "found"),
    [
        ('msgstr "Voyez `x` et [ceci](a.md)."', []),
        ('msgstr ""', ["p: no French for 'See `x` and [this](a.md).'"]),
        ('msgstr "Voyez [ceci](a.md)."', ["p: ['`x`'] not on both sides of 'See `x` and [this](a.md).'"]),
        ('msgstr "Voyez `x` et [ceci](b.md)."', ["p: ['](a.md)', '](b.md)'] not on both sides of"]),
    ],
)
def test_a_message_without_its_french_fails_the_build(tmp_path: Path, french: str, found: list[str]) -> None:
    pytest.importorskip("babel", reason="what makes the site is not installed: make docs")
    import translated

    message = 'msgid "See `x` and [this](a.md)."\n'
    (tmp_path / "p.pot").write_text(f'{message}msgstr ""\n')
    (tmp_path / "p.po").write_text(f"{message}{french}\n")
    told = list(translated.faults("p", translated.read(tmp_path / "p.pot"), translated.read(tmp_path / "p.po")))

    assert len(found) == len(told)
    assert all(one.startswith(begins) for one, begins in zip(told, found, strict=True))


def test_a_fuzzy_message_and_one_that_no_page_says_fail_the_build(tmp_path: Path) -> None:
    pytest.importorskip("babel", reason="what makes the site is not installed: make docs")
    import translated

    (tmp_path / "p.pot").write_text('msgid "One."\nmsgstr ""\n')
    (tmp_path / "p.po").write_text('#, fuzzy\nmsgid "One."\nmsgstr "Un."\n\nmsgid "Old."\nmsgstr "Ancien."\n')
    told = list(translated.faults("p", translated.read(tmp_path / "p.pot"), translated.read(tmp_path / "p.po")))

    assert ["p: to be read again: 'One.'", "p: no page says 'Old.'"] == told
