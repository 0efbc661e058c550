"""`publik serve`: the inbound side as one file describes it.

    # publik.yaml, beside the files that it names
    source: source.yaml                    # as whom it is declared, to which broker: the file of `source serve`
    listen: 127.0.0.1:8472                 # this machine only; the web server before it has the certificate
    hosts:                                 # the key of each Publik that signs by itself, by its host name
      demarches.ville.example: publik.key
    action_key: action.key                 # the key that is typed into an action of a workflow
    language: fr
    forms:
      adresse:                             # its address ends in /publik/adresse/
        mapping: publik-address-changed    # packaged; with a slash: a file, from this folder
        parameters: {}
        provenance: {assurance: substantial, quality: declared, channel: online}

Refuses: a mistake in the file, with its pointer; a key that others may read; a mapping that makes no declaration.
Keeps: as `source serve` does.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from connectors import mapping_files, source_serve, strict_yaml
from connectors.contract import Settings, checked, reference_token
from connectors.driving import now
from connectors.mapping import Scalar
from connectors.publik.inbound import Inbound, Way, checked_way
from connectors.source_serve import Opened, address, secret
from schemas.assurance import Provenance
from schemas.errors import Refused

_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
_Host = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{1,253}$")]


class ProvenanceSettings(Settings):
    """How sure what comes by this form is."""

    assurance: str
    quality: str
    channel: str


class FormSettings(Settings):
    """How one form is declared."""

    mapping: str
    parameters: dict[str, Scalar] = Field(default_factory=dict)
    provenance: ProvenanceSettings | None = None


class PublikServeSettings(Settings):
    """What the file says. Paths are from the file's own folder."""

    source: str = "source.yaml"
    listen: str = "127.0.0.1:8472"
    hosts: dict[_Host, str] = Field(default_factory=dict)
    action_key: str | None = None
    language: Literal["fr", "en"] = "fr"
    forms: Annotated[dict[_Name, FormSettings], Field(min_length=1, max_length=100)]


@dataclass(frozen=True, slots=True)
class OpenedPublik:
    """What may be served, and where."""

    app: Inbound
    source: Opened
    at: tuple[str, int]


def read(path: Path) -> PublikServeSettings:
    """The settings in a file. Raises Refused `source.no-file`, `yaml.*`, `connector.settings`, `source.listen`."""
    try:
        raw = path.read_bytes()
    except OSError:
        raise Refused("source.no-file", file=path.name) from None
    told = strict_yaml.read(raw)
    settings = checked(PublikServeSettings, told if isinstance(told, dict) else {})
    address(settings.listen)
    if not settings.hosts and settings.action_key is None:
        raise Refused("publik.no-key", "/hosts")
    if "lists" in settings.forms or "up" in settings.forms:
        raise Refused("publik.name-taken", "/forms")
    return settings


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[OpenedPublik]:
    """Everything that the file names, open until the block ends. Raises as `read` and `source_serve.opened`."""
    settings, folder = read(path), path.parent
    keys = {host: secret(folder / name) for host, name in settings.hosts.items()}
    if settings.action_key is not None:
        keys[""] = secret(folder / settings.action_key)
    ways = {name: _way(name, form, folder) for name, form in settings.forms.items()}
    async with source_serve.opened(folder / settings.source) as source:
        app = Inbound(source.desk, ways, keys, settings.language, clock=now)
        yield OpenedPublik(app, source, address(settings.listen))


async def serve(path: Path, started: Callable[[str], None]) -> None:
    """Serve until a signal ends it. `started` is told the address. Raises as `opened`."""
    async with opened(path) as made:
        await source_serve.run(made.source, made.app, made.at, started)


def _way(name: str, form: FormSettings, folder: Path) -> Way:
    place = f"/forms/{reference_token(name)}"
    provenance = None
    if form.provenance is not None:
        told = form.provenance
        try:
            Provenance.read(told.assurance, told.quality, told.channel)
        except Refused as fault:
            raise fault.under(f"{place}/provenance") from None
        provenance = told.model_dump()
    try:
        return checked_way(Way(mapping_files.find(form.mapping, folder), form.parameters, provenance))
    except Refused as fault:
        raise fault.under(place) if not fault.pointer else fault from None
