"""The webhook: tells an agency's server that a delivery waits. A Standard Webhooks message, thin by construction.

    POST  {"type":"delivery.ready","timestamp":"...","data":{"delivery_id":"...","event_type":"..."}}
    webhook-id: the delivery's id, the same at every attempt; how it is signed: `schemas.webhooks`

Refuses: plain http except to this machine, credentials in the URL, redirects, keys that are none, more than 4 keys.
Keeps: nothing about a citizen in body, headers or URL; the answer's body is not read.
Source: Standard Webhooks 1.0.0, "Signature scheme" and "Delivery success and failure".
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

import httpx2
from pydantic import AfterValidator, Field

from connectors.contract import Ground, Ready, Reject, Retry, Settings, checked
from connectors.description import Case, Description, Words
from connectors.peers import caller, endpoint, trust
from connectors.secret_files import Secret
from schemas import webhooks
from schemas.errors import Fault, Refused
from schemas.names import rfc3339, uuid_text
from schemas.retry import retry_after_ms
from schemas.webhooks import Signer, signer_of

_OF_WRITERS = (
    Case.CRASH_BEFORE_FLUSH,
    Case.NEW_SCHEMA_VERSION,
    Case.WITHHELD_FIELD,
    Case.ORDER,
    Case.BAD_VALUE,
    Case.UNKNOWN_PERSON,
    Case.SEVERAL_PERSONS,
)
_TELLS_ONLY: Words = {
    "en": "It says that something waits, and carries no value: the agency fetches it.",
    "fr": "Il dit que quelque chose attend, sans aucune valeur : l'administration vient le chercher.",
}


class WebhookSettings(Settings):
    """Settings of a `webhook`. `keys`: `whsk_` (Ed25519) or `whsec_` (shared) secrets, the current one first."""

    url: Annotated[str, AfterValidator(endpoint)]
    keys: Annotated[tuple[Secret, ...], Field(min_length=1, max_length=4)]
    timeout_s: Annotated[float, Field(gt=0, le=30)] = 15
    ca_file: str | None = None
    """Certificates of the agency's own authority (PEM), where the system's store lacks it."""


class WebhookConnector:
    """One endpoint of one agency. Made by `open`."""

    about: ClassVar = Description(
        settings=WebhookSettings,
        guarantee={
            "en": "What waits is told until somebody hears it, always under the same webhook-id.",
            "fr": "Ce qui attend est signalé jusqu'à ce qu'on l'entende, toujours sous le même webhook-id.",
        },
        other_side={
            "en": "The receiver remembers webhook-id, and takes a second message with the same one as heard.",
            "fr": "Le destinataire retient webhook-id, et tient un second message identique pour entendu.",
        },
        spared=dict.fromkeys(_OF_WRITERS, _TELLS_ONLY),
    )

    def __init__(self, url: str, signers: tuple[Signer, ...], client: httpx2.AsyncClient, ground: Ground) -> None:
        self._url = url
        self._signers = signers
        self._client = client
        self._ground = ground

    @classmethod
    async def open(cls, settings: Mapping[str, Any], ground: Ground) -> Self:
        """Check the settings; nothing is sent. Raises Refused("connector.settings", "webhook.*")."""
        chosen = checked(WebhookSettings, settings)
        signers = tuple(signer_of(key.get_secret_value(), f"/keys/{number}") for number, key in enumerate(chosen.keys))
        client = caller(chosen.url, chosen.timeout_s, trust(chosen.ca_file), "webhook")
        return cls(chosen.url, signers, client, ground)

    @classmethod
    async def check(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> tuple[Fault, ...]:
        """Opens a connection to the endpoint, with TLS where it has one, and sends nothing."""
        try:
            notifier = await cls.open(settings, ground)
        except Refused as fault:
            return (fault,)
        await notifier.close()
        chosen = checked(WebhookSettings, settings)
        url = httpx2.URL(chosen.url)
        secure = url.scheme == "https"
        try:
            async with asyncio.timeout(chosen.timeout_s):
                _, writer = await asyncio.open_connection(
                    url.host, url.port or (443 if secure else 80), ssl=trust(chosen.ca_file) if secure else None
                )
        except OSError as error:  # TimeoutError and ssl.SSLError are some, too
            return (Retry("webhook.unreachable", kind=type(error).__name__),)
        writer.close()
        return ()

    async def tell(self, ready: Ready) -> None:
        """Post the message; returns on any 2xx.

        Raises Reject("webhook.gone") on 410, Retry("webhook.answer", "webhook.unreachable") otherwise; a Retry-After
        is passed on.
        """
        now = self._ground.clock()
        body = _body(ready, rfc3339(now))
        headers = webhooks.headers(uuid_text(ready.delivery_id), now, body, self._signers)
        headers = {**headers, "content-type": "application/json"}
        try:
            async with self._client.stream("POST", self._url, content=body, headers=headers) as answer:
                status, wait = answer.status_code, retry_after_ms(answer.headers.get("retry-after"), now)
        except httpx2.TransportError as error:
            raise Retry("webhook.unreachable", kind=type(error).__name__) from None
        if status == 410:
            raise Reject("webhook.gone")
        if not 200 <= status < 300:
            # A redirect ends here too: following it would tell another server than the one agreed on.
            if wait is None:
                raise Retry("webhook.answer", status=status)
            raise Retry("webhook.answer", status=status, after_ms=wait)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _body(ready: Ready, moment: str) -> bytes:
    """The exact bytes that are signed and sent. `timestamp` is when the delivery was found ready."""
    told = {"delivery_id": uuid_text(ready.delivery_id), "event_type": str(ready.event_type)}
    message = {"type": "delivery.ready", "timestamp": moment, "data": told}
    return json.dumps(message, separators=(",", ":")).encode()
