"""Asking: rows by a long list of keys, in the form that each database finds them by fastest.

Refuses: nothing.
Keeps: both forms find the same rows, and the statement is made, compiled and prepared once whatever the list's length:
a condition names the parameter in which the list will be told.

PostgreSQL looks for each value of a list in every partition of a table: 500 citizens and 16 partitions are 8,000 looks.
A subquery it joins instead, and then looks for each value in the one partition that can hold it. SQLite has no
partitions and no arrays, and goes by the list.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Column,
    ColumnElement,
    LargeBinary,
    bindparam,
    column,
    func,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.visitors import InternalTraversal
from sqlalchemy.types import Boolean


class _Either(ColumnElement[bool]):
    """One condition in two forms."""

    inherit_cache = True
    _traverse_internals = [  # noqa: RUF012  as SQLAlchemy asks of an element that it may cache
        ("listed", InternalTraversal.dp_clauseelement),
        ("joined", InternalTraversal.dp_clauseelement),
    ]
    type = Boolean()

    def __init__(self, listed: ColumnElement[bool], joined: ColumnElement[bool]) -> None:
        self.listed = listed
        self.joined = joined

    def self_group(self, against: Any = None) -> "_Either":
        """As it is: a bare boolean would be compared with 1 on SQLite, and no index would serve it."""
        return self

    @property
    def _from_objects(self) -> Any:
        return self.listed._from_objects


@compiles(_Either)
def _listed(element: _Either, compiler: SQLCompiler, **more: Any) -> str:
    return compiler.process(element.listed, **more)


@compiles(_Either, "postgresql")
def _joined(element: _Either, compiler: SQLCompiler, **more: Any) -> str:
    return compiler.process(element.joined, **more)


def one_of(key: Column[bytes], named: str) -> ColumnElement[bool]:
    """The key is one of those told as this parameter, a list."""
    return _Either(key.in_(_listed_as(named)), key.in_(select(func.unnest(_array(named), type_=LargeBinary))))


def one_of_pairs(key: Column[bytes], partition: Column[bytes], named: str, partitions: str) -> ColumnElement[bool]:
    """The key is one of those of the first list; the second tells of each what decides its partition, so that no other
    is looked at.
    """
    told = (
        func.unnest(_array(named), _array(partitions))
        .table_valued(column("key", LargeBinary), column("partition", LargeBinary))
        .render_derived()
    )
    pairs = select(told.c.key, told.c.partition)
    return _Either(key.in_(_listed_as(named)), tuple_(key, partition).in_(pairs))


def _listed_as(named: str) -> BindParameter[Any]:
    return bindparam(named, type_=LargeBinary, expanding=True)


def _array(named: str) -> ColumnElement[Any]:
    return type_coerce(bindparam(named, type_=ARRAY(LargeBinary)), ARRAY(LargeBinary))
