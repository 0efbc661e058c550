"""Expressions: JMESPath over one delivery, checked when the file is read and bounded when it runs.

Refuses: unknown roots, functions, tables and parameters; the whole record where one field is meant (`record.*`,
         `[record]`, `to_text(record)`); expressions over their limits of length, depth and work.
Keeps: `reads` is every top-level field that the expression can ever read, whatever the values are. It is found by
       following the current node through the tree, so pipes, projections and multi-selects hide nothing.
Source: JMESPath specification, jmespath.org; syntax and semantics are those of the `jmespath` package.
"""

import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum, auto
from functools import partial
from typing import Any

from jmespath.exceptions import JMESPathError
from jmespath.parser import Parser
from jmespath.visitor import TreeInterpreter

from connectors.code_tables import Tables, of_catalogue
from connectors.functions import COSTS, LIBRARY, WITHHELD_AWARE, FieldWithheld, Kind, bounded, call
from schemas.delivery import Withheld
from schemas.errors import Refused

MAX_LENGTH = 2_000
"""Longest expression, in characters."""
MAX_DEPTH = 40
"""Deepest expression, in nodes."""
MAX_NODES = 400
"""Most nodes of one expression."""
MAX_STEPS = 20_000
"""Most nodes visited while one expression runs; a call counts as many as it costs (`functions.COSTS`)."""
MAX_WORK = 100_000
"""The same for all expressions over one delivery, or one document, its rows counted."""

_Node = Mapping[str, Any]


class Root(Enum):
    """What a name at the top of an expression stands for."""

    RECORD = auto()
    NAMED = auto()
    ANYTHING = auto()


_TOP, _VALUE = "", "*"
# What the current node is while the tree is followed: the top, a plain value, or else the root of this name.


@dataclass(frozen=True, slots=True)
class World:
    """What expressions of one file may name. `names` lists the members of each NAMED root."""

    roots: Mapping[str, Root]
    names: Mapping[str, frozenset[str]]
    tables: Tables


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression, and every field of the record that it can read.

    `needs` is the part of `reads` outside `withheld_or` and its kin: where one of them is withheld, it fails.
    """

    text: str
    node: _Node = field(repr=False)
    reads: frozenset[str]
    needs: frozenset[str]


def nearest(name: str, known: Collection[str]) -> str:
    """The known name most like this one, or the first few of them: the answer to "did you mean"."""
    names = sorted(known)
    close = get_close_matches(name, names, 1)
    return close[0] if close else ", ".join(names[:12])


def parse(text: str, world: World) -> Expression:
    """Read and check one expression. Raises Refused("mapping.*")."""
    if len(text) > MAX_LENGTH:
        raise Refused("mapping.expression-long", length=len(text), limit=MAX_LENGTH)
    node = _parsed(text)
    _measure(node)
    found = _Reading(world)
    if found.follow(node, _TOP) != _VALUE:
        raise Refused("mapping.whole-record")
    return Expression(text, node, frozenset(found.reads), frozenset(found.needs))


def _parsed(text: str) -> _Node:
    try:
        tree: _Node = Parser().parse(text).parsed
    except JMESPathError as error:
        at = int(getattr(error, "lex_position", None) or 0)
    except RecursionError:
        at = len(text)
    else:
        return tree
    raise Refused("mapping.expression", at=at + 1)


def _measure(root: _Node) -> None:
    """Depth and size, without recursion: nothing deeper than the limit is followed afterwards."""
    waiting, nodes = [(root, 1)], 0
    while waiting:
        node, depth = waiting.pop()
        nodes += 1
        if depth > MAX_DEPTH or nodes > MAX_NODES:
            raise Refused("mapping.expression-deep", depth=MAX_DEPTH, nodes=MAX_NODES)
        waiting += ((child, depth + 1) for child in _children(node))


def _children(node: _Node) -> list[_Node]:
    # A slice's children are numbers.
    return [child for child in node["children"] if isinstance(child, Mapping)]


class _Reading:
    """Follows the current node through a tree and notes what is read."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reads: set[str] = set()
        self.needs: set[str] = set()
        self._guarded = False

    def follow(self, node: _Node, place: str) -> str:
        """What the node stands for, when the current node stands for `place`."""
        step = _STEPS.get(node["type"])
        if step is not None:
            return step(self, node, place)
        for child in _children(node):
            # Multi-selects and their pairs, comparisons, and, or, not, flatten: each child sees the same current node.
            self._value(child, place)
        return _VALUE

    def _current(self, node: _Node, place: str) -> str:
        return place

    def _chain(self, node: _Node, place: str) -> str:
        for child in node["children"]:
            place = self.follow(child, place)
        return place

    def _projection(self, node: _Node, place: str) -> str:
        self._value(node["children"][0], place)
        for child in node["children"][1:]:
            self._value(child, _VALUE)
        return _VALUE

    def _index(self, node: _Node, place: str) -> str:
        return self._only_value(place)

    def _reference(self, node: _Node, place: str) -> str:
        # `&expression` is an argument of `map`, and no value by itself.
        raise Refused("mapping.argument", function="&", wanted="map")

    def _value(self, node: _Node, place: str) -> None:
        self._only_value(self.follow(node, place))

    def _only_value(self, place: str) -> str:
        if place != _VALUE:
            raise Refused("mapping.whole-record")
        return place

    def _field(self, node: _Node, place: str) -> str:
        name = str(node["value"])
        if place == _VALUE:
            return _VALUE
        if place == _TOP:
            root = self.world.roots.get(name)
            if root is None:
                raise Refused("mapping.unknown-root", near=nearest(name, self.world.roots))
            return _VALUE if root is Root.ANYTHING else name
        if self.world.roots[place] is Root.RECORD:
            self.reads.add(name)
            if not self._guarded:
                self.needs.add(name)
        elif name not in self.world.names[place]:
            raise Refused("mapping.unknown-name", root=place, near=nearest(name, self.world.names[place]))
        return _VALUE

    def _function(self, node: _Node, place: str) -> str:
        name, arguments = str(node["value"]), node["children"]
        function = LIBRARY.get(name)
        if function is None:
            raise Refused("mapping.unknown-function", function=name, near=nearest(name, LIBRARY))
        most = len(function.takes)
        if not most - function.optional <= len(arguments) <= most:
            raise Refused("mapping.arguments", function=name, wanted=most, got=len(arguments))
        for position, (kind, argument) in enumerate(zip(function.takes, arguments, strict=False)):
            before, self._guarded = self._guarded, self._guarded or (position == 0 and name in WITHHELD_AWARE)
            self._argument(name, kind, argument, place)
            self._guarded = before
        return _VALUE

    def _argument(self, function: str, kind: Kind, node: _Node, place: str) -> None:
        if (node["type"] == "expref") is not (kind is Kind.EACH):
            raise Refused("mapping.argument", function=function, wanted=kind.name.lower())
        if kind is Kind.EACH:
            self._value(node["children"][0], _VALUE)
        elif kind is Kind.TABLE:
            table = node["value"] if node["type"] == "literal" else None
            tables = self.world.tables if not str(table)[:1].isupper() else {**of_catalogue(), **self.world.tables}
            if not isinstance(table, str) or table not in tables:
                raise Refused("mapping.unknown-table", function=function, near=nearest(str(table), tables))
        else:
            self._value(node, place)


_STEPS: Mapping[str, Callable[[_Reading, _Node, str], str]] = {
    "field": _Reading._field,
    "current": _Reading._current,
    "identity": _Reading._current,
    "subexpression": _Reading._chain,
    "pipe": _Reading._chain,
    "index_expression": _Reading._chain,
    "function_expression": _Reading._function,
    "projection": _Reading._projection,
    "value_projection": _Reading._projection,
    "filter_projection": _Reading._projection,
    "index": _Reading._index,
    "slice": _Reading._index,
    "expref": _Reading._reference,
}


class _Interpreter(TreeInterpreter):
    """The package's interpreter with our library, our limits, and withheld fields that cannot pass for null."""

    def __init__(self, tables: Tables, record: Mapping[str, object] | None, work: "Work") -> None:
        super().__init__()
        self._work = work
        self._tables = tables
        self._record = record
        self.steps = 0

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Refused("mapping.too-much-work", limit=MAX_STEPS)
        return bounded(super().visit(node, *args, **kwargs))

    def visit_field(self, node: Any, value: Any) -> Any:
        name = node["value"]
        if value is self._record and self._record is not None and name not in self._record:
            raise Refused("mapping.field-absent", field=name)
        found = super().visit_field(node, value)
        if isinstance(found, Withheld):
            raise FieldWithheld("mapping.withheld", field=name)
        return found

    def visit_comparator(self, node: Any, value: Any) -> Any:
        left, right = (self.visit(child, value) for child in node["children"])
        # Comparing nested lists can take exponential time where their parts are shared.
        if isinstance(left, list | dict) or isinstance(right, list | dict):
            raise Refused("mapping.comparison")
        return _compare(node["value"], left, right)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        name = node["value"]
        takes = LIBRARY[name].takes
        self.steps += COSTS.get(name, 1)
        arguments = [self._argument(k, c, value) for k, c in zip(takes, node["children"], strict=False)]
        if name not in COSTS or not all(isinstance(one, dict | str | None) for one in arguments):
            return call(name, arguments)
        # Six targets ask for the lines of one address. The arguments are kept: so no id is another's meanwhile.
        key = (name, *(id(one) if isinstance(one, dict) else one for one in arguments))
        if key not in self._work.known:
            self._work.known[key] = (arguments, call(name, arguments))
        return self._work.known[key][1]

    def _argument(self, kind: Kind, node: Any, value: Any) -> object:
        if kind is Kind.TABLE:
            return self._tables.get(node["value"]) or of_catalogue()[node["value"]]
        if kind is Kind.LATER:
            return partial(self.visit, node, value)
        if kind is Kind.EACH:
            return partial(self.visit, node["children"][0])
        return self.visit(node, value)


def _compare(comparator: str, left: object, right: object) -> bool | None:
    """JMESPath's comparison of scalars; an order between unlike kinds is null, as the specification has it."""
    if comparator in {"eq", "ne"}:
        # True == 1 in Python, and must not be here.
        same = left is right if isinstance(left, bool) or isinstance(right, bool) else left == right
        return same if comparator == "eq" else not same
    order = _ORDERS[comparator]
    if isinstance(left, str) and isinstance(right, str):
        return order(left, right)
    if _is_number(left) and _is_number(right):
        return order(left, right)
    return None


def _is_number(given: object) -> bool:
    return isinstance(given, int | float | Decimal) and not isinstance(given, bool)


_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge,
}  # fmt: skip


@dataclass(slots=True)
class Work:
    """How many steps one delivery has cost so far."""

    steps: int = 0
    known: dict[object, tuple[list[object], object]] = field(default_factory=dict, repr=False)
    """What dear functions have said, by their arguments."""


def evaluate(expression: Expression, given: Mapping[str, object], tables: Tables, work: Work | None = None) -> object:
    """The expression's value over `{"record": ..., "delivery": ...}` or `{"given": ..., "parameters": ...}`.

    Raises FieldWithheld where it reads a field that is not disclosed, Refused("mapping.*") for anything else.
    """
    record = given.get("record")
    work = Work() if work is None else work
    interpreter = _Interpreter(tables, record if isinstance(record, Mapping) else None, work)
    result: object = interpreter.visit(expression.node, given)
    work.steps += interpreter.steps
    if work.steps > MAX_WORK:
        raise Refused("mapping.too-much-work", limit=MAX_WORK)
    return result
