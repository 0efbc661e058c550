"""Sources: the files from which settings are read besides the environment: secrets, and `unefois.toml`.

Refuses: the same secret given twice; a file that cannot be read, or is no TOML, by its line.
Keeps: nothing of a file's content is in a refusal.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from schemas.errors import Refused
from schemas.text import from_utf8

PREFIX: Final = "UNEFOIS_"
FILE: Final = "unefois.toml"
SECRETS: Final = (
    *("keys_passphrase", "database_url", "endings_database_url", "kafka_password", "mail_password"),
    *("oidc_client_secret", "sms_token", "franceconnect_client_secret", "franceconnect_client_key"),
    *("franceconnect_decryption_key", "franceconnect_plus_client_secret", "franceconnect_plus_client_key"),
    "franceconnect_plus_decryption_key",
)
"""These may also be given as a file: UNEFOIS_<NAME>_FILE."""
SECRET_FILE_BYTES: Final = 16384


class SecretFiles(PydanticBaseSettingsSource):
    """Secrets from files that the environment names; one final line break is not part of a secret."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return {name: told for name in SECRETS if (told := _secret_file(name, os.environ)) is not None}


def _secret_file(name: str, environment: Mapping[str, str]) -> str | None:
    variable = f"{PREFIX}{name.upper()}"
    path = environment.get(f"{variable}_FILE")
    if path is None:
        return None
    if variable in environment:
        raise Refused("settings.twice", f"/{name}", key=variable)
    try:
        return whole(name, secret_in(Path(path), name))
    except Refused as refused:
        raise Refused(refused.code, f"/{name}", key=f"{variable}_FILE") from None


def secret_in(path: Path, name: str) -> str:
    """The secret that a file holds, as settings read it. Raises Refused `settings.secret-file`."""
    try:
        content = path.read_bytes()
    except OSError:
        raise Refused("settings.secret-file", f"/{name}", key=str(path)) from None
    secret = from_utf8(content)
    if secret is None or len(content) > SECRET_FILE_BYTES:
        raise Refused("settings.secret-file", f"/{name}", key=str(path))
    return secret.removesuffix("\n").removesuffix("\r")


def whole(name: str, secret: str) -> str:
    """A secret that is one. Raises Refused `settings.empty-secret`: nothing, or white space, protects nothing."""
    if not secret.strip():
        raise Refused("settings.empty-secret", f"/{name}", key=name)
    return secret


def read_toml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        raise Refused("settings.not-toml", line=0) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        line = re.search(r"at line (\d+)", str(wrong))  # without it, the end of the file came too early
        raise Refused("settings.not-toml", line=int(line[1]) if line else text.count("\n") + 1) from None
