"""unefois login: a provider on this machine, a browser, a session; whose it is, how long, what is not believed."""

import hmac
import json
import webbrowser
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from broker.setup.opening import system_clock
from schemas.names import Instant
from tests.program import Program
from tests.provider import CLIENT, SECRET, Provider, browse, serving
from tests.unit.broker.cli.test_cli_acts import kinds
from tests.unit.broker.cli.test_cli_operators import People, rows
from tests.world import CAF

STRANGER = rsa.generate_private_key(65537, 2048)


@pytest.fixture
def provider(unefois: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """A provider that the home knows, and a browser."""
    with serving(Provider(system_clock)) as made:
        monkeypatch.setenv("UNEFOIS_OIDC_ISSUER", made.issuer)
        monkeypatch.setenv("UNEFOIS_OIDC_CLIENT_ID", CLIENT)
        monkeypatch.setenv("UNEFOIS_OUTBOUND_ALLOWED", made.issuer.removeprefix("http://"))
        monkeypatch.setenv("UNEFOIS_SESSION_FILE", str(tmp_path / "state" / "unefois" / "session"))
        monkeypatch.setattr(webbrowser, "open", browse)
        yield made


@pytest.fixture
def people(unefois: Program, tmp_path: Path, provider: Provider) -> People:
    """Anne has a key, and signs in too; Bob has none."""
    people = People(unefois, tmp_path)
    people.add("anne", "operator")
    words = ("--role", "operator", "--issuer", provider.issuer, "--subject", "bob-5678")
    people.told("anne", "operator", "add", "bob", *words)
    provider.subject = "bob-5678"
    return people


def login(people: People, *, code: int = 0) -> dict[str, Any]:
    """What the command answers, or the fault."""
    result = people.unefois.run("login", "--json")
    assert code == result.exit_code, result.output
    said = result.stdout if code == 0 else result.stderr.partition("{")[1] + result.stderr.partition("{")[2]
    told: dict[str, Any] = json.loads(said)
    return told if code == 0 else told["error"]


def test_whoever_signs_in_acts_until_the_session_ends(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "bob" == login(people)["name"]
    assert "bob" == people.unefois.told("operator", "whoami")["operator"]["name"]

    people.unefois.told("party", "allow", CAF, "person.died")

    assert ["right_granted", "acted"] == kinds(people.unefois.home)[-2:]
    assert "bob" == people.unefois.told("operator", "acts")["acts"][0]["operator"]
    assert 0 == people.unefois.run("fsck").exit_code
    file = tmp_path / "state" / "unefois" / "session"
    assert (0o600, 0o700) == (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777)
    later = Instant(system_clock() + 61 * 60_000)
    with monkeypatch.context() as patch:
        patch.setattr("broker.setup.opening.system_clock", lambda: later)
        assert "login.session-over" == people.unefois.error("party", "list", code=3)["code"]
    assert {"ended": True} == people.unefois.told("logout")
    assert "operators.who" == people.unefois.error("party", "list", code=3)["code"]


def test_a_secret_is_sent_where_the_provider_gave_one(
    people: People, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.secret = SECRET
    assert "login.refused" == login(people, code=3)["code"]
    monkeypatch.setenv("UNEFOIS_OIDC_CLIENT_SECRET", SECRET)
    assert "bob" == login(people)["name"]


def test_the_account_s_end_ends_the_session(people: People) -> None:
    login(people)
    people.told("anne", "operator", "end", "bob")
    assert "operators.unknown-key" == people.unefois.error("party", "list", code=3)["code"]


def test_a_session_that_was_edited_is_nobody_s(people: People, tmp_path: Path, provider: Provider) -> None:
    login(people)
    file = tmp_path / "state" / "unefois" / "session"
    whole = json.loads(file.read_text())
    for changed in (
        {"subject": "anne-1234"},
        {"expires_at": whole["expires_at"] + 1},
        {"seed": "00" * 32},
        {"mac": ""},
    ):
        file.write_text(json.dumps({**whole, **changed}))
        assert "login.session" == people.unefois.error("party", "list", code=3)["code"], changed
    file.write_text("{}")
    assert "login.session" == people.unefois.error("party", "list", code=3)["code"]


def test_a_session_s_signature_is_the_session_s(people: People) -> None:
    login(people)
    people.unefois.told("party", "allow", CAF, "person.died")
    (document,) = rows(people.unefois.home, "SELECT act FROM operator_acts ORDER BY at DESC LIMIT 1")[0]
    act = json.loads(document)
    assert ("bob", None) == (act["operator"], act["account"]["public"])
    assert "bob-5678" == act["session"]["subject"]
    assert "seed" not in document


def test_somebody_without_an_account_is_told_how_to_get_one(people: People, provider: Provider) -> None:
    provider.subject = "eve-9999"
    error = login(people, code=3)
    assert ("login.no-account", "eve-9999") == (error["code"], error["details"]["subject"])
    assert 3 == people.unefois.run("operator", "whoami", "--json").exit_code


@pytest.mark.parametrize(
    ("spoiled", "wrong"),
    [
        ({"iss": "https://elsewhere.example"}, "iss"),
        ({"aud": "another-client"}, "aud"),
        ({"aud": [CLIENT, "another-client"]}, "azp"),
        ({"azp": "another-client"}, "azp"),
        ({"nonce": "another-nonce-of-22-signs"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"exp": 1}, "exp"),
        ({"exp": None}, "exp"),
        ({"iat": 1}, "iat"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
    ],
)
def test_an_id_token_that_does_not_prove_it_is_refused(
    people: People, provider: Provider, spoiled: dict[str, Any], wrong: str
) -> None:
    provider.spoiled = spoiled
    error = login(people, code=3)
    assert ("login.token", wrong) == (error["code"], error["details"]["wrong"])


def test_an_id_token_by_another_key_is_refused(people: People, provider: Provider) -> None:
    provider.signs_with = STRANGER
    error = login(people, code=3)
    assert ("login.token", "signature") == (error["code"], error["details"]["wrong"])


def test_an_id_token_without_a_signature_or_with_a_shared_secret_is_refused(
    people: People, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for alg in ("none", "HS256"):
        monkeypatch.setattr(Provider, "sign", staticmethod(partial(_forged, alg)))
        assert "login.token" == login(people, code=3)["code"]


def test_another_provider_s_answer_and_a_refusal_are_no_sign_in(people: People, provider: Provider) -> None:
    provider.says_issuer = "https://elsewhere.example"
    assert "login.state" == login(people, code=3)["code"]
    provider.says_issuer, provider.refuses = None, "access_denied"
    error = login(people, code=3)
    assert ("login.refused", "access_denied") == (error["code"], error["details"]["error"])


def test_a_provider_that_is_another_is_not_asked(
    people: People, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNEFOIS_OIDC_ISSUER", provider.issuer + "/")
    assert "login.provider" == login(people, code=3)["code"]


def test_whoever_approves_needs_a_key_that_lasts(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    people.told("anne", "operator", "change", "bob", "--role", "operator", "--role", "approver")
    monkeypatch.setenv("UNEFOIS_FOUR_EYES", "true")
    request = people.unefois.error("party", "allow", CAF, "person.died", "--as", people.key("anne"), code=3)
    login(people)
    assert "approvals.needs-key" == people.unefois.error("approve", request["details"]["id"], code=3)["code"]


def test_without_a_provider_it_says_what_is_missing(unefois: Program) -> None:
    assert "login.not-configured" == unefois.error("login", code=3)["code"]


def _forged(alg: str, claims: dict[str, Any]) -> str:
    """A token by whoever knows no key: unsigned, or signed with what everybody knows."""
    parts = (urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in ({"alg": alg}, claims))
    signed = ".".join(parts)
    mac = hmac.digest(CLIENT.encode(), signed.encode(), sha256)
    return f"{signed}." if alg == "none" else f"{signed}.{urlsafe_b64encode(mac).decode().rstrip('=')}"
