"""Letters and words."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.text import ascii_letters, encodable, pad, squeeze, strip_accents, transliterate, words
from schemas.errors import Refused


def test_accents_fall_and_other_letters_stay() -> None:
    assert "Elodie Cœur ç Øystein".replace("ç", "c") == strip_accents("Élodie Cœur ç Øystein")


def test_ascii_has_a_counterpart_for_each_french_letter_and_sign() -> None:
    assert "OEuvre d'Ete - 5 EUR, ca ..." == ascii_letters("Œuvre d’Été – 5 €, ça …")


def test_ascii_refuses_what_has_no_counterpart() -> None:
    with pytest.raises(Refused) as caught:
        ascii_letters("Иван")
    assert "mapping.not-ascii" == caught.value.code


def test_transliteration_touches_only_what_the_encoding_lacks() -> None:
    assert "Coeur d'Été à 5 EUR" == transliterate("Cœur d’Été à 5 €", "iso-8859-1")
    assert "Cœur d'Été à 5 €" == transliterate("Cœur d’Été à 5 €", "iso-8859-15")
    assert "Cœur d’Été à 5 €" == transliterate("Cœur d’Été à 5 €", "cp1252")


@given(st.text(st.characters(max_codepoint=0x24F, exclude_categories=["Cc", "Cs"]), max_size=30))
def test_a_text_that_the_encoding_has_is_left_alone(text: str) -> None:
    assert (transliterate(text, "iso-8859-1") == text) >= encodable(text, "iso-8859-1")


@given(st.text(max_size=30))
def test_stripping_accents_twice_is_stripping_them_once(text: str) -> None:
    once = strip_accents(text)
    assert once == strip_accents(once)
    assert unicodedata.is_normalized("NFC", once)


def test_words_are_cut_at_spaces_of_any_kind() -> None:
    assert (["a", "b"], "a b") == (words("  a \t b "), squeeze("  a \t b "))


def test_padding_fills_to_the_width_on_either_side() -> None:
    assert ("00042", "NANTES    ") == (pad("42", 5, "0", right=False), pad("NANTES", 10, " ", right=True))


@pytest.mark.parametrize(
    ("code", "text", "width", "fill"),
    [
        ("mapping.too-long", "NANTES", 5, " "),
        ("mapping.width", "a", 0, " "),
        ("mapping.width", "a", 1_001, " "),
        ("mapping.width", "a", 2.0, " "),
        ("mapping.width", "a", 5, ""),
        ("mapping.width", "a", 5, "ab"),
    ],
)
def test_padding_never_cuts(code: str, text: str, width: object, fill: str) -> None:
    with pytest.raises(Refused) as caught:
        pad(text, width, fill, right=True)
    assert code == caught.value.code
