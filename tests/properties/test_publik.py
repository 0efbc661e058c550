"""Whatever is sent to Publik: it is signed so that w.c.s. takes it, and what passes our look at it is kept there."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors.contract import Reject
from connectors.publik.form import Form, dropped
from connectors.publik.signing import Nonces, signed, verify
from schemas.names import Instant
from tests.publik.desk import FIELDS
from tests.publik.rules import Access, Door, breaks, stored

AT = Instant(1_772_442_903_000)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMED = {one["varname"]: one for one in FIELDS if "varname" in one and one["type"] != "table"}
NAMES = ["numero", "voie", "étage", "filename", "content", "content_type", "lat", "lon"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.decimals(allow_nan=True)
    | st.text(max_size=12)
    | st.sampled_from(["2026-03-15", "2026-02-30", "Locataire", "35238", "Eau", "QQ==", "a|b", "a\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(TEXTS.map(lambda name: f"q-{name}"), TEXTS, max_size=4), TEXTS, TEXTS.filter(bool))
def test_what_we_sign_is_verified_by_them_and_by_us(query: dict[str, str], orig: str, key: str) -> None:
    told = signed(query, orig, key, AT, bytes)
    door = Door(datetime.fromtimestamp(AT / 1000, UTC), [Access(orig, key)])
    if orig:
        assert "signed" == door.caller(told, {}).way
    assert told.isascii()
    assert query == verify(told, {orig: key}, AT, Nonces())


@given(st.dictionaries(st.sampled_from(sorted(NAMED)), VALUES, max_size=3))
def test_what_passes_our_look_is_kept_by_publik(row: dict[str, Any]) -> None:
    form = Form.of({"fields": FIELDS})
    sent: dict[str, Any] = {}
    with suppress(Reject):  # what is refused is not sent
        sent = form.data(row)
    assert not breaks(sent)
    kept: dict[str, Any] = {}
    for name, value in sent.items():
        made = stored(NAMED[name], value)
        kept[name] = made["text"] if NAMED[name]["type"] == "item" and made else made
        if NAMED[name]["type"] == "item":
            kept[f"{name}_raw"] = made and made["raw"]
    assert [] == dropped({name: row[name] for name in sent}, kept)
    for name, value in sent.items():
        if NAMED[name]["type"] in {"string", "bool", "date", "numeric", "items", "map", "block"}:
            assert value == kept[name]
