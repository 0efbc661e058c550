"""Columns: types of columns that several tables have."""

from typing import Self

from sqlalchemy import BigInteger, Column, Integer, LargeBinary

Sequence = BigInteger().with_variant(Integer, "sqlite")
"""An autoincrementing key; SQLite only counts up for a column of type INTEGER."""


class RowName(str):
    """Names a row in a line of the log: its table, and its key in hexadecimal. Nobody's value is in it."""

    __slots__ = ()

    @classmethod
    def of(cls, table: str, key: bytes) -> Self:
        """`table/hexadecimal`, cut after 96 digits: whoever writes to the database does not write the log."""
        return cls(f"{table}/{key.hex()[:96]}")


def mac() -> Column[bytes]:
    """Of a row that the machine writes at every declaration: the MAC of `broker.rows.macs`; null: it counts not."""
    return Column("mac", LargeBinary)


def seal() -> tuple[Column[int], Column[bytes]]:
    """Of a row that grants power: how often it was written, and the signature of `broker.rows`; null: it counts not."""
    return Column("row_version", Integer), Column("seal", LargeBinary)
