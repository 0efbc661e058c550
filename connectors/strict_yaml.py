"""YAML as we read it: plain data, one meaning for each scalar, nothing twice.

Refuses: a key twice in one mapping, tags, cycles, aliases that would unfold into more than `MAX_NODES` nodes, several
         documents, and anything over `MAX_BYTES`. A refusal names the line, never the content.
Keeps: the scalars of YAML 1.2's core schema only. `NO` is a text, `01000` is a text, `12:30` is a text, a date is a
       text: postcodes and the code of Norway survive.
Source: YAML 1.2.2, section 10.3 (core schema). JSON documents read the same way.
"""

import re

import yaml
from yaml.reader import ReaderError

from schemas.errors import Refused

MAX_BYTES = 256 * 1024
"""Longest document, in bytes."""
MAX_NODES = 20_000
"""Most nodes of a document, aliases counted as often as they are used."""
MAX_DEPTH = 40
"""Deepest nesting of a document, in nodes."""

_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_TAGS = frozenset({_NULL, _BOOL, _INT, _FLOAT, *(f"tag:yaml.org,2002:{name}" for name in ("str", "map", "seq"))})


class _CoreLoader(yaml.SafeLoader):
    """SafeLoader with the core schema's scalars."""


_CoreLoader.yaml_implicit_resolvers = {}
_CoreLoader.add_implicit_resolver(_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_CoreLoader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_CoreLoader.add_implicit_resolver(_INT, re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,17})$"), list("-+0123456789"))
_CoreLoader.add_implicit_resolver(
    _FLOAT, re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,17}$"), list("-+0123456789")
)


def read(document: bytes) -> object:
    """The document as dictionaries, lists, texts, numbers, booleans and None.

    Raises Refused("yaml.*") with the line, counted from 1.
    """
    if len(document) > MAX_BYTES:
        raise Refused("yaml.too-large", bytes=len(document), limit=MAX_BYTES)
    text = _text(document)
    try:
        loader = _CoreLoader(text)
    except ReaderError as error:  # a control character
        raise Refused("yaml.malformed", line=text.count("\n", 0, error.position) + 1) from None
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _measure(root, {}, 0)
        return loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 0 if mark is None else mark.line + 1
    except RecursionError:
        raise Refused("yaml.too-deep", line=loader.line + 1, limit=MAX_DEPTH) from None
    except (yaml.YAMLError, ValueError):
        line = 0
    raise Refused("yaml.malformed", line=line)


def _text(document: bytes) -> str:
    try:
        return document.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start
    # Outside of the handler: Python's error holds the whole document, and would hang on what is raised there.
    raise Refused("yaml.malformed", line=document.count(b"\n", 0, start) + 1)


def _measure(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """How many nodes this one unfolds into; each distinct node is visited once."""
    line = node.start_mark.line + 1
    if depth > MAX_DEPTH:
        raise Refused("yaml.too-deep", line=line, limit=MAX_DEPTH)
    if node.tag not in _TAGS:
        raise Refused("yaml.tag", line=line)
    counted = known.get(id(node))
    if counted is not None:
        if counted == 0:
            raise Refused("yaml.cycle", line=line)
        return counted
    known[id(node)] = 0  # in progress: meeting it again below is a cycle
    size = 1
    if isinstance(node, yaml.MappingNode):
        _no_key_twice(node)
        for key, value in node.value:
            size += _measure(key, known, depth + 1) + _measure(value, known, depth + 1)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_measure(item, known, depth + 1) for item in node.value)
    if size > MAX_NODES:
        raise Refused("yaml.too-many-nodes", line=line, limit=MAX_NODES)
    known[id(node)] = size
    return size


def _no_key_twice(node: yaml.MappingNode) -> None:
    keys: set[str] = set()
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise Refused("yaml.key", line=line)
        # By text: `1` and `"1"` in one mapping would be one column header, so they count as the same key.
        if key.value in keys:
            raise Refused("yaml.key-twice", line=line)
        keys.add(key.value)
