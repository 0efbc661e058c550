"""Which connectors there are: those that an installed package announces under `unefois.connectors`.

Refuses: an unknown kind (with the nearest known one), and an entry point that is no connector.
Keeps: a connector of an agency's own is found like ours, without a change here.
"""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from inspect import isclass

from connectors.contract import Connector, Notifier
from connectors.expression import nearest
from schemas.errors import Refused

GROUP = "unefois.connectors"
RIGS = f"{GROUP}.rigs"
"""Where the rig of a connector is announced, by the connector's name."""


def kinds(group: str = GROUP) -> Mapping[str, EntryPoint]:
    """Every announced kind, sorted by name; nothing is imported yet."""
    return {entry.name: entry for entry in sorted(entry_points(group=group), key=lambda entry: entry.name)}


def kind(name: str) -> type[object]:
    """The class of this kind, whether it writes or tells. Raises Refused."""
    found = loaded(name)
    if not (isclass(found) and issubclass(found, Connector | Notifier)):
        raise Refused("connector.not-a-connector", kind=name)
    return found


def connector(kind: str) -> type[Connector]:
    """The class that writes for this kind: `table`, `file`. Raises Refused."""
    found = loaded(kind)
    if not (isclass(found) and issubclass(found, Connector)):
        raise Refused("connector.not-a-connector", kind=kind)
    return found


def notifier(kind: str) -> type[Notifier]:
    """The class that tells for this kind: `webhook`. Raises Refused."""
    found = loaded(kind)
    if not (isclass(found) and issubclass(found, Notifier)):
        raise Refused("connector.not-a-notifier", kind=kind)
    return found


def loaded(kind: str, group: str = GROUP) -> object:
    """What is announced for a kind. Raises Refused `connector.unknown-kind`, `connector.cannot-load`."""
    known = kinds(group)
    if kind not in known:
        raise Refused("connector.unknown-kind", near=nearest(kind, known))
    try:
        return known[kind].load()
    except (ImportError, AttributeError):
        pass
    raise Refused("connector.cannot-load", kind=kind)
