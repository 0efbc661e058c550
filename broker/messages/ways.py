"""Ways: how a message leaves: by e-mail through a mail server, by SMS through an HTTP interface that the settings
describe; or, for trials, onto the console or into a file.

Refuses: a template without the number or the text; to send anything but what the template says.
Keeps: the same message has the same id at every attempt: the `Message-ID` of an e-mail, `{id}` in the template of an
SMS. What was wrong is a code and a number, never the other side's words, which may repeat an address.
Source: RFC 5322 (Message-ID); draft-ietf-httpapi-idempotency-key-header for what `{id}` is for.
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol
from urllib.parse import quote_plus

from broker.messages.mail import Letter, Mail
from broker.outbound import Outbound
from schemas.errors import Unavailable
from schemas.names import Instant

Form = Literal["json", "form"]
AWAY: Final = frozenset({"mail.away", "outbound.away", "outbound.late", "messages.cannot-write"})
"""Codes that say that the way itself is closed: the next message would meet the same."""
_PLACE: Final = re.compile(r"\{(to|text|id)\}")
_TYPES: Final[Mapping[Form, str]] = {"json": "application/json", "form": "application/x-www-form-urlencoded"}
_SECONDS: Final = 15
_ANSWER_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. `id`: 32 hexadecimal digits, the same for the same message; `subject` is for e-mail alone."""

    id: str
    to: str = field(repr=False)
    subject: str
    text: str = field(repr=False)
    at: Instant


class Way(Protocol):
    """A way out."""

    async def send(self, message: Message) -> None:
        """Until the other side has taken it. Raises Refused, Unavailable with what was wrong."""

    async def look(self) -> None:
        """Whether the other side is there; nothing is sent. Raises as `send`."""


@dataclass(frozen=True, slots=True)
class ByMail:
    """Through a mail server."""

    mail: Mail

    async def send(self, message: Message) -> None:
        """As `Way` says. Raises as `Mail.send`."""
        about = f"message-{message.id}"
        await self.mail.send(Letter(message.to, message.subject, message.text, about, message.at))

    async def look(self) -> None:
        """As `Way` says. Raises as `Mail.look`."""
        await self.mail.look()


@dataclass(frozen=True, slots=True)
class Template:
    """How an SMS gateway wants to be asked. `body` holds `{to}`, `{text}` and, where it knows what to do with it,
    `{id}`; `headers` may hold `{token}`.
    """

    url: str
    method: Literal["POST", "PUT"]
    body: str
    form: Form
    headers: Mapping[str, str]
    success: tuple[int, ...]
    token: str | None = field(default=None, repr=False)

    def filled(self, message: Message) -> bytes:
        """The body for one message, in one pass: what is put in is not looked at again."""
        told = {"to": message.to, "text": message.text, "id": message.id}
        return _PLACE.sub(lambda found: self._escaped(told[found[1]]), self.body).encode()

    def headed(self) -> dict[str, str]:
        """The headers of a call."""
        told = {name.lower(): value.replace("{token}", self.token or "") for name, value in self.headers.items()}
        return {"content-type": _TYPES[self.form], **told}

    def _escaped(self, text: str) -> str:
        return quote_plus(text) if self.form == "form" else json.dumps(text)[1:-1]


@dataclass(frozen=True, slots=True)
class ByHttp:
    """Through an SMS gateway."""

    outbound: Outbound
    template: Template

    async def send(self, message: Message) -> None:
        """As `Way` says. Raises Unavailable `sms.refused`; raises as `Outbound.call`."""
        reply = await self.outbound.call(
            self.template.method,
            self.template.url,
            headers=self.template.headed(),
            body=self.template.filled(message),
            limit=_ANSWER_BYTES,
            seconds=_SECONDS,
        )
        if reply.status not in self.template.success:
            raise Unavailable("sms.refused", status=reply.status)

    async def look(self) -> None:
        """As `Way` says: any answer will do, for what it answers to a question is the gateway's business."""
        await self.outbound.call("HEAD", self.template.url, limit=_ANSWER_BYTES, seconds=_SECONDS)


@dataclass(frozen=True, slots=True)
class Written:
    """For trials: one line of JSON for each message, in a file for its owner alone, or on the standard error."""

    file: Path | None = None

    async def send(self, message: Message) -> None:
        """As `Way` says. Raises Unavailable `messages.cannot-write`.

        Crash in the middle of it: a part of a line; the next attempt writes it once more, with the same id.
        """
        told = {"id": message.id, "to": message.to, "subject": message.subject, "text": message.text}
        self._write(json.dumps(told, ensure_ascii=False) + "\n")

    async def look(self) -> None:
        """As `Way` says. Raises as `send`."""
        if self.file is None:
            return
        there = self.file if self.file.exists() else self.file.parent
        if self.file.is_dir() or not os.access(there, os.W_OK):
            raise Unavailable("messages.cannot-write", error="PermissionError")

    def _write(self, line: str) -> None:
        try:
            if self.file is None:
                sys.stderr.write(line)
                sys.stderr.flush()
                return
            self.file.touch(mode=0o600)
            with self.file.open("a", encoding="utf-8") as out:
                out.write(line)
        except OSError as error:
            raise Unavailable("messages.cannot-write", error=type(error).__name__) from None
