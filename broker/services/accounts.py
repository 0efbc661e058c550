"""Accounts: whoever acts on a home says who they are, may do what their roles allow, and is named by the ledger.

    Who (a key, a session) ──identify──► Signer ──roles──► Acting ──► the act, each transaction of it with its entry

Refuses: nobody, somebody unknown, somebody whose account has ended, an act that their roles do not allow; an act that
takes two persons before the second one has said yes.
Keeps: a home without accounts is as it was before there were any. The command line asks here, and the console will.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from broker.access import roles
from broker.access.operators import Account, Login, of_journal
from broker.access.roles import Role
from broker.keys.file import FileKeys
from broker.ledger.acting import ACTING, TABLE, Acting, Signer, begin
from broker.observability import observe
from broker.ports import KeyStore
from broker.services import approvals
from broker.settings.choices import Settings
from broker.setup.opening import open_endings
from broker.setup.wiring import Home
from schemas.errors import Refused
from schemas.names import OperatorName
from schemas.signing import Algorithm, PrivateKey


@dataclass(frozen=True, slots=True)
class Who:
    """How somebody says who they are: by a key, an account's own or that of a session (`services.sessions`)."""

    key: PrivateKey
    login: Login | None = None
    """Whose session it is; None: the key is the account's own."""
    session: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """What somebody is about to do: an act of `roles`, and what it was given."""

    act: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def identify(living: Iterable[Account], who: Who | None) -> tuple[Account, Signer]:
    """Whose key or session this is. Raises Refused `operators.who`, `operators.unknown-key`."""
    if who is None:
        raise Refused("operators.who")
    if who.key.algorithm is not Algorithm.ED25519:
        raise Refused("operators.unknown-key")
    for one in living:
        same = one.public == who.key.public if who.login is None else one.login == who.login
        if same:
            return one, Signer(one.name, one.told(), who.key.sign, who.session)
    raise Refused("operators.unknown-key")


@asynccontextmanager
async def acting(home: Home, call: Call, who: Callable[[KeyStore], Who | None]) -> AsyncIterator[Account | None]:
    """Inside, what is recorded is done by whoever says who they are; None: nobody is asked. `who` is called where
    somebody is asked.

    Raises Refused: `operators.who`, `operators.unknown-key`, `operators.not-allowed`, `approvals.asked`, and what
    `who` raises.
    """
    known = next((await home.endings.look()).of(TABLE), None) is not None
    if known and call.act == roles.RECOVER:
        with begin(Acting(call.act, None)):
            yield None
        return
    if not known or not roles.asks(call.act):
        yield None
        return
    async with home.store.read() as tx:
        living = await home.operators.living(tx)
    account, signer = identify(living, who(home.keys))
    roles.check(call.act, account.roles)
    one = Acting(call.act, signer)
    await approvals.demand(home, one, call.arguments)
    with begin(one), observe.by(account.name):
        if call.act in roles.ALONE:
            async with home.store.begin() as tx:
                await home.recorder.act(tx, one)
        yield account


def offline(
    told: Iterable[Account], keys: KeyStore, call: Call, who: Callable[[KeyStore], Who | None]
) -> Acting | None:
    """As `acting`, where there is no home to open: `told` is what the journal of endings says (`of_journal`). None:
    nobody is asked. Raises as `acting`.
    """
    accounts = list(told)
    if not accounts or not roles.asks(call.act):
        return None
    account, signer = identify([one for one in accounts if one.ended_at is None], who(keys))
    roles.check(call.act, account.roles)
    return Acting(call.act, signer)


@contextmanager
def apart(
    settings: Settings,
    call: Call,
    who: Callable[[KeyStore], Who | None],
    passphrase: str | None = None,
    then: Callable[[Acting, Sequence[Account]], None] | None = None,
) -> Iterator[None]:
    """As `acting`, for what opens no home: inside, what is recorded is done by whoever says who they are, as the
    journal of endings knows them. `passphrase`: of the keys, where the settings' is another. `then`: looks at whoever
    it is before anything is done. Raises as `acting`, and what opening keys and journal raises.
    """
    told, keys = asyncio.run(_in_journal(settings, passphrase))
    one = offline(told, keys, call, who)
    if one is None:
        yield
        return
    if then is not None:
        then(one, told)
    with begin(one):
        yield


async def _in_journal(settings: Settings, passphrase: str | None) -> tuple[list[Account], KeyStore]:
    known = settings.secret_passphrase() if passphrase is None else passphrase
    with closing(FileKeys.open(settings.keys_folder, secrets.token_bytes, known)) as keys:
        async with open_endings(settings, keys, secrets.token_bytes) as endings:
            return of_journal(await endings.look()), keys


def signer() -> Signer:
    """Whoever acts now. Raises Refused `operators.who` where nobody was asked."""
    one = ACTING.get()
    if one is None or one.by is None:
        raise Refused("operators.who")
    return one.by


async def whoami(home: Home, who: Callable[[KeyStore], Who | None]) -> Account | None:
    """Whose key or session this is; None where nobody has an account. Raises as `identify`."""
    async with home.store.read() as tx:
        living = await home.operators.living(tx)
    return identify(living, who(home.keys))[0] if living else None


async def add(
    home: Home, name: OperatorName, wanted: frozenset[Role], *, public: bytes | None, login: Login | None
) -> Account:
    """An account more. Raises as `Operators.add`."""
    async with home.store.begin() as tx:
        return await home.operators.add(tx, name, wanted, public=public, login=login, at=home.clock())


async def change(
    home: Home, name: OperatorName, wanted: frozenset[Role] | None, *, public: bytes | None, login: Login | None
) -> Account:
    """Another role, key or sign-in. Raises as `Operators.change`."""
    async with home.store.begin() as tx:
        return await home.operators.change(tx, name, roles=wanted, public=public, login=login, at=home.clock())


async def end(home: Home, name: OperatorName) -> Account:
    """Somebody leaves. Raises as `Operators.end`."""
    async with home.store.begin() as tx:
        return await home.operators.end(tx, name, home.clock())


async def listed(home: Home) -> list[Account]:
    """Every account, those that have ended too."""
    async with home.store.read() as tx:
        return await home.operators.all(tx)
