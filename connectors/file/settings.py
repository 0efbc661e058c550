"""Settings of files: what every file has, and what a folder and an SFTP server add.

Refuses: a name by which two files could be one, or which leads out of its folder.
Keeps: nothing of a row is in a name: it has a day and a number.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from connectors.contract import Settings
from connectors.file.csv_line import Encoding
from connectors.secret_files import Secret

Format = Literal["csv", "jsonl", "fixed", "xml"]
Marker = Annotated[str, StringConstraints(pattern=r"^\.[a-z]{1,8}$")]
ROWS_MOST = 1_000_000


def _name_pattern(name: str) -> str:
    if name.count("{number}") != 1 or name.count("{date}") > 1:
        raise ValueError("a name has {number} once, and {date} at most once")
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name.replace("{number}", "1").replace("{date}", "1")) is None:
        raise ValueError("letters, digits, dots, dashes and underscores only")
    return name


def is_ours(name: str, pattern: str) -> bool:
    """Whether a name can be one that this setting has given."""
    wanted = re.escape(pattern).replace(r"\{number\}", "[0-9]{6,}").replace(r"\{date\}", "[0-9]{8}")
    return re.fullmatch(wanted, name) is not None


def _ack_pattern(name: str) -> str:
    if name.count("{name}") != 1 or name == "{name}":
        raise ValueError("a name has {name} once, and more than that")
    if re.fullmatch(r"[A-Za-z0-9_.-]*", name.replace("{name}", "")) is None:
        raise ValueError("letters, digits, dots, dashes and underscores only")
    return name


class AcknowledgementSettings(Settings):
    """The file in which the agency's program answers each line of one of ours."""

    name: Annotated[str, AfterValidator(_ack_pattern)] = "ACK_{name}"
    """`{name}` is the name of our file."""
    folder: str | None = None
    """Where it is put; by default in the folder of our files."""
    days: Annotated[int, Field(ge=1, le=366)] = 5
    """How many days an answer is waited for; then it is late, and goes on being waited for."""


class FormatSettings(Settings):
    """How a file is called, and what stands in it."""

    name: Annotated[str, AfterValidator(_name_pattern)] = "unefois-{date}-{number}.csv"
    """`{number}` is the sequence, six digits; `{date}` the day in UTC, yyyymmdd."""
    rows: Annotated[int, Field(ge=1, le=ROWS_MOST)] | None = None
    """The most rows of one file; the next one takes what comes beyond. 1: a file for each delivery. By default all of a
    run."""
    format: Format = "csv"
    """`csv`; `jsonl`, a JSON object on each line; `fixed`, columns of a fixed width; `xml`, by a template. `name` has
    the ending."""
    template: Path | None = None
    """The XML document that is filled, where the format is `xml`."""
    xsd: Path | None = None
    """The XML Schema that every document is checked against before it is visible."""
    widths: Mapping[str, int] = Field(default_factory=dict)
    """Characters of each column, where the format is `fixed`: `{NOM: 80, SEXE: 1}`, in the order of the mapping."""
    encoding: Encoding = "utf-8"
    lacking: Literal["refuse", "transliterate"] = "refuse"
    """What happens to a character that the encoding lacks: œ, € and ’ in Latin-1. `transliterate`: it is written with
    letters that there are, and counted in the log."""
    delimiter: Literal[";", ",", "\t", "|"] = ";"
    line_end: Literal["crlf", "lf"] = "crlf"
    quote: Literal["needed", "all"] = "needed"
    header: bool = True
    decimal: Literal["point", "comma"] = "point"
    """How a decimal number is written: `12.50` or `12,50`. Texts stay as they are."""
    guard: bool = True
    """An apostrophe before cells that a spreadsheet would take for a formula."""
    acknowledgement: AcknowledgementSettings | None = None
    """Where the agency's program answers each line by a file: `name`, `ACK_{name}` by default; `folder`; `days` that an
    answer is waited for. Until then a delivery waits for a human."""


class FileSettings(FormatSettings):
    """Settings of a `file` connector."""

    folder: Path
    """Where the files go; it must exist, on one file system with itself (no network drive without rename)."""
    marker: Marker | None = None
    """The ending of an empty file that is made last, beside each file: `.ok`. Its taker removes it after the file."""
    permissions: Annotated[str, StringConstraints(pattern=r"^0[46][0-7]{2}$")] = "0640"
    journal: Path | None = None
    """Where the journal is; by default hidden in the folder. Move it where the agency's program clears the folder."""


class SftpSettings(FormatSettings):
    """Settings of an `sftp` connector."""

    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]
    """The server's name or address."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 22
    user: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,100}$")]
    """The account there."""
    host_keys: Annotated[tuple[str, ...], Field(min_length=1, max_length=8)]
    """The server's public keys, as `ssh-keyscan` prints them and its administrator confirms them:
    `ssh-ed25519 AAAAC3...`. No other server is spoken to."""
    key_file: Path | None = None
    """The private key, in a file that nobody else may read; without a pass phrase."""
    password: Secret | None = None
    """The password, where there is no key."""
    folder: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]{1,1000}$")]
    """Where the files go, on the server; it must exist."""
    upload_folder: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]{1,1000}$")] | None = None
    """Where a file is until it is whole, on the same disk of the server; by default hidden in `folder`."""
    complete: Literal["rename", "marker"] = "rename"
    """How the taker knows that a file is whole: it is `rename`d then; or, where the server renames nothing, by the
    `marker` alone."""
    marker: Marker | None = None
    """The ending of an empty file that is made last, beside each file: `.ok`. Its taker removes it after the file."""
    journal: Path
    """A file of this connector's, on this machine; one process has it at a time."""
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 20
    """How long the server is waited for at each step, in seconds; a shorter `deadline_s` of the route ends the wait."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.complete == "marker" and (self.marker is None or self.upload_folder is not None):
            raise ValueError("complete: marker needs a marker, and no upload_folder")
        if (self.key_file is None) is (self.password is None):
            raise ValueError("either key_file or password")
        return self
