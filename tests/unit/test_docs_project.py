"""The files about the project say what is true: catalogue entry, changelog, licence, pins."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CODE: dict[str, Any] = yaml.safe_load((ROOT / "publiccode.yml").read_text("utf-8"))
CHANGES = (ROOT / "CHANGELOG.md").read_text("utf-8")

# publiccode.yml standard, core schema, version 0: what it allows for the keys that we use.
MANDATORY = {
    "publiccodeYmlVersion",
    "name",
    "url",
    "platforms",
    "categories",
    "developmentStatus",
    "softwareType",
    "description",
    "legal",
    "maintenance",
    "localisation",
}
OPTIONAL = {"softwareVersion", "releaseDate", "intendedAudience", "dependsOn", "logo", "landingURL", "roadmap"}
STATUS = {"concept", "development", "beta", "stable", "obsolete"}
TYPES = {f"standalone/{kind}" for kind in ("mobile", "iot", "desktop", "web", "backend", "other")}
CATEGORIES = {"digital-citizenship", "communications", "compliance-management", "it-security"}
SCOPES = {"local-authorities", "welfare", "society"}


class TestPubliccode:
    def test_every_mandatory_key_is_there_and_no_unknown_one(self) -> None:
        assert set(CODE) >= MANDATORY
        assert set(CODE) <= MANDATORY | OPTIONAL

    def test_its_words_are_those_of_the_standard(self) -> None:
        assert CODE["publiccodeYmlVersion"] == "0"
        assert CODE["developmentStatus"] in STATUS
        assert CODE["softwareType"] in TYPES | {"addon", "library", "configurationFiles"}
        assert set(CODE["categories"]) <= CATEGORIES
        assert set(CODE["intendedAudience"]["scope"]) <= SCOPES
        assert re.fullmatch(r"https://\S+\.git", CODE["url"])

    @pytest.mark.parametrize("language", ["en", "fr"])
    def test_each_language_has_its_descriptions_within_their_lengths(self, language: str) -> None:
        told = CODE["description"][language]

        assert set(told) == {"shortDescription", "longDescription", "features"}
        assert 0 < len(told["shortDescription"]) <= 150
        assert 150 <= len(told["longDescription"]) <= 10_000
        assert 5 <= len(told["features"]) <= 20
        assert all(isinstance(each, str) for each in told["features"])

    def test_who_maintains_it_is_named(self) -> None:
        assert CODE["maintenance"]["type"] in {"internal", "contract", "community", "none"}
        assert all(each["name"] for each in CODE["maintenance"]["contacts"])

    def test_it_agrees_with_the_package(self) -> None:
        assert PROJECT["license"] == CODE["legal"]["license"]
        assert PROJECT["version"] == CODE["softwareVersion"]
        assert f">={CODE['dependsOn']['open'][0]['versionMin']}" == PROJECT["requires-python"]
        assert ["fr", "en"] == CODE["localisation"]["availableLanguages"]
        assert CODE["localisation"]["localisationReady"] is True


class TestChangelog:
    def test_its_sections_are_those_of_keep_a_changelog(self) -> None:
        sections = re.findall(r"^## (.+)$", CHANGES, re.MULTILINE)
        kinds = re.findall(r"^### (.+)$", CHANGES, re.MULTILINE)

        assert "[Unreleased]" == sections[0]
        assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", one) for one in sections[1:])
        assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}

    def test_the_packages_version_is_told(self) -> None:
        assert PROJECT["version"] in CHANGES


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_what_a_file_links_to_exists(name: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / name).read_text("utf-8"))

    assert [] == [link for link in links if not (ROOT / link).exists()]


def test_the_pins_of_the_three_sets_agree_and_name_no_address() -> None:
    pins: dict[str, dict[str, str]] = {}
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text("utf-8")
        assert "://" not in text
        for name, version, marker in re.findall(r"^([a-z0-9-]+)(?:\[[a-z]+\])?==(\S+)(.*)\\$", text, re.MULTILINE):
            if not marker.strip():  # one with a marker has a version for each Python
                pins.setdefault(name, {})[path.name] = version

    assert {} == {name: found for name, found in pins.items() if len(set(found.values())) > 1}
