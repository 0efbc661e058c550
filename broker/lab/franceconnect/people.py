"""People: the fictional citizens that this provider lets in with one click. None of them exists."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Person:
    """`key`: names them for the provider; `claims`: as FranceConnect tells them (`identite_pivot`); `most`: the highest
    level of the means that they have; `helped`: the scopes of Aidants Connect, where an agent sits with them.
    """

    key: str
    claims: tuple[tuple[str, str | tuple[str, ...]], ...]
    most: str = "eidas3"
    helped: tuple[str, ...] = ()

    @property
    def told(self) -> dict[str, object]:
        """The claims of their identity."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self.claims}


def person(
    key: str, family: str, given: tuple[str, ...], birth: str, *, gender: str = "female", place: str = "35238"
) -> Person:
    """Somebody born in France, who has every means."""
    claims: tuple[tuple[str, str | tuple[str, ...]], ...] = (
        ("family_name", family),
        ("given_name", " ".join(given)),
        ("given_name_array", given),
        ("birthdate", birth),
        ("gender", gender),
        ("birthplace", place),
        ("birthcountry", "99100"),
        ("preferred_username", family),
    )
    return Person(key, claims)


_ABROAD: Final = person("tomas", "Ferreira", ("Tomás",), "1979-00-00", gender="male", place="").claims
PEOPLE: Final = (
    person("maiwenn", "Kerouédan", ("Maïwenn", "Anne"), "1988-03-14", place="29232"),
    person("elise", "Martin", ("Élise",), "1985-04-12", place="44109"),
    Person("yann", person("yann", "Martin", ("Yann",), "1985-04-12", gender="male", place="44109").claims, "eidas1"),
    Person("tomas", (*(one for one in _ABROAD if one[0] != "birthcountry"), ("birthcountry", "99139"))),
    Person(
        "jeanne",
        person("jeanne", "Le Goff", ("Jeanne", "Marie"), "1941-07-02").claims,
        helped=("LOGEMENT", "SOCIAL_SANTE"),
    ),
)
