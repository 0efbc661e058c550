"""Secrets of a connector's settings: written there, or in a file of their own that only the program reads.

    password: {file: /run/secrets/town-database}        the file's text, without the newline at its end

Refuses: a file that cannot be read, is empty, or is larger than 64 KiB.
Keeps: a secret is in no repr, no error and no JSON.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, SecretStr, WithJsonSchema
from pydantic_core import PydanticCustomError

MOST: Final = 64 * 1024


def _read(given: object) -> object:
    """The secret itself, of what was given."""
    if not (isinstance(given, Mapping) and given.keys() == {"file"} and isinstance(given["file"], str | Path)):
        return given
    try:
        with Path(given["file"]).open("rb") as file:
            raw = file.read(MOST + 1)
        text = raw.decode("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text or len(raw) > MOST:
        raise PydanticCustomError("secret_file", "the secret's file cannot be read, is empty, or too large")
    return text


Secret = Annotated[
    SecretStr,
    BeforeValidator(_read),
    WithJsonSchema(
        {
            "oneOf": [
                {"type": "string", "format": "password", "writeOnly": True},
                {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"],
                 "additionalProperties": False},
            ]
        }
    ),
]  # fmt: skip
"""A text, or `{file: PATH}`."""
