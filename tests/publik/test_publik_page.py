"""What the page for administrators of Publik gives to copy is what the programs take."""

from pathlib import Path

from connectors import strict_yaml
from connectors.contract import checked
from connectors.mapping import load, packaged
from connectors.publik.connector import PublikSettings
from connectors.publik.serve import PublikServeSettings
from tests.docs.pages import DOCS, blocks

PAGE = DOCS / "connectors/publik.md"
FILES = {Path(one.text.splitlines()[0].removeprefix("# ")).name: one.text for one in blocks(PAGE) if one.kind == "yaml"}


def test_the_settings_of_the_page_are_settings_of_the_connector() -> None:
    (route,) = strict_yaml.read(FILES["ville.yaml"].encode())["routes"]  # type: ignore[index]
    assert "publik" == route["connector"]
    assert "reference_source" == checked(PublikSettings, route["settings"]).field


def test_the_file_of_the_page_is_one_of_the_inbound_side() -> None:
    told = strict_yaml.read(FILES["publik.yaml"].encode())
    assert ["adresse"] == list(checked(PublikServeSettings, told).forms)  # type: ignore[arg-type]


def test_every_parameter_that_the_mapping_reads_is_told_to_the_administrator() -> None:
    mapping = load(packaged()["publik-address-changed.in.yaml"])
    given = mapping.tests[0].given
    parameters = {f"{group}/{name}" for group in ("usager", "adresse") for name in given[group]}
    parameters |= given.keys() - {"usager", "adresse"}
    page = PAGE.read_text("utf-8")
    assert [] == sorted(
        one for one in parameters - {"adresse/repetition", "adresse/complement"} if f"`{one}`" not in page
    )


def test_every_code_that_an_administrator_meets_is_on_the_page() -> None:
    page = PAGE.read_text("utf-8")
    for code in (
        "not-let-in",
        "clock",
        "may-not-list",
        "role",
        "unknown-field",
        "value",
        "dropped",
        "may-arrive",
        "busy",
    ):
        assert f"`publik.{code}`" in page
