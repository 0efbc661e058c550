"""Refresh: write into a page what its commands and sessions print now. Read the difference before you commit it.

    python -m tests.docs.refresh docs/operate.md

Only what differs is written; ids and instants that stand in the page already stay as they are.
"""

import re
import sys
import tempfile
from pathlib import Path

from tests.docs.pages import _CHANGING, Reader, blocks, cut


def refreshed(page: Path, folder: Path) -> str:
    """The page with today's output of every command."""
    reader, text = Reader(folder), page.read_text("utf-8")
    for block in blocks(page):
        if block.kind != "console":
            try:
                reader.follow(block)
            except AssertionError as wrong:
                print(wrong, file=sys.stderr)
            continue
        anew = "".join(_again(reader, part) for part in re.split(r"^(?=\$ )", block.text, flags=re.MULTILINE) if part)
        text = text.replace(f"```console\n{block.text}```", f"```console\n{anew}```")
    return text


def _again(reader: Reader, part: str) -> str:
    command, expected = cut(part)
    printed = reader.run(command)
    try:
        reader.compare("", expected, printed)
    except AssertionError:
        named = {real: told for told, real in reader.known.items()}
        shown = _CHANGING.sub(lambda found: named.get(found[0], found[0]), printed)
        reader.compare(command, shown, printed)
        return part.removesuffix(expected) + shown
    return part


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as made:
            Path(name).write_text(refreshed(Path(name).resolve(), Path(made)), "utf-8")
