"""Choices: what an operator may choose, where it may stand, and what it must be.

Refuses: a setting that does not exist, by its name; a value out of its bounds; the same secret given twice.
Keeps: the first of these that says something counts: the call, the environment (UNEFOIS_LEASE_SECONDS), for secrets a
file that the environment names (UNEFOIS_KEYS_PASSPHRASE_FILE), `unefois.toml` in the home, the default. A secret is in
no repr. Units are in the names. `broker.settings.check` says what is allowed but unwise.
"""

import os
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy import URL

from broker.messages.mail import address_in
from broker.settings.forms import (
    Absolute,
    Addresses,
    Names,
    Networks,
    Origin,
    Parties,
    Party,
    Place,
    Policy,
    Server,
    Suite,
    Witnesses,
    Words,
    headers,
    template,
)
from broker.settings.sources import FILE, PREFIX, SecretFiles, read_toml
from schemas.assurance import Assurance
from schemas.errors import Refused
from schemas.hpke import Suite as HpkeSuite
from schemas.messages import Language

UNSET: Final = "(to be completed)"


def default_home() -> Path:
    """`unefois` below the account's own folder for application files (XDG base directory specification)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "unefois"


def default_session() -> Path:
    """Below the account's own folder for state (XDG base directory specification)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "unefois" / "session"


class Settings(BaseSettings):
    """Everything an operator may choose. Immutable; made by `load`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, validate_default=True)

    home: Absolute = Field(default_factory=default_home)
    """The folder of this broker: its settings, its database and its keys, unless they are told to be elsewhere."""
    language: Language = "fr"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    party: Party = "urn:unefois:broker"
    name: str = "Unefois"
    """Who runs this broker, with `address` and `contact`, as citizens read it in their receipts."""
    address: str = UNSET
    contact: str = UNSET
    ledger_origin: Origin = "unefois.example/ledger"
    """The ledger's name for ever: a host and path without scheme (C2SP tlog-checkpoint)."""

    ledger_window_seconds: int = Field(60, ge=1, le=86_400)
    """Entries of so long a time come into the ledger together, in an order drawn by chance: what happened in it cannot
    be told apart from outside. Receipts wait as long.
    """

    database_url: str = Field(default_factory=lambda so_far: _database_in(so_far["home"]), repr=False)
    database_lock_seconds: int = Field(10, ge=1, le=600)
    """How long PostgreSQL lets a transaction wait for a lock (`lock_timeout`); it is done again later."""
    database_statement_seconds: int = Field(60, ge=1, le=3600)
    """How long it lets one statement take (`statement_timeout`); migrations, pruning and `fsck` have no end."""
    database_absent_seconds: int = Field(60, ge=10, le=3600)
    """How long a process may stand still inside a transaction (`idle_in_transaction_session_timeout`)."""
    keys_folder: Absolute = Field(default_factory=lambda so_far: so_far["home"] / "keys")
    """Keep it out of the database's backups: a backup that holds both opens what a revocation closed."""
    keys_passphrase: SecretStr | None = None
    endings_folder: Absolute = Field(default_factory=lambda so_far: so_far["home"] / "endings")
    """The journal of endings: what was revoked, paused or narrowed, and how far the ledger was signed. It goes into no
    backup: what is put back beside it obeys it.
    """
    endings_database_url: str | None = Field(None, repr=False)
    """The journal in a second database instead, under another login, for processes on several machines. Chosen before
    `unefois init`; never restored together with the first.
    """
    consents_socket: Absolute = Field(default_factory=lambda so_far: so_far["home"] / "consents.sock")
    """Where `serve --role consents` hears the processes that have no key of a consent: `portal` and `api`."""
    consents_group: str | None = Field(None, min_length=1, max_length=64)
    """A group whose processes may ask there, too, where they run as another user than `consents`."""
    backup_retention_days: int = Field(90, ge=1, le=3660)
    """How long a backup of the database is kept, at most: for so long the journal of endings forgets nothing."""

    operator_key: Absolute | None = None
    """The file of the key of whoever acts, once somebody has an account (`unefois operator`); `--as` says another."""
    four_eyes: bool = False
    """Whether what lets somebody in, destroys keys, discloses or restores takes two persons (`unefois approvals`)."""
    storage_locations: Words = Field(("France",), min_length=1, max_length=20)
    """The countries where this broker and those who receive from it keep data: citizens' receipts say so."""
    rule_delay_hours: int = Field(72, ge=0, le=8784)
    """From the approval of a rule by law, which is public in the ledger, until it acts for everybody. Zero is for
    trials.
    """
    capacity_sources: Parties = ()
    """Sources, by their identifiers and separated by commas, that look themselves whether somebody may act for another:
    where the broker has no record, their word counts, and each such declaration says so.
    """
    assurance_limits: dict[Party, Assurance] = Field(default_factory=dict)
    """By source, the highest assurance that it may state: none, low, counter, substantial or high. Counter ranks with
    substantial. A source that is not named here has `assurance_limit`.
    """
    assurance_limit: Assurance = Assurance.HIGH
    """The highest assurance that any other source may state. What is stated above a limit is refused at the intake."""
    citizen_source: Party | None = None
    """Who signs what citizens declare in sessions of their own, where their portal's signing key is not in this home:
    a party that is hosted here and may publish it. Unset, it is the only one that may.
    """
    link_delay_hours: int = Field(72, ge=0, le=8784)
    """From the confirmation that a citizen has another name, of which both identities are told, until what stood under
    the old one counts for the new one. Either can refuse it meanwhile. Zero is for trials.
    """
    civil_status_sources: Words = Field((), max_length=64)
    """Identifiers of administrations whose declared change of name, or correction of an identity, confirms by itself
    that two identities are one person: by their agreement they keep the civil status. Of others it takes two operators.
    """
    bank_hold_hours: int = Field(72, ge=0, le=720)
    """How long a change of bank account waits before anybody gets it; its citizen can stop it meanwhile."""
    recall_hold_hours: int = Field(24, ge=0, le=720)
    """How long the recall of a declaration waits before anybody hears of it; its citizen can stop it meanwhile."""
    oidc_issuer: str | None = Field(None, pattern=r"https?://[^\s?#]+", max_length=512)
    """OpenID Connect: who signs the ID tokens of `unefois login`, as its discovery document names itself. An address
    inside is called only if `outbound_allowed` names it.
    """
    oidc_client_id: str | None = Field(None, min_length=1, max_length=512)
    oidc_client_secret: SecretStr | None = None
    """Only where the provider gave one; a program on somebody's machine keeps no secret, PKCE stands in for it."""
    oidc_redirect_port: int = Field(0, ge=0, le=65_535)
    """Where the browser comes back to, at http://127.0.0.1:PORT/callback; 0: any port that is free (RFC 8252)."""
    session_minutes: int = Field(60, ge=1, le=720)
    session_file: Absolute = Field(default_factory=default_session)
    """What `unefois login` leaves; its folder is for it alone."""
    approval_hours: int = Field(72, ge=1, le=720)
    """How long what somebody asks for may be approved, and done."""

    citizen_url: str | None = Field(None, pattern=r"^https?://[^\s?#/]+$", max_length=200)
    """Where citizens find our own pages, as `https://unefois.example`. Register below it, with FranceConnect,
    `/espace/connexion/retour` (redirect) and `/espace/connexion/fin` (after signing out).
    """
    franceconnect_issuer: str | None = Field(None, pattern=r"https?://[^\s?#]+", max_length=512)
    """FranceConnect (level eidas1), as its discovery document names itself: who signs its tokens, those that portals
    forward, too.
    """
    franceconnect_client_id: str | None = Field(None, min_length=1, max_length=512)
    """As whom it knows our own pages; without it they offer it to nobody."""
    franceconnect_client_secret: SecretStr | None = None
    """How we prove ourselves (client_secret_post), where there is no `franceconnect_client_key`."""
    franceconnect_client_key: SecretStr | None = None
    """The same by a private key of P-256, PEM (private_key_jwt, ES256)."""
    franceconnect_decryption_key: SecretStr | None = None
    """A private key, PEM, where it encrypts its tokens for us: P-256 (ECDH-ES) or RSA (RSA-OAEP)."""
    franceconnect_plus_issuer: str | None = Field(None, pattern=r"https?://[^\s?#]+", max_length=512)
    """FranceConnect+ (levels eidas2 and eidas3), as its discovery document names itself: who signs its tokens, those
    that portals forward, too.
    """
    franceconnect_plus_client_id: str | None = Field(None, min_length=1, max_length=512)
    """As whom it knows our own pages; without it they offer it to nobody."""
    franceconnect_plus_client_secret: SecretStr | None = None
    """How we prove ourselves (client_secret_post), where there is no `franceconnect_plus_client_key`."""
    franceconnect_plus_client_key: SecretStr | None = None
    """The same by a private key of P-256, PEM (private_key_jwt, ES256)."""
    franceconnect_plus_decryption_key: SecretStr | None = None
    """A private key, PEM, where it encrypts its tokens for us: P-256 (ECDH-ES) or RSA (RSA-OAEP)."""
    portal_sign_ins_per_hour: int = Field(5000, ge=0, le=10_000_000)
    """How many citizens one portal may sign in, all processes together; 0: no limit. Whoever has taken a portal over
    meets it.
    """
    portal_clients: dict[Party, tuple[str, ...]] = Field(default_factory=dict)
    """By administration, the identifiers under which FranceConnect and FranceConnect+ know its own portal: tokens that
    it forwards are for these and no other.
    """

    signature_policy: Policy = 1
    """How the broker signs: the number of a policy of protocol 1. What it signs has room for one signature, so of two
    algorithms the first one signs, of 4 Ed25519 and of 5 ML-DSA-44 (docs/trust.md, limits).
    """
    hpke_suite: Suite = HpkeSuite.MLKEM768_X25519
    gate_epoch_days: int = Field(30, ge=1, le=400)
    gate_overlap_days: int = Field(60, ge=1, le=400)
    """How long a gate key stays good beside the next one, for sources that do not know the next one yet."""
    gate_retention_days: int = Field(500, ge=1, le=3660)
    """When a gate key is destroyed, counted from its opening: then everything sealed to it is gone, in every copy."""
    consent_epoch_days: int = Field(7, ge=1, le=90)
    """How long a backup of the database can still open what a revocation closed, for whoever has the keys too."""
    key_overlap_days: int = Field(30, ge=1, le=400)
    """How long a party's old keys stay good beside those that `unefois party rotate` makes, if it is not told."""
    clock_trust_days: int = Field(7, ge=1, le=36600)
    """How far the machine's clock may be from the last instant that the database knows, ahead or behind; beyond it no
    epoch is opened or ended, nothing expires and nothing is pruned, until `unefois clock accept`.
    """

    declaration_days: int = Field(366, ge=1, le=3660)
    """How long a declaration made here may be delivered: a late subscriber and a parked delivery need it, too."""
    declaration_age_hours: int = Field(168, ge=1, le=8784)
    """How long ago a declaration may have been signed that comes in now, by its `issued_at`: a week, as long as a
    subject token may live. Whoever has an old key dates nothing back further.
    """
    subject_token_minutes: int = Field(60, ge=1, le=10080)
    api_tokens: bool = True
    """Let administrations in with tokens that `unefois token issue` made; a production of one's own may forbid them."""
    log_partitions: int = Field(8, ge=1, le=1024)
    """Never changes once there are declarations: a citizen's would lose their order."""

    log_retention_days: int = Field(30, ge=1, le=3660)
    """How long a record stays that the router has read in the database's own log; Kafka's topics have theirs."""
    sealed_retention_days: int = Field(30, ge=1, le=3660)
    """How long a delivery keeps its sealed bytes after its end; the row itself stays."""
    letter_retention_days: int = Field(366, ge=1, le=3660)
    """How long a dead letter stays after somebody replayed it; one that waits stays."""
    declaration_retention_days: int = Field(1096, ge=366, le=36600)
    """How long a declaration stays, with its deliveries, that is over and whose gate key is destroyed: 36 months, as
    what opens the ledger's entries; then only the ledger tells of it. An id that is older than this is not taken any
    more.
    """
    token_retention_days: int = Field(366, ge=1, le=3660)
    """How long an API token stays in the list after it expired."""
    ledger_opening_days: int = Field(1095, ge=90, le=36_600)
    """How long the ledger's entries can be opened by who is entitled (CRPA R114-9-7: 36 months); then they are noise.
    What opens them goes by 90 days at once, and so lives for up to 90 days more.
    """
    checkpoint_retention_days: int = Field(30, ge=1, le=3660)
    """How long a signed checkpoint stays that is not the newest."""

    log: Literal["sql", "kafka"] = "sql"
    """Where accepted declarations wait for the router: in the database, or on Apache Kafka."""
    kafka_bootstrap: Addresses = ()
    """Some of Kafka's brokers, as `host:port`, separated by commas."""
    kafka_security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] | None = None
    """There is no default: who sends in clear has said so."""
    kafka_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: Absolute | None = None
    """Who signs the brokers' certificates (PEM); without it, the system's list."""
    kafka_certificate_file: Absolute | None = None
    """The certificate of this broker, where Kafka asks for one (PEM), with `kafka_key_file`."""
    kafka_key_file: Absolute | None = None
    kafka_topic_prefix: str = Field("", pattern=r"^([a-z0-9][a-z0-9-]{0,30}\.)?$")
    """Before the name of each topic, as `unefois.`, where several brokers share a cluster."""

    kafka_replicas: int = Field(3, ge=1, le=9)
    """The fewest copies of each topic; 1 says that a dead disk may lose everything, as for a try on one node."""
    kafka_partitions: int = Field(4, ge=1, le=256)
    """Of each topic of an administration; the log's own are `log_partitions`."""
    kafka_principals: dict[Literal["api", "router", "relay", "intake", "ledger", "connectors", "notify"], str] = Field(
        default_factory=dict
    )
    """As whom each role comes to Kafka, for `unefois topics`; who is not named comes as `kafka_username`."""

    relay_repeat_hours: int = Field(24, ge=1, le=720)
    """A delivery that lies on its agency's topic, unacknowledged, is put there again after so long."""

    otel_endpoint: str | None = Field(None, pattern=r"^https?://[^\s]+$")
    """Where `unefois serve` sends OpenTelemetry spans, an OTLP address over HTTP; needs the extra `otel`."""

    listen: Place = "127.0.0.1:8470"
    """Where `unefois serve` answers over HTTP, as `host:port`; port 0 takes a free one, `none` answers nobody."""

    witnesses: Witnesses = ()
    """Who cosigns the ledger's checkpoints: each `<verifier key> <address>`, separated by commas."""
    witness_quorum: int = Field(0, ge=0, le=50)
    """How many of them make a checkpoint a witnessed one."""
    witness_minutes: int = Field(0, ge=0, le=10080)
    """Release nothing while a checkpoint has waited for its witnesses for longer; 0: release whatever they do."""

    outbound_allowed: Names = ()
    """Names, each with or without a port, that this broker may call at an address inside, as `hooks.example.lan:8443`,
    separated by commas; https is still needed, except to this machine itself.
    """
    outbound_ca_file: Absolute | None = None
    """Who signs certificates of those whom this broker calls (PEM), besides those whom the system trusts."""
    mail_server: Server | None = None
    """Who takes letters to administrations, and e-mail to citizens where `message_email` says so, as `host:port`."""
    mail_security: Literal["starttls", "tls", "none"] = "starttls"
    mail_ca_file: Absolute | None = None
    """Who signs the mail server's certificate (PEM), besides those whom the system trusts."""
    mail_password: SecretStr | None = None
    mail_username: str | None = None
    mail_from: str | None = None
    """The address that letters come from; needed with `mail_server`."""
    dpo_address: str | None = Field(None, pattern=r"^[^@\s]{1,64}@[^@\s]{1,189}$")
    """Where the data-protection officer hears, by `mail_server`, that there is something to look at about protected
    persons.
    """
    message_email: Literal["none", "smtp", "console", "file"] = "none"
    """How citizens who want it are told by e-mail: through `mail_server`; `console` and `file` are for trials."""
    message_mobile: Literal["none", "http", "console", "file"] = "none"
    """How they are told by SMS: through `sms_url`; `console` and `file` are for trials."""
    message_file: Absolute | None = Field(None, validate_default=True)
    """Where `file` writes: a line for each message, with its address in clear."""
    message_link: str | None = Field(None, pattern=r"^https://[^\s?#]+$", max_length=200)
    """Where citizens learn more: an address for everybody, in every message; without it they read `contact`."""
    message_days: int = Field(5, ge=1, le=30)
    """How long a message is tried, and how old its news may be."""
    message_late_days: int = Field(14, ge=0, le=400)
    """After how many days without a word of a recipient the citizen hears so; 0: never."""
    message_retention_days: int = Field(90, ge=60, le=3660)
    """How long a message's row stays, and the row of a channel after its end."""
    sms_url: str | None = Field(None, pattern=r"^https?://[^\s]+$", max_length=2048, validate_default=True)
    """The SMS gateway's address. One inside is called only if `outbound_allowed` names it."""
    sms_method: Literal["POST", "PUT"] = "POST"
    sms_format: Literal["json", "form"] = "json"
    """Of `sms_body`: how what is put into it is written."""
    sms_body: str = Field('{"to": "{to}", "text": "{text}", "id": "{id}"}', max_length=4096)
    """What is sent, with `{to}` and `{text}`; `{id}` is the same whenever the same message is sent again."""
    sms_headers: dict[str, str] = Field(default_factory=dict, repr=False)
    """Headers by name; `{token}` in one stands for `sms_token`."""
    sms_token: SecretStr | None = None
    sms_success: tuple[int, ...] = (200, 201, 202, 204)
    """Statuses that say that the gateway has taken it."""
    requests_per_minute: int = Field(6000, ge=0, le=10_000_000)
    """What one administration may ask each process that answers; 0: no limit."""
    portal_changes_per_hour: int = Field(10_000, ge=0, le=10_000_000)
    """How many declarations, consents and other changes one portal may ask for in an hour, of all processes together;
    0: no limit. What ends something or takes it back is not counted.
    """
    address_requests_per_minute: int = Field(6000, ge=0, le=10_000_000)
    """What one address may ask each process that answers, without proving who it is; 0: no limit."""
    declarations_per_minute: int = Field(60_000, ge=0, le=10_000_000)
    """What one administration may hand in to each process that answers, one by one or in batches; 0: no limit."""
    trusted_proxies: Networks = ()
    """Addresses or networks, separated by commas, of proxies of one's own: their `X-Forwarded-For` is believed."""
    certificate_proxies: Networks = ()
    """Those of them that put the certificate that they saw into `Client-Cert`, and let no client's word through."""

    lease_seconds: int = Field(60, ge=5, le=3600)
    delivery_attempts: int = Field(48, ge=1, le=1000)
    """With the waits below these are nine days: a system that is away over a long weekend needs nobody's help."""
    retry_first_seconds: int = Field(5, ge=1, le=3600)
    """The wait after the first attempt; it doubles up to `retry_most_seconds`."""
    retry_most_seconds: int = Field(21600, ge=1, le=604800)

    def secret_passphrase(self) -> str | None:
        """The passphrase that locks the key store, in clear."""
        return None if self.keys_passphrase is None else self.keys_passphrase.get_secret_value()

    def secret_oidc(self) -> str | None:
        """The provider's secret for this client, in clear."""
        return None if self.oidc_client_secret is None else self.oidc_client_secret.get_secret_value()

    def secret(self, name: str) -> str | None:
        """One of the secrets among these settings, in clear."""
        told: SecretStr | None = getattr(self, name)
        return None if told is None else told.get_secret_value()

    def secret_kafka_password(self) -> str | None:
        """Kafka's password, in clear."""
        return None if self.kafka_password is None else self.kafka_password.get_secret_value()

    def secret_mail_password(self) -> str | None:
        """The mail server's password, in clear."""
        return None if self.mail_password is None else self.mail_password.get_secret_value()

    def secret_sms_token(self) -> str | None:
        """What the SMS gateway knows this broker by, in clear."""
        return None if self.sms_token is None else self.sms_token.get_secret_value()

    @field_validator(
        *("keys_passphrase", "kafka_password", "mail_password", "sms_token"),
        *("franceconnect_client_secret", "franceconnect_client_key", "franceconnect_decryption_key"),
        *("franceconnect_plus_client_secret", "franceconnect_plus_client_key", "franceconnect_plus_decryption_key"),
    )
    @classmethod
    def _is_something(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not secret.get_secret_value().strip():
            raise PydanticCustomError("empty_secret", "a secret of nothing")
        return secret

    @field_validator("kafka_bootstrap", "kafka_security")
    @classmethod
    def _is_told_with_kafka(cls, value: object, info: ValidationInfo) -> object:
        """`log` is read first: pydantic goes by the order above."""
        if info.data.get("log") == "kafka" and not value:
            raise ValueError("needed with log = kafka")
        return value

    @field_validator("kafka_username", "kafka_password")
    @classmethod
    def _is_told_with_sasl(cls, value: object, info: ValidationInfo) -> object:
        asked = str(info.data.get("kafka_security")).startswith("sasl")
        if asked != (value is not None) and info.data.get("log") == "kafka":
            raise ValueError(
                "needed with kafka_security = sasl_..." if asked else "used with kafka_security = sasl_... only"
            )
        return value

    @field_validator("mail_from")
    @classmethod
    def _is_told_with_mail(cls, text: str | None, info: ValidationInfo) -> str | None:
        if (text is None) != (info.data.get("mail_server") is None):
            raise ValueError("needed with mail_server, and used with it only")
        if text is not None and address_in(text) != text:
            raise ValueError("an e-mail address")
        return text

    @field_validator("message_email")
    @classmethod
    def _has_a_mail_server(cls, way: str, info: ValidationInfo) -> str:
        if way == "smtp" and not (info.data.get("mail_server") and info.data.get("mail_from")):
            raise ValueError("smtp needs mail_server and mail_from")
        return way

    @field_validator("message_file")
    @classmethod
    def _is_told_with_file(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is None and "file" in (info.data.get("message_email"), info.data.get("message_mobile")):
            raise ValueError("needed with message_email or message_mobile = file")
        return path

    @field_validator("sms_url")
    @classmethod
    def _is_told_with_sms(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is None and info.data.get("message_mobile") == "http":
            raise ValueError("needed with message_mobile = http")
        return url

    @field_validator("sms_body")
    @classmethod
    def _is_a_template(cls, body: str, info: ValidationInfo) -> str:
        return template(body, str(info.data.get("sms_format")))

    @field_validator("sms_headers")
    @classmethod
    def _are_headers(cls, told: dict[str, str]) -> dict[str, str]:
        return headers(told)

    @field_validator("mail_username")
    @classmethod
    def _is_told_with_password(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is not None and info.data.get("mail_password") is None:
            raise ValueError("used with mail_password only")
        if name is not None and info.data.get("mail_security") == "none":
            raise ValueError("sent with mail_security = starttls or tls only")
        return name

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The order of the module's first page; nothing else is read, no `.env` and no secrets folder."""
        home = init_settings().get("home") or os.environ.get(f"{PREFIX}HOME") or default_home()
        file = InitSettingsSource(settings_cls, read_toml(Path(str(home)).expanduser() / FILE))
        return init_settings, env_settings, SecretFiles(settings_cls), file


def load(**chosen: Any) -> Settings:
    """The settings of the home that `home=` names, or the environment, or the default.

    Raises Refused with the setting's name: `settings.unknown`, `settings.invalid`, `settings.twice`,
    `settings.secret-file`, `settings.not-toml`.
    """
    try:
        return Settings(**{name: told for name, told in chosen.items() if told is not None})
    except ValidationError as invalid:
        raise refusals(invalid)[0] from None


def refusals(invalid: ValidationError) -> tuple[Refused, ...]:
    """Each thing that pydantic found, as a refusal that names the setting and not its value."""
    found = []
    for error in invalid.errors(include_url=False, include_context=False, include_input=False):
        key = ".".join(map(str, error["loc"]))
        if error["type"] == "default_factory_not_called":
            continue  # it follows from another setting, which is in this list itself
        if error["type"] == "extra_forbidden":
            found.append(Refused("settings.unknown", f"/{key}", key=key))
        elif error["type"] == "empty_secret":
            found.append(Refused("settings.empty-secret", f"/{key}", key=key))
        else:
            found.append(
                Refused("settings.invalid", f"/{key}", key=key, wrong=error["msg"].removeprefix("Value error, "))
            )
    return tuple(found)


def _database_in(home: Path) -> str:
    return URL.create("sqlite+aiosqlite", database=str(home / "unefois.db")).render_as_string(hide_password=False)
