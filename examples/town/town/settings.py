"""Settings: where the broker is, who we are, our key and token: `town.toml`, or the file that a sandbox writes.

Refuses: a file that lacks a setting, by its name (KeyError).
Keeps: keys and tokens are in files of their own, which their owner alone reads; no repr shows them.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from unefois_agency.connectors.sdk import PartyId, Pin, sealing_key
from unefois_agency.schemas.hpke import SealingKey, Suite


@dataclass(frozen=True)
class Settings:
    """What the town's program has to know."""

    broker: str
    token: str = field(repr=False)
    party: PartyId
    keys: Mapping[bytes, SealingKey] = field(repr=False)
    database: Path
    ends: Path
    pin: Pin
    """What is remembered of the broker's directory; in a sandbox, which is new each time, for as long as we run."""


def load(folder: Path) -> Settings:
    """The settings of a folder; those of a sandbox, or of the conformance kit, if the environment names its file."""
    data = Path(os.environ.get("TOWN_DATA", folder))
    stores = {"database": data / "town.db", "ends": data / "ends.db"}
    if sandbox := os.environ.get("UNEFOIS_AGENCY_FILE"):
        told = json.loads(Path(sandbox).read_text("utf-8"))
        keys = [SealingKey.from_raw(Suite[one["suite"].upper()], bytes.fromhex(one["private"]))
                for one in told["sealing_keys"]]  # fmt: skip
        by_kid = {key.kid: key for key in keys}
        return Settings(told["url"], told["token"], PartyId(told["party"]), by_kid, **stores, pin=Pin(None))
    told = tomllib.loads((folder / "town.toml").read_text("utf-8"))
    token = (folder / told["token_file"]).read_text("utf-8").strip()
    key = sealing_key(folder / told["key_file"])
    pin = Pin(data / "directory.pin", told.get("ledger", ""))
    return Settings(told["broker"], token, PartyId(told["party"]), {key.kid: key}, **stores, pin=pin)
