"""Columns: types of columns that several tables have."""

from sqlalchemy import BigInteger, Integer

Sequence = BigInteger().with_variant(Integer, "sqlite")
"""An autoincrementing key; SQLite only counts up for a column of type INTEGER."""
