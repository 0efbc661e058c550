"""Mail: a real mail server takes the letter, by TLS, with a password; what is wrong is told without its words."""

import smtplib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from broker.messages.mail import Letter, MailServer, address_in, message_of
from schemas.errors import Fault, Refused, Unavailable
from schemas.names import Instant
from tests.services import certificates
from tests.services.mailserver import Desk, serving

AT = Instant(1_795_521_493_000)
LETTER = Letter("mairie@example.fr", "Désactivé", "Bonjour à vous,\n\nrien n'est perdu.\n", "webhook-1-2", AT)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A server's key with its certificate, and who signed it."""
    return certificates.make(tmp_path_factory.mktemp("mail"))


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest_asyncio.fixture
async def clear(desk: Desk) -> AsyncIterator[MailServer]:
    async with serving(desk) as port:
        yield MailServer("127.0.0.1", port, "none", "unefois@broker.example")


@pytest_asyncio.fixture
async def closed(desk: Desk, files: tuple[Path, Path]) -> AsyncIterator[MailServer]:
    """One that wants STARTTLS, then a password."""
    whole, trusted = files
    login = {"username": "unefois", "password": "right"}
    async with serving(desk, whole) as port:
        yield MailServer("127.0.0.1", port, "starttls", "unefois@broker.example", ca_file=trusted, **login)


async def wrong(server: MailServer) -> tuple[str, object]:
    with pytest.raises(Unavailable) as caught:
        await server.send(LETTER)
    assert server.sender not in str(caught.value.details)
    return caught.value.code, caught.value.details.get("status", caught.value.details.get("error"))


@pytest.mark.asyncio
class TestServers:
    async def test_a_letter_arrives_as_it_was_written(self, clear: MailServer, desk: Desk) -> None:
        await clear.send(LETTER)

        (envelope,) = desk.taken
        assert ("unefois@broker.example", ["mairie@example.fr"]) == (envelope.mail_from, envelope.rcpt_tos)
        (read,) = desk.letters()
        assert ("Désactivé", LETTER.text) == (read["Subject"], read.get_content().replace("\r\n", "\n"))
        assert ("<webhook-1-2@broker.example>", "auto-generated") == (read["Message-ID"], read["Auto-Submitted"])
        assert "Tue, 24 Nov 2026 11:58:13 +0000" == read["Date"]

    async def test_by_starttls_with_a_password(self, closed: MailServer, desk: Desk) -> None:
        await closed.send(LETTER)
        assert 1 == len(desk.taken)

    async def test_a_certificate_of_nobody_known_is_not_spoken_to(self, closed: MailServer, desk: Desk) -> None:
        assert ("mail.away", "SSLCertVerificationError") == await wrong(replace(closed, ca_file=None))
        assert [] == desk.taken

    async def test_a_password_never_goes_in_clear_to_a_server_without_tls(self, clear: MailServer, desk: Desk) -> None:
        asked = replace(clear, security="starttls", username="unefois", password="right")
        assert ("mail.away", "SMTPNotSupportedError") == await wrong(asked)

    async def test_a_wrong_password_is_told_by_the_servers_number(self, closed: MailServer) -> None:
        assert ("mail.refused", 535) == await wrong(replace(closed, password="wrong"))

    @pytest.mark.parametrize("status", [451, 550])
    async def test_what_the_server_does_not_take_is_not_taken(self, clear: MailServer, desk: Desk, status: int) -> None:
        desk.answer = f"{status} mairie@example.fr is unknown here"
        assert ("mail.refused", status) == await wrong(clear)

    async def test_nobody_there(self, clear: MailServer) -> None:
        assert ("mail.away", "ConnectionRefusedError") == await wrong(replace(clear, port=1))

    async def test_a_server_that_takes_it_and_hangs_up_has_taken_it(
        self, clear: MailServer, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def hung_up(_: smtplib.SMTP) -> None:
            raise smtplib.SMTPServerDisconnected

        monkeypatch.setattr(smtplib.SMTP, "quit", hung_up)
        await clear.send(LETTER)
        assert 1 == len(desk.taken)


@pytest.mark.parametrize(
    ("contact", "address"),
    [
        ("mairie@example.fr", "mairie@example.fr"),
        ("Mairie, 02 23 62 10 10, dpo.unefois+x@rennes.example.fr", "dpo.unefois+x@rennes.example.fr"),
        ("01 23 45 67 89", None),
        ("mairie@localhost", None),
        ("a@" + ".".join(["b" * 60] * 5), None),
    ],
)
def test_the_address_of_a_contact(contact: str, address: str | None) -> None:
    assert address == address_in(contact)


@pytest.mark.parametrize("to", ["a@b.example\r\nBcc: c@d.example", "a@b.example, c@d.example", "<a@b.example>", ""])
def test_one_letter_goes_to_one_address(to: str) -> None:
    with pytest.raises(Refused) as caught:
        message_of(Letter(to, "s", "t", "about", AT), "unefois@broker.example")
    assert "mail.address" == caught.value.code


def test_no_repr_shows_the_password() -> None:
    assert "right" not in repr(MailServer("h", 25, "tls", "a@b.example", username="u", password="right"))
    assert issubclass(Unavailable, Fault)
