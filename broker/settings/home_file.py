"""Home file: what `unefois init` writes down of the choices made there, so that every later command finds them.

Refuses: to change a settings file that is there: it is the operator's.
Keeps: what is written reads back as the same settings; it appears whole or not at all, readable by its owner alone.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from broker.settings.sources import FILE
from schemas.errors import Refused, Unavailable

Setting = str | int


def write_settings(home: Path, chosen: Mapping[str, Setting]) -> bool:
    """Write `unefois.toml`, where there is none. Returns whether it was written.

    Raises Refused: `home-file.exists` (and something else was chosen than nothing), `home-file.control-character`.
    Raises Unavailable `home-file.away`.
    """
    if (home / FILE).exists():
        if chosen:
            raise Refused("home-file.exists", file=str(home / FILE))
        return False
    content = "".join(f"{name} = {_toml(name, told)}\n" for name, told in chosen.items())
    head = "# Settings of this broker. `unefois config show` lists all of them, with their defaults.\n"
    unfinished = home / f".{FILE}.unfinished"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(head + content)
            file.flush()
            os.fsync(descriptor)
        # Crash here: a file that nobody reads; `init` writes it again.
        unfinished.replace(home / FILE)
    except OSError as error:
        raise Unavailable("home-file.away", error=type(error).__name__) from None
    return True


def _toml(name: str, told: Setting) -> str:
    """A basic string of TOML, which for printable text is spelled like one of JSON; or a number."""
    if isinstance(told, int):
        return str(told)
    if not told.isprintable():
        raise Refused("home-file.control-character", f"/{name}", key=name)
    return json.dumps(told, ensure_ascii=False)
