"""Mail: a letter to one address, by the mail server that the operator names; for who must hear of it without asking us.

Refuses: to speak in clear but where the settings say so; to send its password in clear; an address that is none.
Keeps: the same news has the same `Message-ID`, so that a letter that a crash made us send twice is seen to be one. What
is wrong is told by the server's number, never by its words.
Source: RFC 5321 (SMTP), 5322 (messages), 3834 (automatic mail), 6409 (submission); addresses as HTML has them.
"""

import asyncio
import re
import smtplib
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from schemas.errors import Refused, Unavailable
from schemas.names import Instant

Security = Literal["starttls", "tls", "none"]
ANSWER_SECONDS: Final = 15
"""For each answer of the mail server."""
LETTER_SECONDS: Final = 60
"""For a whole letter, from the connection to the last answer."""
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
_ADDRESS_CHARACTERS: Final = 254


def address_in(text: str) -> str | None:
    """The first e-mail address in a contact's text, or None."""
    found = _ADDRESS.search(text)
    return found[0] if found and len(found[0]) <= _ADDRESS_CHARACTERS else None


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent. `about`: what the news is, the same for the same news: letters, digits, dots and hyphens."""

    to: str
    subject: str
    text: str
    about: str
    at: Instant


class Mail(Protocol):
    """The way out for letters."""

    async def send(self, letter: Letter) -> None:
        """Until the mail server has taken it: then it is the server's. Raises Unavailable `mail.away`,
        `mail.refused`.
        """

    async def look(self) -> None:
        """Whether it is there and lets us in; no letter is sent. Raises as `send`."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """A submission server. Letters are sent one at a time."""

    host: str
    port: int
    security: Security
    sender: str
    ca_file: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    async def send(self, letter: Letter) -> None:
        """As `Mail` says. A server that is slow beyond measure is away; its thread ends by itself."""
        await self._within(partial(self._send, letter))

    async def look(self) -> None:
        """As `Mail` says."""
        await self._within(self._send)

    async def _within(self, talk: Callable[[], None]) -> None:
        try:
            await asyncio.wait_for(asyncio.to_thread(talk), LETTER_SECONDS)
        except smtplib.SMTPResponseException as error:
            raise Unavailable("mail.refused", status=error.smtp_code) from None
        except smtplib.SMTPRecipientsRefused as error:
            ((status, _),) = error.recipients.values()
            raise Unavailable("mail.refused", status=status) from None
        except (OSError, smtplib.SMTPException, UnicodeError) as error:
            raise Unavailable("mail.away", error=type(error).__name__) from None

    def _send(self, letter: Letter | None = None) -> None:
        """One conversation; without a letter it is a greeting."""
        server = self._connected()
        try:
            if self.security == "starttls":
                server.starttls(context=self._trust())
            if self.username is not None and self.password is not None:
                server.login(self.username, self.password)
            if letter is not None:
                server.send_message(message_of(letter, self.sender))
            else:
                server.ehlo_or_helo_if_needed()
            with suppress(OSError, smtplib.SMTPException):  # it has the letter: how it says goodbye changes nothing
                server.quit()
        finally:
            server.close()

    def _connected(self) -> smtplib.SMTP:
        told: dict[str, Any] = {"timeout": ANSWER_SECONDS, "local_hostname": self.sender.rpartition("@")[2]}
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, context=self._trust(), **told)
        return smtplib.SMTP(self.host, self.port, **told)

    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.ca_file is not None:
            try:
                context.load_verify_locations(self.ca_file)
            except OSError:
                raise Unavailable("mail.away", error="ca_file") from None
        return context


def message_of(letter: Letter, sender: str) -> EmailMessage:
    """The letter as it is sent. Raises Refused `mail.address` for an address that could be more than one."""
    for address in (letter.to, sender):
        if address_in(address) != address:
            raise Refused("mail.address")
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = sender, letter.to, letter.subject
    made["Date"] = format_datetime(datetime.fromtimestamp(letter.at // 1000, UTC))
    made["Message-ID"] = f"<{letter.about}@{sender.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(letter.text)
    return made
