"""The runbook by alert: sections that show their commands are followed as written."""

import re
import sqlite3
from contextlib import closing
from socket import socket

import pytest

from broker.cli.exits import Exit
from broker.messages.addresses import ChannelKind
from broker.ports import KeyKind
from tests.drills.runbook import Operator, allow, declare, routed, shown, steps, token
from tests.endpoints import Endpoints, send, status
from tests.program import host
from tests.services.mailserver import Post
from tests.world import CAF, RENNES, World

pytestmark = pytest.mark.sqlite
HOUR = 3_600_000


def test_dead_letters_wait(operator: Operator) -> None:
    allow(operator, RENNES)
    host(operator.unefois, operator.folder)
    town = operator.folder / "town.db"
    with closing(sqlite3.connect(town)) as table:
        table.execute("CREATE TABLE t (nom TEXT, rue VARCHAR(3))")  # too short for most streets
    declared = declare(operator)
    routed(operator)

    with operator.follows("UnefoisDeadLetters"):
        assert re.search(r"^1 +delivery +table.too-long ", operator.does("unefois dead list"), re.MULTILINE)
        operator.does("unefois dead show", NUMBER=1)
        with closing(sqlite3.connect(town)) as table:
            table.executescript("DROP TABLE t; CREATE TABLE t (nom TEXT, rue VARCHAR(100))")
        operator.does("unefois dead replay")
        operator.does("unefois run --once")
        assert "table.too-long" not in operator.does("unefois dead list")
    assert "done" in steps(operator, declared, RENNES)


def test_a_token_is_about_to_end(operator: Operator) -> None:
    of, old = token(operator, days=10)

    with operator.follows("UnefoisExpiring"):
        assert f"{CAF}  token receive" in operator.does("unefois top --once")
        issued = operator.does("unefois token issue", PARTY=CAF, SCOPE="receive --scope read")
        assert 200 == operator.asks(shown("token", issued), "GET", "/v1/status").status_code
        used = operator.does("unefois token list")
        assert 1 == len(re.findall(r"Z *$", used, re.MULTILINE))  # the next one is in use, the old one never was
        operator.does("unefois token revoke", TOKEN=of)
        assert "expires soon" not in operator.does("unefois top --once")
    assert 401 == operator.asks(old, "GET", "/v1/status").status_code


def test_a_key_that_no_book_knows(operator: Operator) -> None:
    async def copied(here: World) -> None:
        here.home.keys.write(KeyKind.GATE, "ab" * 32, bytes(32))

    operator.plants(copied)
    assert Exit.FINDINGS == operator.unefois.run("fsck").exit_code

    with operator.follows("UnefoisUnknownKeys"):
        assert "ab" * 32 in operator.does("unefois keys unknown list", NAME="ab" * 32)
        operator.does("unefois keys unknown destroy")
        operator.does("unefois keys unknown list")


def test_a_webhook_was_given_up(operator: Operator) -> None:
    async def gone(here: World) -> str:
        async with here.home.store.begin() as tx:
            hook = await here.home.webhooks.add(tx, CAF, "https://caf.example/hook", here.clock())
        await send(here, Endpoints(status(410)))
        return hook.id.hex()

    async def mended(here: World) -> None:
        await send(here, Endpoints())

    of = operator.plants(gone)
    with operator.follows("UnefoisWebhookDisabled"):
        listed = operator.does("unefois webhook list", ID=of)
        assert "disabled" in listed
        assert "410" in operator.does("unefois webhook attempts")
        operator.does("unefois webhook prove")
        operator.plants(mended)
    assert ["active"] == [one["status"] for one in operator.unefois.told("webhook", "list")["webhooks"]]


def test_news_for_citizens_waits(operator: Operator) -> None:
    def tells(port: int) -> None:
        told = ['message_email = "smtp"', 'mail_security = "none"', 'mail_from = "unefois@broker.example"']
        toml.write_text("\n".join([*kept, *told, f'mail_server = "127.0.0.1:{port}"', ""]))

    async def waits(here: World) -> None:
        await here.home.channels.add(here.subject(), ChannelKind.EMAIL, "elise@example.fr", "fr")
        await here.step()
        assert ["mail.away"] == [one.code for one in await here.home.sending.step()]

    toml = operator.unefois.home / "unefois.toml"
    kept = toml.read_text().splitlines()
    assert 0 == operator.unefois.run("backup", operator.folder / "backup").exit_code  # else that is told, too
    with operator.follows("UnefoisMessagesLate"), Post() as post, socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and nobody listens there
        tells(closed.getsockname()[1])
        operator.plants(waits)
        operator.clock.pass_(2 * HOUR)
        assert "mail.away" in operator.does("unefois doctor")
        tells(post.port)
        operator.does("unefois run --once")
        assert "elise@example.fr" == post.letters.get(timeout=60)["To"]
        operator.does("unefois doctor")


def test_no_backup_was_made(operator: Operator) -> None:
    with operator.follows("UnefoisBackupOld"):
        operator.does("unefois doctor")
        operator.does("unefois backup", DIR=operator.folder / "backup")
        operator.does("unefois fsck")
        operator.does("unefois doctor")
