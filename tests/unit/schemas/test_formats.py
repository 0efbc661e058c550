import pytest
from stdnum import iban

from schemas.errors import Refused
from schemas.formats import FORMATS, Warning

GOOD = {
    "text": ["anything at all", "été"],
    "date": ["2026-11-24", "2024-02-29", "1800-01-01", "2199-12-31"],
    "partial-date": ["1962", "1962-08", "1962-08-24", "2024-02-29"],
    "iban": [
        "FR7630006000011234567890189",
        "DE89370400440532013000",
        "MC5811222000010123456789030",
        "BE71096123456769",
    ],
    "iban-ending": ["0189", "A1B2"],
    "bic": ["AGRIFRPP", "AGRIFRPP882", "BNPAFRPPXXX"],
    "siret": ["21350238800019", "13002526500013"],
    "nir": ["295109912611193", "253072B07300470", "253072A07300443"],
    "cog-commune": ["35238", "2A004", "75115", "97411"],
    "cog-commune-ever": ["35238", "20004", "75001"],
    "cog-country": ["99100", "99352"],
    "cog-country-ever": ["99100", "99115"],
    "email": [
        "jeanne@exemple.fr",
        "j.d+caf@mail.exemple.gouv.fr",
        "o'neil@exemple.org",
        "a" * 64 + "@exemple.fr",
        "j@" + "a." * 125 + "fr",
        "a@xn--bcher-kva.example",
    ],
    "phone": ["+33612345678", "+262692123456", "+1202555012345"],
    "postcode": ["35000", "SW1A 1AA", "1234-567", "4"],
    "language": ["fr", "pt-BR", "gcf"],
    "vehicle-plate": ["AB-123-CD", "1234 AB 56", "1 A 2A", "123 ABC 974"],
    "uuid": ["0192f3a1-7b2c-7d4e-8f50-61728394a5b6"],
    "ban-key": ["35238_7470_00012", "35238_7470_00012_bis", "2A004_b123", "75115_abc123_00001"],
    "ban-id": ["9b5cbf9e-0c3f-4a4c-9a5d-3b7a5d0e2c11"],
    "military-sector": ["00200", "00595", "00899"],
}

BAD = {
    "date": [
        "2026-02-30",
        "2023-02-29",
        "2026-13-01",
        "2026-1-1",
        "20261124",
        "2026-11-24T00:00",
        "0206-11-24",
        "24/11/2026",
        "2026-11-24\n",
        "2026-W48-2",
        "",
        "٢٠٢٦-11-24",
        "1962",
    ],
    "partial-date": ["1962-00-00", "1962-08-00", "1962-13", "62", "1962-", "1962-8", "1962-02-30", "1799", "2200", ""],
    "iban": [
        "FR7630006000011234567890188",
        "FR76 3000 6000 0112 3456 7890 189",
        "fr7630006000011234567890189",
        "FR763000600001123456789018",
        "ZZ7630006000011234567890189",
        "",
        "FR76",
        "DE8937040044053201300",
        "BE68-5390-0754-7034",
    ],
    "iban-ending": ["018", "01890", "018a", ""],
    "bic": ["AGRIFRP", "AGRIFRPP8", "AGRI1RPP", "agrifrpp", "AGRIZZPP", "AGRI FRPP", ""],
    "siret": ["21350238800018", "2135023880001", "213 502 388 00019", ""],
    "nir": [
        "295109912611192",
        "2951099126111",
        "2 95 10 99 126 111 93",
        "995109912611135",
        "295009912611108",
        "253072b07300470",
        "",
    ],
    "cog-commune": ["35000", "99352", "2a004", "", "3523"],
    "cog-commune-ever": ["35000", "99100"],
    "cog-country": ["99999", "FR", "FRA", "35238", ""],
    "cog-country-ever": ["99999"],
    "email": [
        "jeanne",
        "@exemple.fr",
        "jeanne@",
        "jeanne@exemple",
        "jeanne@@exemple.fr",
        "je anne@exemple.fr",
        ".j@exemple.fr",
        "j..d@exemple.fr",
        "j@-exemple.fr",
        "j@exemple..fr",
        "j@Exemple.fr",
        "jé@exemple.fr",
        "j@1.2.3.4",
        "a" * 65 + "@exemple.fr",
        "j@" + "a." * 130 + "fr",
        "j@exemple.fr\n",
        "<j@exemple.fr>",
        "",
    ],
    "phone": ["0612345678", "+33 6 12 34 56 78", "33612345678", "+0612345678", "+33", "+3361234567890123", ""],
    "postcode": ["", "35000 ", "é", "35_000", "12345678901"],
    "language": ["FR", "français", "f", "fr-fr", ""],
    "vehicle-plate": ["AB123CD", "ab-123-cd", "AB-1234-CD", "1234 AB", ""],
    "uuid": ["0192F3A1-7B2C-7D4E-8F50-61728394A5B6", "0192f3a17b2c7d4e8f5061728394a5b6", "0192f3a1", ""],
    "ban-key": ["7470_00012", "35238-7470-00012", "35238_7470_12", ""],
    "ban-id": ["35238_7470_00012", "9B5CBF9E-0C3F-4A4C-9A5D-3B7A5D0E2C11", "9b5cbf9e0c3f4a4c9a5d3b7a5d0e2c11", ""],
    "military-sector": ["35000", "00199", "00900", "0595", "SP 69411", ""],
}

CODES = {
    "cog-commune": "values.commune",
    "cog-commune-ever": "values.commune",
    "cog-country": "values.country",
    "cog-country-ever": "values.country",
}


def refusal(name, text):
    """Code, place and details, or None for what is taken."""
    try:
        FORMATS[name](text)
    except Refused as fault:
        return fault.code, fault.pointer, fault.details


@pytest.mark.parametrize("name", GOOD)
def test_a_text_in_its_canonical_form_is_taken_without_a_warning(name):
    assert [] == [text for text in GOOD[name] if FORMATS[name](text) is not None]


@pytest.mark.parametrize("name", BAD)
def test_a_text_not_in_its_canonical_form_is_refused_without_being_repeated(name):
    expected = (CODES.get(name, f"values.{name}"), "", {})
    assert {} == {text: told for text in BAD[name] if (told := refusal(name, text)) != expected}


def test_every_format_has_examples_of_both_sorts():
    assert set(FORMATS) == set(GOOD)
    assert set(FORMATS) - {"text"} == set(BAD)


@pytest.mark.parametrize("digits", ["01", "99"])
def test_iban_check_digits_that_only_the_remainder_allows_are_refused(digits):
    texts = (f"DE{digits}{37040044_0532013000 + number:018d}" for number in range(100))
    found = next(text for text in texts if int("".join(str(int(each, 36)) for each in text[4:] + text[:4])) % 97 == 1)
    assert iban.is_valid(found)
    with pytest.raises(Refused):
        FORMATS["iban"](found)


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("cog-commune", "20004", "values.former-commune"),
        ("cog-country", "99141", "values.former-country"),
        ("cog-country", "99115", "values.former-country"),
    ],
)
def test_a_former_code_is_taken_with_a_warning(name, text, code):
    assert Warning(code) == FORMATS[name](text)
