"""Parts: what the settings say to each part of the machine, in that part's own words and units."""

from collections.abc import Mapping

from broker.access.franceconnect import Client
from broker.access.identity_tokens import Door
from broker.flow.arrived import Limits
from broker.flow.holding import Holds
from broker.flow.mailbox import RetryPolicy
from broker.maintenance.pruning import Retention
from broker.maintenance.upkeep import Schedule
from broker.messages.addresses import ChannelKind
from broker.messages.mail import Mail, MailServer
from broker.messages.news import Sender
from broker.messages.ways import ByHttp, ByMail, Template, Way, Written
from broker.outbound import Outbound
from broker.settings.choices import Settings
from broker.store.postgres import Waits
from schemas.catalogue import BANK_ACCOUNT
from schemas.names import PartyId
from schemas.retractions import RECALLED

_DOORS = {Door.FRANCECONNECT: "franceconnect", Door.PLUS: "franceconnect_plus"}


def retry_policy(settings: Settings) -> RetryPolicy:
    """How long a delivery is leased, and how often and when it is tried again."""
    return RetryPolicy(
        lease_ms=settings.lease_seconds * 1000,
        attempts=settings.delivery_attempts,
        first_ms=settings.retry_first_seconds * 1000,
        most_ms=settings.retry_most_seconds * 1000,
    )


def holds(settings: Settings) -> Holds:
    """How long each type waits before anybody gets it."""
    told = {BANK_ACCOUNT: settings.bank_hold_hours, RECALLED: settings.recall_hold_hours}
    return {event_type: hours * 3_600_000 for event_type, hours in told.items() if hours}


def limits(settings: Settings) -> Limits:
    """How sure each source may say that it is."""
    return Limits({PartyId(one): most for one, most in settings.assurance_limits.items()}, settings.assurance_limit)


def schedule(settings: Settings) -> Schedule:
    """When keys are renewed and destroyed."""
    return Schedule(
        suite=settings.hpke_suite,
        gate_days=settings.gate_epoch_days,
        gate_overlap_days=settings.gate_overlap_days,
        gate_retention_days=settings.gate_retention_days,
        consent_days=settings.consent_epoch_days,
    )


def retention(settings: Settings) -> Retention:
    """How long what is over is kept."""
    return Retention(
        log_days=settings.log_retention_days,
        sealed_days=settings.sealed_retention_days,
        letter_days=settings.letter_retention_days,
        declaration_days=settings.declaration_retention_days,
        token_days=settings.token_retention_days,
        checkpoint_days=settings.checkpoint_retention_days,
        opening_days=settings.ledger_opening_days,
        message_days=settings.message_retention_days,
    )


def mail(settings: Settings) -> Mail | None:
    """Where letters go, if anywhere."""
    if settings.mail_server is None or settings.mail_from is None:
        return None
    host, _, port = settings.mail_server.rpartition(":")
    return MailServer(
        host,
        int(port),
        settings.mail_security,
        settings.mail_from,
        ca_file=settings.mail_ca_file,
        username=settings.mail_username,
        password=settings.secret_mail_password(),
    )


def doors(settings: Settings) -> Mapping[Door, Client]:
    """As whom FranceConnect and FranceConnect+ know our own pages; none where they are not offered."""
    found = {}
    for door, prefix in _DOORS.items():
        issuer, client_id = getattr(settings, f"{prefix}_issuer"), getattr(settings, f"{prefix}_client_id")
        if issuer is not None and client_id is not None:
            found[door] = Client(
                door,
                issuer,
                client_id,
                secret=settings.secret(f"{prefix}_client_secret"),
                key=settings.secret(f"{prefix}_client_key"),
                decryption=settings.secret(f"{prefix}_decryption_key"),
            )
    return found


def issuers(settings: Settings) -> Mapping[Door, str]:
    """Whose tokens portals may forward."""
    told = {door: getattr(settings, f"{prefix}_issuer") for door, prefix in _DOORS.items()}
    return {door: issuer for door, issuer in told.items() if issuer is not None}


def ways(settings: Settings, outbound: Outbound) -> Mapping[ChannelKind, Way]:
    """How citizens are told, by what they gave; empty where nobody is."""
    server = mail(settings)
    found: dict[ChannelKind, Way] = {}
    if settings.message_email == "smtp" and server is not None:
        found[ChannelKind.EMAIL] = ByMail(server)
    if settings.message_mobile == "http" and settings.sms_url is not None:
        template = Template(
            url=settings.sms_url,
            method=settings.sms_method,
            body=settings.sms_body,
            form=settings.sms_format,
            headers=settings.sms_headers,
            success=settings.sms_success,
            token=settings.secret_sms_token(),
        )
        found[ChannelKind.MOBILE] = ByHttp(outbound, template)
    chosen = {ChannelKind.EMAIL: settings.message_email, ChannelKind.MOBILE: settings.message_mobile}
    for kind, way in chosen.items():
        if way in ("console", "file"):
            found[kind] = Written(settings.message_file if way == "file" else None)
    return found


def sender(settings: Settings) -> Sender:
    """As whom they are told."""
    return Sender(settings.name, settings.contact, settings.message_link)


def waits(settings: Settings) -> Waits:
    """How long the database's server lets our transactions wait and work."""
    return Waits(
        lock_ms=settings.database_lock_seconds * 1000,
        statement_ms=settings.database_statement_seconds * 1000,
        absent_ms=settings.database_absent_seconds * 1000,
    )
