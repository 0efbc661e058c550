"""The protocol's own records are plain Avro records, each named type defined where it first stands."""

import json
from typing import Any

import pytest

from schemas import avro, wire
from schemas.errors import Refused
from schemas.names import Kid, PartyId
from schemas.wire import FIXED16, FIXED32, Signature


def test_a_type_used_twice_is_defined_once() -> None:
    schema = wire.schema("R", ("a", FIXED32), ("b", ["null", FIXED16]), ("c", wire.array(FIXED16)), ("d", FIXED32))
    fields = {field["name"]: field["type"] for field in json.loads(schema.raw)["fields"]}
    assert {"type": "fixed", "name": "Fixed32", "size": 32} == fields["a"]
    assert ["null", {"type": "fixed", "name": "Fixed16", "size": 16}] == fields["b"]
    assert {"type": "array", "items": "Fixed16"} == fields["c"]
    assert "Fixed32" == fields["d"]


def test_the_schema_encodes_what_it_says() -> None:
    schema = wire.schema("R", ("a", "int"), ("b", FIXED16))
    assert b"\x02" + bytes(16) == avro.encode(schema, {"a": 1, "b": bytes(16)})


def test_signatures_survive_being_written_down() -> None:
    signatures = (Signature(Kid(bytes(32)), b"one"), Signature(Kid(b"\x01" * 32), b"two"))
    assert signatures == wire.read_signatures(wire.written_signatures(signatures))


def test_a_member_that_is_refused_is_pointed_to() -> None:
    raw: dict[str, Any] = {"source": "nobody"}
    with pytest.raises(Refused) as caught:
        wire.member(raw, "source", PartyId)
    assert ("name.party", "/source") == (caught.value.code, caught.value.pointer)
