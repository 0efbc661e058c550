"""XML of the agency's own: how it is read, and the XSD that a document is checked against.

Refuses: a document type, an address on a network, an XSD that leads out of its own folder, and more than 4 MiB.
Keeps: nothing is fetched and no entity is expanded. What the checker says of a document is not passed on, for it holds
values: only the path of the element and the name of the rule are.
"""

from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from lxml import etree

from schemas.errors import Refused

BYTES_MOST: Final = 4 * 1024 * 1024
"""Of a template, and of each file of an XSD."""
_SCHEMA: Final = "{http://www.w3.org/2001/XMLSchema}"
_LEADS: Final = tuple(f"{_SCHEMA}{word}" for word in ("include", "import", "redefine", "override"))

Names = tuple[str, ...]
"""The elements that lead to one, from the root on, each as `{namespace}name`."""


def names_of(element: Any) -> Names:
    """The way to an element."""
    return tuple(str(one.tag) for one in reversed([element, *element.iterancestors()]))


def tree_of(path: Path) -> Any:
    """A document in a file of the agency's; or why it cannot be used: `unreadable`, `size`, `doctype`."""
    try:
        with path.open("rb") as file:
            raw = file.read(BYTES_MOST + 1)
        if len(raw) > BYTES_MOST:
            return "size"
        tree = etree.fromstring(raw, _parser(), base_url=path.absolute().as_uri()).getroottree()
    except (OSError, etree.XMLSyntaxError):
        return "unreadable"
    return "doctype" if tree.docinfo.doctype else tree


class Xsd:
    """An XSD that was read."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema

    @classmethod
    def read(cls, path: Path) -> Self:
        """With what it includes, all of it from its own folder. Raises Refused("file.xsd")."""
        folder, waiting, seen = path.absolute().parent.resolve(), [path.absolute().resolve()], set[Path]()
        while waiting:
            one = waiting.pop()
            seen.add(one)
            for named in _checked(one).iter(*_LEADS):
                place = named.get("schemaLocation", "")
                leads = (one.parent / place).resolve()
                if urlsplit(place).scheme or "%" in place or not leads.is_relative_to(folder):
                    raise Refused("file.xsd", "/xsd", why="outside")
                if place and leads not in seen:
                    waiting.append(leads)
        try:
            return cls(etree.XMLSchema(_checked(path)))
        except etree.XMLSchemaParseError:
            raise Refused("file.xsd", "/xsd", why="unreadable") from None

    def first_wrong(self, made: bytes) -> tuple[str, str, Names] | None:
        """Where a document of ours does not fit: its path, the rule, and the way to the element where it is known."""
        root = etree.fromstring(made, _parser())
        if self._schema.validate(root):
            return None
        error = self._schema.error_log[0]
        prefixes = {prefix: uri for one in root.iter() for prefix, uri in one.nsmap.items() if prefix}
        try:
            names = names_of(root.xpath(error.path, namespaces=prefixes)[0])
        except (etree.XPathError, IndexError, TypeError):
            names = ()
        return str(error.path), str(error.type_name), names


def _checked(path: Path) -> Any:
    tree = tree_of(path)
    if isinstance(tree, str):
        raise Refused("file.xsd", "/xsd", why=tree)
    return tree


def _parser() -> Any:
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
