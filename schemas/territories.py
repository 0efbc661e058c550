"""Territories: the official codes that may decide who hears of a declaration, taken from its own fields.

Refuses: to tell more in clear than the type marks with `"territory": true` in its schema.
Keeps: a declaration's routing codes and its sealed fields say the same, for they are made from the same record.
Source: docs/protocol.md, section 4.
"""

from collections.abc import Mapping
from typing import Any

from schemas.catalogue import EventSchema


def territories_of(event: EventSchema, record: Mapping[str, Any]) -> tuple[str, ...]:
    """The codes of a record's territory fields (COG communes), sorted, each once; none where the type uses none."""
    if not event.uses_territories:
        return ()
    marked = [each.name for each in event.schema.fields if each.properties.get("territory") is True]
    return tuple(sorted({record[name] for name in marked if isinstance(record.get(name), str)}))
