"""Mapping files by name: those that come with this package, and an agency's own.

Refuses: a name that is neither; it names the nearest one.
Keeps: a name without a slash is never looked for in whatever folder the process stands in, unless the caller says so.
"""

from pathlib import Path

from connectors.expression import nearest
from connectors.mapping import Mapping, load, packaged
from schemas.errors import Refused

SUFFIXES = ("", ".yaml", ".out.yaml", ".in.yaml")
"""What may be left out of a packaged file's name."""


def find(name: str, beside: Path) -> Mapping:
    """A mapping: packaged (`commune-table`) where the name has no slash, else the file at this path from `beside`.

    Raises Refused: `mapping.no-such-file`; what `mapping.load` raises, with the file's name in its details.
    """
    document = _packaged(name) if "/" not in name else _own(beside / name)
    if document is None:
        known = [*packaged(), *(each.rsplit(".", 2)[0] for each in packaged())]
        raise Refused("mapping.no-such-file", file=name, near=nearest(name, known))
    return loaded(document, name)


def loaded(document: bytes, name: str) -> Mapping:
    """As `mapping.load`; a refusal says in which file."""
    try:
        return load(document)
    except Refused as fault:
        raise named(fault, name) from None


def named(fault: Refused, name: str) -> Refused:
    """The same refusal, with the file that it is about."""
    return type(fault)(fault.code, fault.pointer, **{**fault.details, "file": name})


def _packaged(name: str) -> bytes | None:
    known = packaged()
    return next((known[name + suffix] for suffix in SUFFIXES if name + suffix in known), None)


def _own(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
