"""Mapping files by name: those that come with this package, and an agency's own.

Refuses: a name that is neither; it names the nearest one.
Keeps: a name without a slash is never looked for in whatever folder the process stands in, unless the caller says so.
"""

from pathlib import Path

from connectors import code_tables
from connectors.expression import nearest
from connectors.mapping import Mapping, load, packaged
from connectors.strict_yaml import MAX_BYTES
from schemas.errors import Refused

SUFFIXES = ("", ".yaml", ".out.yaml", ".in.yaml")
"""What may be left out of a packaged file's name."""


def find(name: str, beside: Path) -> Mapping:
    """A mapping: packaged (`commune-table`) where the name has no slash, else the file at this path from `beside`.

    Raises Refused: `mapping.no-such-file`; what `mapping.load` raises, with the file's name in its details.
    """
    path = beside / name if "/" in name else None
    document = _packaged(name) if path is None else _own(path, MAX_BYTES)
    if document is None:
        known = [*packaged(), *(each.rsplit(".", 2)[0] for each in packaged())]
        raise Refused("mapping.no-such-file", file=name, near=nearest(name, known))
    return loaded(document, name, path)


def asked(word: str) -> Mapping:
    """A mapping that a command line names: the file at this path, else a packaged one. Raises as `find` does."""
    path = Path(word)
    document = _own(path, MAX_BYTES) if path.is_file() else None
    return find(word, Path()) if document is None else loaded(document, word, path)


def read_sample(path: Path) -> bytes:
    """A sample file. Raises Refused("mapping.no-sample")."""
    document = _own(path, MAX_BYTES)
    if document is None:
        raise Refused("mapping.no-sample", file=path.name)
    return document


def loaded(document: bytes, name: str, path: Path | None = None) -> Mapping:
    """As `mapping.load`, with the tables beside the file at `path`; a refusal says in which file."""
    try:
        return load(document, None if path is None else lambda table: _own(path.parent / table, code_tables.MAX_BYTES))
    except Refused as fault:
        raise named(fault, name) from None


def named(fault: Refused, name: str) -> Refused:
    """The same refusal, with the file that it is about."""
    return type(fault)(fault.code, fault.pointer, **{**fault.details, "file": name})


def _packaged(name: str) -> bytes | None:
    known = packaged()
    return next((known[name + suffix] for suffix in SUFFIXES if name + suffix in known), None)


def _own(path: Path, limit: int) -> bytes | None:
    """At most one byte more than the limit: enough to see that it is too large."""
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError:
        return None
