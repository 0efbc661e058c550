"""The pages below `/docs/`: built files and nothing else, under a policy without exceptions; or how to have them."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from broker.web.common import faults
from broker.web.public import site

FILES = {
    "index.html": "<p>front",
    "agency/api.html": "<p>api",
    "fr/index.html": "<p>accueil",
    "_static/page.js": "1",
    "_static/site.css": "p {}",
    "_images/house.svg": "<svg/>",
    "asyncapi.json": "{}",
}


def served(folder: Path) -> TestClient:
    """Somebody who reads."""
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.include_router(site.router(folder))
    faults.register(app)
    return TestClient(app, follow_redirects=False)


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    """A site that was built, beside a file that is not of it."""
    for name, text in FILES.items():
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_text(text)
    (tmp_path / "secret").write_text("secret")
    return served(tmp_path / "site")


@pytest.mark.parametrize(
    ("path", "media"),
    [
        ("", "text/html; charset=utf-8"),
        ("index.html", "text/html; charset=utf-8"),
        ("fr/", "text/html; charset=utf-8"),
        ("agency/api.html", "text/html; charset=utf-8"),
        ("_static/page.js", "text/javascript; charset=utf-8"),
        ("_static/site.css", "text/css; charset=utf-8"),
        ("_images/house.svg", "image/svg+xml"),
        ("asyncapi.json", "application/json"),
    ],
)
def test_each_file_is_served_as_what_it_is(client: TestClient, path: str, media: str) -> None:
    answer = client.get(f"/docs/{path}")

    assert (200, media) == (answer.status_code, answer.headers["content-type"])
    assert FILES[f"{path}index.html" if path in {"", "fr/"} else path] == answer.text
    assert "public, max-age=300" == answer.headers["cache-control"]


def test_the_policy_names_no_place_but_this_one_and_no_exception(client: TestClient) -> None:
    policy = client.get("/docs/").headers["content-security-policy"]

    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_who_has_a_page_gets_no_bytes(client: TestClient) -> None:
    tag = client.get("/docs/").headers["etag"]
    again = client.get("/docs/", headers={"If-None-Match": tag})

    assert (304, b"") == (again.status_code, again.content)
    assert "content-security-policy" in again.headers
    assert (200, b"") == (client.head("/docs/").status_code, client.head("/docs/").content)


def test_the_bare_word_leads_to_the_front_page(client: TestClient) -> None:
    answer = client.get("/docs")
    assert (308, "/docs/") == (answer.status_code, answer.headers["location"])


@pytest.mark.parametrize(
    "path", ["never.html", "agency", "../secret", "%2e%2e/secret", "..%2fsecret", "agency/../index.html", "/index.html"]
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    answer = client.get(f"/docs/{path}")
    assert answer.status_code == 404 or answer.text == FILES["index.html"]  # a client may tidy a path by itself
    assert "secret" not in answer.text


def test_where_the_pages_were_not_built_the_answer_says_how_to_have_them(tmp_path: Path) -> None:
    answer = served(tmp_path / "site").get("/docs/", headers={"Accept-Language": "fr"})

    assert (404, "docs.not-built") == (answer.status_code, answer.json()["code"])
    assert "`make docs`" in answer.json()["detail"]
    assert not site.has_page("errors.html", tmp_path / "site")
