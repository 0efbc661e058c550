"""Columns: types of columns that several tables have."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary

Sequence = BigInteger().with_variant(Integer, "sqlite")
"""An autoincrementing key; SQLite only counts up for a column of type INTEGER."""


def mac() -> Column[bytes]:
    """Of a row that the machine writes at every declaration: the MAC of `broker.store.rows.macs`; null: it counts
    not."""
    return Column("mac", LargeBinary)


def seal() -> tuple[Column[int], Column[bytes]]:
    """Of a row that grants power: how often it was written, and the signature of `broker.store.rows`; null: it counts
    not."""
    return Column("row_version", Integer), Column("seal", LargeBinary)
