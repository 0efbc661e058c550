"""The demo: a family moves from Nantes to Rennes, says so once, and every sentence that is printed is checked.

Refuses: to say that something holds before code has looked; to leave anything behind, unless it is asked to.
Keeps: its own temporary home, real code paths, exit code 0 only if every claim held. The first line comes at once: what
takes time to import is imported after it.
"""

import os
import sys
import textwrap
from collections.abc import Mapping
from io import TextIOWrapper
from typing import Any


def run(*, lang: str | None = None, keep: bool = False, servers: Mapping[str, Any] | None = None) -> int:
    """Tell the story on standard output. `lang`: `fr`, `en`, or by the environment; `keep`: leave the folder;
    `servers`: settings of an empty database, and of a log, elsewhere.

    Returns 0 if every claim held, else 1.
    """
    from broker.cli.demo.claims import marks
    from broker.cli.demo.words import Words, language_of

    words = Words(language_of(lang, os.environ))
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a character that the encoding lacks becomes `?`, and never an error
    opening = words("stage.opening", mark=marks(sys.stdout.encoding)[0])
    opening = textwrap.fill(opening, 78, initial_indent="  ", subsequent_indent="  ")
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else ("", "")
    sys.stdout.write(f"\n{bold}{words('stage.title')}{plain}\n\n{opening}\n")
    sys.stdout.flush()
    import asyncio

    from broker.cli.demo.telling import Telling, console_of
    from broker.cli.demo.theatre import perform

    book = asyncio.run(perform(words, Telling(console_of()), keep, servers or {}))
    return 1 if book.failing else 0
