"""On PostgreSQL each role works with a login of its own, with the rights of `unefois deploy logins` and no others."""

import asyncio
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import URL, event, make_url
from sqlalchemy.engine import Engine

from broker.access.credentials import Scope
from broker.access.roles import LOOKS
from broker.ports import KeyKind
from broker.setup import rights
from broker.setup.roles import LOOKING, ProcessRole
from broker.setup.wiring import Home
from broker.store import migrate
from broker.store.engine import Store
from connectors.client import Client
from schemas.names import Instant
from tests.beside import short_folder
from tests.fire.town import ended, found
from tests.program import Program
from tests.services.databases import Databases
from tests.unit.broker import test_roles
from tests.unit.broker.cli.test_cli_looks import OWN
from tests.world import DAY, PORTAL, RENNES, World


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
        names = ";".join(f"ALTER ROLE {name} PASSWORD 'ours'" for name in rights.logins(self.prefix))
        await self.tell(rights.sql(self.prefix), names)

    async def drop(self) -> None:
        """They belong to the server, not to the database."""
        for name in rights.logins(self.prefix):
            await self.tell(f"DROP OWNED BY {name}", f"DROP ROLE {name}")

    async def tell(self, *statements: str) -> None:
        """The owner tells the server."""
        connection = await asyncpg.connect(plain(self.owner))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    def reader(self) -> URL:
        """The same, for who only looks."""
        return self.owner.set(username=f"{self.prefix}{rights.READER}", password="ours")

    async def may(self, role: ProcessRole | None, statement: str) -> bool:
        """Whether the server lets a role, or who only looks, do this, which changes nothing."""
        connection = await asyncpg.connect(plain(self.reader() if role is None else self.url(role)))
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


RELEASING = {ProcessRole.GATE, ProcessRole.CONNECTORS}
ANSWERING = {ProcessRole.API, ProcessRole.PORTAL}
READS: Mapping[str, set[ProcessRole]] = {
    "SELECT FROM consent_keys": {
        ProcessRole.ROUTER,
        ProcessRole.UPKEEP,
        ProcessRole.GATE,
        ProcessRole.CONNECTORS,
        ProcessRole.CONSENTS,
    },
    "SELECT FROM operators": {ProcessRole.UPKEEP},
    "SELECT FROM kept_answers": {ProcessRole.UPKEEP, ProcessRole.API, ProcessRole.PORTAL, ProcessRole.CONSENTS},
    "SELECT FROM ledger_checkpoints": set(rights.ROLES),
    "SELECT FROM channels": {ProcessRole.UPKEEP, ProcessRole.NOTIFY, ProcessRole.PORTAL},
    "SELECT FROM citizen_drafts": {ProcessRole.UPKEEP, ProcessRole.PORTAL},
}
WRITES: Mapping[str, set[ProcessRole]] = {
    "INSERT INTO ledger_checkpoints SELECT * FROM ledger_checkpoints": {ProcessRole.LEDGER},
    "UPDATE ledger_tiles SET hashes = ''": {ProcessRole.LEDGER},
    "UPDATE ledger_entries SET position = 0": {ProcessRole.LEDGER},
    "DELETE FROM ledger_entries": set(),
    "DELETE FROM ledger_openings": {ProcessRole.UPKEEP},
    "INSERT INTO operators SELECT * FROM operators": set(),
    "INSERT INTO parties SELECT * FROM parties": set(),
    "INSERT INTO grants SELECT * FROM grants": {ProcessRole.ROUTER, ProcessRole.CONSENTS},  # of a rule; of a citizen
    "INSERT INTO retractions SELECT * FROM retractions": {
        ProcessRole.INTAKE,
        ProcessRole.API,
        ProcessRole.UPKEEP,
        ProcessRole.PORTAL,
        ProcessRole.CONSENTS,
    },
    "DELETE FROM retractions": set(),
    "INSERT INTO channels SELECT * FROM channels": set(),
    "UPDATE channels SET kind = kind": {ProcessRole.UPKEEP},  # its end, which the journal knows
    "INSERT INTO citizen_drafts SELECT * FROM citizen_drafts": {ProcessRole.PORTAL},
    "DELETE FROM citizen_drafts": {ProcessRole.UPKEEP, ProcessRole.PORTAL},
    "DELETE FROM told_already": {ProcessRole.UPKEEP},
    "INSERT INTO messages SELECT * FROM messages": {ProcessRole.NOTIFY},
    "DELETE FROM messages": {ProcessRole.UPKEEP},
    "INSERT INTO rules SELECT * FROM rules": set(),
    "UPDATE rules SET status = status": {ProcessRole.UPKEEP},
    "INSERT INTO api_tokens SELECT * FROM api_tokens": set(),
    "UPDATE alembic_version SET version_num = version_num": set(),
    "DELETE FROM credential_uses": {ProcessRole.UPKEEP, ProcessRole.API, ProcessRole.GATE, ProcessRole.PORTAL},
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
async def test_who_only_looks_reads_what_is_shown_and_writes_nothing(logins: Logins) -> None:
    for table, letters in rights.rights_of_reader().items():
        assert bool(letters) is await logins.may(None, f"SELECT FROM {table}"), table
        assert not await logins.may(None, f"DELETE FROM {table}"), table
        assert not await logins.may(None, f"INSERT INTO {table} SELECT * FROM {table}"), table
    assert {""} == {rights.rights_of_reader()[table] for table in ("consent_keys", "grants", "channels", "retractions")}


@pytest.mark.proof
def test_who_only_looks_may_read_what_those_commands_read_and_no_other_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asyncio.Runner() as runner:
        town = runner.run(found(tmp_path))
    monkeypatch.setenv("UNEFOIS_HOME", str(town.settings.home))
    read: set[str] = set()

    def watch(_: object, __: object, statement: str, *___: object) -> None:
        read.update(table for table in rights.all_tables() if re.search(rf"\b{table}\b", statement))

    event.listen(Engine, "before_cursor_execute", watch)
    try:
        more = {"top": ["--once"], "token uses": ["0" * 16], "webhook attempts": ["1" * 32]}
        (own := tmp_path / "own.yaml").write_text(OWN)
        more["mapping preview"] = [str(own), "--party", RENNES]
        for act in sorted(LOOKS):
            Program(town.settings.home).run(*act.split(), *more.get(act, ()), "--json")
    finally:
        event.remove(Engine, "before_cursor_execute", watch)

    shown = {table for table, letters in rights.rights_of_reader().items() if letters}
    assert shown == read | {"webhook_attempts"}  # of a webhook that there is


@pytest.mark.proof
def test_each_command_that_only_looks_works_with_that_login_and_without_a_secret(
    postgres: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asyncio.Runner() as runner:
        database = postgres.empty()
        url = runner.run(database.__aenter__())
        town, logins = runner.run(found(tmp_path, database_url=url)), Logins(make_url(url))
        runner.run(logins.make())
        for kind in frozenset(KeyKind) - frozenset(LOOKING):
            shutil.rmtree(town.settings.keys_folder / kind.value, ignore_errors=True)
        monkeypatch.setenv("UNEFOIS_DATABASE_URL", logins.reader().render_as_string(hide_password=False))
        monkeypatch.setenv("UNEFOIS_HOME", str(town.settings.home))
        more = {"top": ["--once"], "token uses": ["0" * 16], "webhook attempts": ["1" * 32]}
        (own := tmp_path / "own.yaml").write_text(OWN)
        more["mapping preview"] = [str(own), "--party", RENNES]
        for act in sorted(LOOKS):
            done = Program(town.settings.home).run(*act.split(), *more.get(act, ()), "--json")
            assert "keys." not in done.stderr, done.stderr
            assert "store." not in done.stderr, done.stderr
            assert done.exit_code in ({3, 4} if act in {"token uses", "webhook attempts"} else {0}), act
        runner.run(logins.drop())
        runner.run(database.__aexit__(None, None, None))


@pytest.mark.asyncio
async def test_the_sql_can_be_run_again_and_takes_back_what_a_role_needs_no_more(logins: Logins) -> None:
    name = rights.login(ProcessRole.API, logins.prefix)
    await logins.tell(f"GRANT SELECT ON consent_keys TO {name}")
    assert await logins.may(ProcessRole.API, "SELECT FROM consent_keys")

    await logins.make()

    assert not await logins.may(ProcessRole.API, "SELECT FROM consent_keys")


class ByLogin(test_roles.Town):
    """A town whose processes have logins."""

    def __init__(self, here: World, logins: Logins, socket: Path) -> None:
        super().__init__(here, socket)
        self.stores = {
            role: Store.open(logins.url(role).render_as_string(hide_password=False)) for role in rights.ROLES
        }

    def process(self, role: ProcessRole) -> Home:
        """A process of a role, with what its login may do."""
        home, whole = super().process(role), self.here.home
        return Home(
            self.settings,
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
        town = ByLogin(here, logins, stack.enter_context(short_folder()) / "consents.sock")
        for store in town.stores.values():
            await stack.enter_async_context(store)
        await test_roles.test_a_declaration_goes_its_way_through_processes_each_of_which_has_only_its_own_secrets(
            town, tmp_path
        )
        await test_roles.citizens_come_in(town)


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

    assert {rights.VERSION, "approval_requests", "first_ledger", "parties", "purposes"} == rights.all_tables() - written
