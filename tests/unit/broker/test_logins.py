"""On PostgreSQL each role works with a login of its own, with the rights of `unefois deploy logins` and no others."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import URL, make_url

from broker.access.credentials import Scope
from broker.setup import rights
from broker.setup.roles import ProcessRole
from broker.setup.wiring import Home
from broker.store import migrate
from broker.store.engine import Store
from connectors.client import Client
from schemas.names import Instant
from tests.fire.town import ended, found
from tests.services.databases import Databases
from tests.unit.broker import test_roles
from tests.world import DAY, PORTAL, World


def plain(url: URL) -> str:
    """As asyncpg takes it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


@dataclass
class Logins:
    """Those of one test, for one database; gone after it."""

    owner: URL
    prefix: str = field(default_factory=lambda: f"t{secrets.token_hex(5)}_")

    def url(self, role: ProcessRole) -> URL:
        """The address of the database under a role's login."""
        return self.owner.set(username=rights.login(role, self.prefix), password="ours")

    def address(self, role: ProcessRole) -> str:
        """The same, as a setting."""
        return self.url(role).render_as_string(hide_password=False)

    async def make(self) -> None:
        """What the operator does: the SQL, and a password for each."""
        names = ";".join(f"ALTER ROLE {rights.login(role, self.prefix)} PASSWORD 'ours'" for role in rights.ROLES)
        await self.tell(rights.sql(self.prefix), names)

    async def drop(self) -> None:
        """They belong to the server, not to the database."""
        for role in rights.ROLES:
            name = rights.login(role, self.prefix)
            await self.tell(f"DROP OWNED BY {name}", f"DROP ROLE {name}")

    async def tell(self, *statements: str) -> None:
        """The owner tells the server."""
        connection = await asyncpg.connect(plain(self.owner))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def may(self, role: ProcessRole, statement: str) -> bool:
        """Whether the server lets a role do this, which changes nothing."""
        connection = await asyncpg.connect(plain(self.url(role)))
        try:
            await connection.execute(f"BEGIN; {statement}; ROLLBACK")
        except asyncpg.InsufficientPrivilegeError:
            return False
        finally:
            await connection.close()
        return True


@pytest_asyncio.fixture
async def logins(postgres: Databases) -> AsyncIterator[Logins]:
    """For a database with this version's tables."""
    async with postgres.empty() as url:
        await migrate.upgrade(url)
        made = Logins(make_url(url))
        await made.make()
        yield made
        await made.drop()


READS: Mapping[str, set[ProcessRole]] = {
    "SELECT FROM consent_keys": {ProcessRole.ROUTER, ProcessRole.UPKEEP, ProcessRole.GATE, ProcessRole.CONNECTORS},
    "SELECT FROM operators": {ProcessRole.UPKEEP},
    "SELECT FROM kept_answers": {ProcessRole.UPKEEP, ProcessRole.API},
    "SELECT FROM ledger_checkpoints": set(rights.ROLES),
    "SELECT FROM channels": {ProcessRole.UPKEEP, ProcessRole.NOTIFY},
}
WRITES: Mapping[str, set[ProcessRole]] = {
    "INSERT INTO ledger_checkpoints SELECT * FROM ledger_checkpoints": {ProcessRole.LEDGER},
    "UPDATE ledger_tiles SET hashes = ''": {ProcessRole.LEDGER},
    "UPDATE ledger_entries SET position = 0": {ProcessRole.LEDGER},
    "DELETE FROM ledger_entries": set(),
    "DELETE FROM ledger_openings": {ProcessRole.UPKEEP},
    "INSERT INTO operators SELECT * FROM operators": set(),
    "INSERT INTO parties SELECT * FROM parties": set(),
    "INSERT INTO grants SELECT * FROM grants": {ProcessRole.ROUTER},  # under a rule by law
    "INSERT INTO retractions SELECT * FROM retractions": {ProcessRole.INTAKE, ProcessRole.API, ProcessRole.UPKEEP},
    "DELETE FROM retractions": set(),
    "INSERT INTO channels SELECT * FROM channels": set(),
    "UPDATE channels SET kind = kind": {ProcessRole.UPKEEP},  # its end, which the journal knows
    "INSERT INTO messages SELECT * FROM messages": {ProcessRole.NOTIFY},
    "DELETE FROM messages": {ProcessRole.UPKEEP},
    "INSERT INTO rules SELECT * FROM rules": set(),
    "UPDATE rules SET status = status": {ProcessRole.UPKEEP},
    "INSERT INTO api_tokens SELECT * FROM api_tokens": set(),
    "UPDATE alembic_version SET version_num = version_num": set(),
    "DELETE FROM credential_uses": {ProcessRole.UPKEEP, ProcessRole.API, ProcessRole.GATE},
    "CREATE TABLE theirs ()": set(),
}


@pytest.mark.asyncio
async def test_the_server_lets_each_login_read_and_write_what_its_role_does_and_nothing_else(logins: Logins) -> None:
    for statement, roles in (READS | WRITES).items():
        assert roles == {role for role in rights.ROLES if await logins.may(role, statement)}, statement
    for role in rights.ROLES:
        for table, letters in rights.rights_of(role).items():
            assert ("r" in letters) is await logins.may(role, f"SELECT FROM {table}"), (role, table)
            assert ("d" in letters) is await logins.may(role, f"DELETE FROM {table}"), (role, table)


@pytest.mark.asyncio
async def test_the_sql_can_be_run_again_and_takes_back_what_a_role_needs_no_more(logins: Logins) -> None:
    name = rights.login(ProcessRole.API, logins.prefix)
    await logins.tell(f"GRANT SELECT ON consent_keys TO {name}")
    assert await logins.may(ProcessRole.API, "SELECT FROM consent_keys")

    await logins.make()

    assert not await logins.may(ProcessRole.API, "SELECT FROM consent_keys")


class ByLogin(test_roles.Town):
    """A town whose processes have logins."""

    def __init__(self, here: World, logins: Logins) -> None:
        super().__init__(here)
        self.stores = {
            role: Store.open(logins.url(role).render_as_string(hide_password=False)) for role in rights.ROLES
        }

    def process(self, role: ProcessRole) -> Home:
        """A process of a role, with what its login may do."""
        home, whole = super().process(role), self.here.home
        return Home(
            whole.settings,
            store=self.stores[role],
            log=whole.log,
            keys=home.keys,
            endings=whole.endings,
            clock=whole.clock,
            entropy=whole.entropy,
        )


@pytest.mark.asyncio
async def test_every_part_of_every_role_does_its_work_with_the_rights_of_its_login(
    here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def current(_: object) -> None:
        return

    monkeypatch.setattr(migrate, "check", current)
    logins = Logins(make_url(here.home.settings.database_url))
    async with AsyncExitStack() as stack:
        await logins.make()
        stack.push_async_callback(logins.drop)
        town = ByLogin(here, logins)
        for store in town.stores.values():
            await stack.enter_async_context(store)
        await test_roles.test_a_declaration_goes_its_way_through_processes_each_of_which_has_only_its_own_secrets(
            town, tmp_path
        )


@pytest.mark.proof
@pytest.mark.asyncio
async def test_a_declaration_goes_through_processes_each_with_its_own_login(
    postgres: Databases, tmp_path: Path
) -> None:
    async with postgres.empty() as url, AsyncExitStack() as stack:
        town, logins = await found(tmp_path, database_url=url), Logins(make_url(url))
        await logins.make()
        stack.push_async_callback(logins.drop)
        stack.enter_context(ended(town))
        running = {role: town.serve(role.value, database_url=logins.address(role)) for role in rights.ROLES}
        here = await stack.enter_async_context(town.opened())
        at = here.home.clock()
        async with here.home.store.begin() as tx:
            given = {"expires_at": Instant(at + DAY), "at": at}
            issued = await here.home.credentials.issue(tx, PORTAL, [Scope.PUBLISH], **given)
        client = await stack.enter_async_context(Client.open(running[ProcessRole.API].address, issued.token))
        async with town.declaring(here, client.declare, 2):
            pass
        await town.settled(here)
        for one in running.values():
            one.end()
            assert "store." not in one.words()
        await town.check(here)


def test_rights_are_about_tables_that_there_are() -> None:
    for role in rights.ROLES:
        assert rights.all_tables() == set(rights.rights_of(role))


def test_upkeep_may_take_away_what_it_prunes(here: World) -> None:
    letters = rights.rights_of(ProcessRole.UPKEEP)

    assert all("d" in letters[name] for name in here.home.pruning.tables)


def test_a_table_that_no_role_writes_is_one_that_only_commands_write() -> None:
    written = {
        table for role in rights.ROLES for table, letters in rights.rights_of(role).items() if set(letters) - {"r"}
    }

    assert {rights.VERSION, "approval_requests", "first_ledger", "parties"} == rights.all_tables() - written
