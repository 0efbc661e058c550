"""Config: what the kit has to know of a program that it tries: how to run it, and how to see what it did.

Refuses: what it does not know, by the place of it; a receiver whose effects nobody could see; a case that does not
exist.
Keeps: paths count from the folder of the file. No value of the file is repeated in an error.
"""

from pathlib import Path
from typing import Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import Refused
from schemas.text import from_utf8

BYTES: Final = 64 * 1024
NEEDED: Final = frozenset({"subject", "new_address", "email"})
"""What the cases look for in the receiver's own system: who it is, where they live, and a field that may be absent."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Observe(_Part):
    """How to see what the receiver did: exactly one of the three; each gives the JSON of `observed.Observed`."""

    command: list[str] | None = Field(None, min_length=1)
    file: Path | None = None
    url: str | None = Field(None, pattern=r"^http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?(/.*)?$")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(one is not None for one in (self.command, self.file, self.url)) != 1:
            raise ValueError("exactly one of command, file and url")
        return self


class Receiver(_Part):
    """A program that receives. `runs`: it goes on until it is ended, or takes what waits and ends, called again."""

    command: list[str] = Field(min_length=1)
    runs: Literal["forever", "once"] = "forever"
    observe: Observe
    purpose: str = Field("local-services", max_length=64)
    fields: list[str] = Field(default_factory=lambda: sorted({*NEEDED, "effective_date", "occupancy"}))
    suite: Literal["x25519", "mlkem768_x25519"] = "x25519"
    batch: int = Field(200, ge=2, le=500)
    """How many deliveries the huge batch has."""

    @model_validator(mode="after")
    def _asks_enough(self) -> Self:
        if missing := NEEDED - set(self.fields):
            raise ValueError(f"fields has to name {', '.join(sorted(missing))} too")
        return self


class Source(_Part):
    """A program that declares once for each call: `command`, then the path of the JSON with what to declare."""

    command: list[str] = Field(min_length=1)


class Portal(_Part):
    """A town's own portal, as a program that goes one citizen's way: `command`, then the path of the JSON with the form
    (`broker.lab.conformance.portal`).
    """

    command: list[str] = Field(min_length=1)


class Config(_Part):
    """One file of the kit."""

    version: Literal[1]
    receiver: Receiver | None = None
    source: Source | None = None
    portal: Portal | None = None
    listen: str = Field("127.0.0.1:0", pattern=r"^(127\.0\.0\.1|localhost):[0-9]{1,5}$")
    patience_seconds: float = Field(20, gt=0, le=600)
    """How long the program may take for what a case asks of it."""
    acknowledge_seconds: float = Field(10, gt=0, le=600)
    """How long a program that has come to pull again may still take to acknowledge what it was handed before."""
    environment: dict[str, str] = Field(default_factory=dict, repr=False)
    skip: dict[str, str] = Field(default_factory=dict)
    """Case -> why it is not played; the report says so."""

    @model_validator(mode="after")
    def _has_a_subject(self) -> Self:
        if self.receiver is None and self.source is None and self.portal is None:
            raise ValueError("a receiver, a source, a portal, or several of them")
        return self


def load(path: Path, known: frozenset[str]) -> Config:
    """The file; `known`: every case. Raises Refused `conformance.no-file`, `.not-yaml`, `.config`, `.unknown-case`."""
    try:
        with path.open("rb") as file:
            content = file.read(BYTES + 1)
    except OSError as error:
        raise Refused("conformance.no-file", file=str(path), error=type(error).__name__) from None
    text = from_utf8(content) if len(content) <= BYTES else None
    try:
        told = yaml.safe_load(text) if text is not None else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise Refused("conformance.not-yaml", file=str(path), line=mark.line + 1 if mark else 1) from None
    if not isinstance(told, dict):
        raise Refused("conformance.not-yaml", file=str(path), line=1)
    config = _checked(told)
    for name in config.skip:
        if name not in known:
            raise Refused("conformance.unknown-case", "/skip", known=", ".join(sorted(known)))
    return config


def _checked(told: dict[str, Any]) -> Config:
    try:
        return Config.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = "".join(f"/{part}" for part in first["loc"])
        wrong, count = first["msg"].removeprefix("Value error, "), error.error_count()
    raise Refused("conformance.config", place, wrong=wrong, count=count)
