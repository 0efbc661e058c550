"""Pseudonyms: stable in a sector, unlinkable between sectors, shown in base32."""

import hmac
from hashlib import sha256
from typing import Any

import pytest

from schemas.names import SubjectRef
from schemas.pseudonym import pseudonym, sector_key, shown

MASTER = bytes(range(32))
SUBJECT = SubjectRef(bytes(32))


def test_the_bytes_are_those_of_the_protocol() -> None:
    info = b"unefois/pseudonym/v1\x00" + b"\x00\x06" + "santé".encode()
    extracted = hmac.digest(bytes(32), MASTER, sha256)
    key = hmac.digest(extracted, info + b"\x01", sha256)
    assert key == sector_key(MASTER, "santé")
    assert hmac.digest(key, SUBJECT, sha256)[:20] == pseudonym(key, SUBJECT)


def test_a_citizen_has_one_number_in_a_sector_and_another_in_each_other() -> None:
    numbers = {pseudonym(sector_key(MASTER, sector), SUBJECT) for sector in ("tax", "tax", "family")}
    assert 2 == len(numbers)


def test_two_citizens_have_two_numbers() -> None:
    key = sector_key(MASTER, "tax")
    assert pseudonym(key, SUBJECT) != pseudonym(key, SubjectRef(b"\x01" + bytes(31)))


def test_another_master_key_gives_other_numbers() -> None:
    assert sector_key(MASTER, "tax") != sector_key(bytes(32), "tax")


@pytest.mark.parametrize("sector", ["", "a" * 65, "two\nlines", "sante\u0301"])
def test_a_sector_that_is_not_plain_text_is_refused(sector: str, world: Any) -> None:
    assert "pseudonym.sector" == world.code_of(lambda: sector_key(MASTER, sector))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_master_key_of_another_length_is_a_mistake_of_ours(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        sector_key(bytes(size), "tax")


def test_a_pseudonym_is_shown_as_32_characters_of_base32() -> None:
    assert "A" * 32 == shown(bytes(20))
    assert "7" * 32 == shown(b"\xff" * 20)


def test_bytes_that_are_no_pseudonym_are_not_shown() -> None:
    with pytest.raises(ValueError, match="20 bytes"):
        shown(bytes(19))
