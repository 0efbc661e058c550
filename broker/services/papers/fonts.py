"""Fonts: DejaVu Sans and its bold, of which a document embeds the letters that it shows.

    letters ──of──► glyph numbers, widths ──► the page │ embedded(used) ──► a TrueType file of these glyphs alone

Refuses: a writing that has to be shaped (Arabic, Hebrew, those of India) and what the font has no letter for: a
question mark stands for each, so that nothing is shown wrongly in silence.
Keeps: a glyph has the same number in what is embedded as in the whole font, and the same letters give the same bytes.
fontTools is loaded with the first paper: a fifth of a second that no start of a program waits for.
Source: ISO 32000-1:2008, 9.7.4 (CIDFonts) and 9.10.3 (ToUnicode); vendor/dejavu/README.md for the font.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fontTools.subset import Options

_FOLDER: Final = Path(__file__).parent / "vendor" / "dejavu"
_LINES: Final = (
    (0x20, 0x02FF),
    (0x0300, 0x058F),
    (0x10A0, 0x10FF),
    (0x1E00, 0x22FF),
    (0x2C60, 0x2C7F),
    (0xA720, 0xA7FF),
)
"""Latin, Greek, Cyrillic, Armenian, Georgian, and signs: written from left to right, one letter after the other."""
UNKNOWN: Final = "?"


@dataclass(frozen=True)
class Font:
    """One of the two. Lengths are in thousandths of its size."""

    name: str
    """As PostScript calls it."""
    glyphs: dict[str, int]
    """Of each letter that it may show."""
    widths: dict[int, int]
    """Of each of these glyphs."""
    box: tuple[int, int, int, int]
    ascent: int
    descent: int
    capitals: int
    bold: bool

    def glyph(self, letter: str) -> int:
        """The number of a letter's glyph."""
        return self.glyphs.get(letter, self.glyphs[UNKNOWN])

    def measure(self, text: str) -> int:
        """How long a text is."""
        return sum(self.widths[self.glyph(letter)] for letter in text)

    def embedded(self, letters: Iterable[str]) -> bytes:
        """A TrueType file with the glyphs of these letters, under their numbers."""
        from fontTools.subset import Subsetter
        from fontTools.ttLib import TTFont

        chosen, out = Subsetter(_options()), BytesIO()
        chosen.populate(gids=sorted({0, *map(self.glyph, letters)}))
        with TTFont(_file(self.name), lazy=True, recalcTimestamp=False) as whole:
            chosen.subset(whole)
            whole.save(out, reorderTables=True)
        return out.getvalue()

    def tagged(self, letters: Iterable[str]) -> str:
        """Its name with six capitals before it that are of this choice of letters (ISO 32000-1, 9.6.4)."""
        digest = sha256("".join(sorted(set(letters))).encode("utf-8", "surrogatepass")).digest()
        return "".join(chr(65 + one % 26) for one in digest[:6]) + f"+{self.name}"


@cache
def font(*, bold: bool = False) -> Font:
    """DejaVu Sans, or its bold."""
    from fontTools.ttLib import TTFont

    name = "DejaVuSans-Bold" if bold else "DejaVuSans"
    with TTFont(_file(name), lazy=True) as told:
        scale = 1000 / told["head"].unitsPerEm
        advances: Any = told["hmtx"]
        names = {
            code: one for code, one in told.getBestCmap().items() if any(low <= code <= high for low, high in _LINES)
        }
        glyphs = {chr(code): told.getGlyphID(one) for code, one in names.items()}
        widths = {told.getGlyphID(one): round(advances[one][0] * scale) for one in names.values()}
        head, across, capital = told["head"], told["hhea"], told["glyf"]["H"]
        low, high = (head.xMin, head.yMin), (head.xMax, head.yMax)
        box = tuple(round(one * scale) for one in (*low, *high))
        lines = [round(one * scale) for one in (across.ascent, across.descent, capital.yMax)]
    return Font(name, glyphs, widths, (box[0], box[1], box[2], box[3]), lines[0], lines[1], lines[2], bold)


def readable(text: str) -> str:
    """A text as these fonts show it: composed letters, and a question mark for what is not shown; lines stay."""
    composed = unicodedata.normalize("NFC", text).replace("\u202f", "\u00a0").replace("\t", " ")
    return "".join(one if one == "\n" or one in font().glyphs else UNKNOWN for one in composed)


def _file(name: str) -> Path:
    return _FOLDER / f"{name}.ttf"


def _options() -> "Options":
    from fontTools.subset import Options

    made = Options()
    made.retain_gids = True
    made.hinting = False
    made.layout_features = []
    made.notdef_outline = True
    made.glyph_names = False
    made.drop_tables += ["GDEF", "GPOS", "GSUB", "kern", "FFTM", "MATH", "name", "post", "OS/2", "gasp"]
    return made
