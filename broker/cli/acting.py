"""Acting: how a command says who gives it: by `--as`, the setting `operator_key`, or the session of `unefois login`.

Refuses: a key file that others may read, or that holds another kind of key.
Keeps: where nobody has an account nothing is read, and nobody is asked.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.cli.frame import called, chosen
from schemas.errors import Refused

if TYPE_CHECKING:
    from broker.access.operators import Account
    from broker.ledger.acting import Acting
    from broker.ports import KeyStore
    from broker.services.accounts import Call, Who
    from broker.settings.choices import Settings
    from schemas.signing import PrivateKey

_SAID_TWICE = frozenset({"confirmed", "yes"})
"""What says "I am sure" is no part of what is done."""


def who(here: "Settings", keys: "KeyStore") -> "Who | None":
    """Whoever calls this command, if they say so. Raises Refused `key-file.*`, `login.session*`."""
    from broker.services import sessions
    from broker.services.accounts import Who
    from broker.setup.opening import system_clock

    file = chosen().key or here.operator_key
    return sessions.read(here.session_file, keys, system_clock()) if file is None else Who(key_in(file))


def key_in(file: Path) -> "PrivateKey":
    """The key that somebody acts with. Raises Refused `key-file.*`."""
    from connectors.key_files import signing_key
    from schemas.signing import Algorithm

    key = signing_key(file)
    if key.algorithm is not Algorithm.ED25519:
        raise Refused("key-file.not-for-this", file=file.name)
    return key


def call() -> "Call":
    """The command that runs, as `broker.services.accounts` knows it."""
    from broker.access.roles import needs_two
    from broker.services.accounts import Call

    now = called()
    if not needs_two(now.act, now.given):
        return Call(now.act, {"dry_run": True} if now.given.get("dry_run") is True else {})
    given = {name: _spelled(told) for name, told in now.given.items() if name not in _SAID_TWICE}
    return Call(now.act, {name: told for name, told in given.items() if told not in (None, False, [])})


def _spelled(told: Any) -> Any:
    """As JSON; a file by what is in it, so that what is allowed is what is done."""
    if isinstance(told, Path):
        return f"{told} sha256:{sha256(told.read_bytes()).hexdigest()}" if told.is_file() else str(told)
    if isinstance(told, Enum):
        return told.name.lower()
    if isinstance(told, Mapping):
        return {str(name): _spelled(one) for name, one in told.items()}
    return [_spelled(one) for one in told] if isinstance(told, list | tuple) else told


@contextmanager
def named(
    here: "Settings",
    passphrase: str | None = None,
    then: "Callable[[Acting, Sequence[Account]], None] | None" = None,
) -> Iterator[None]:
    """For commands that open no home, or before anybody has looked whether it is there: inside, what is done is done by
    whoever calls, as the journal of endings knows them. Arguments and faults as for `broker.services.accounts.apart`.
    """
    from broker.services.accounts import apart

    with apart(here, call(), lambda keys: who(here, keys), passphrase, then):
        yield
