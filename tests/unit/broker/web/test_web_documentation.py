"""The page that a problem's `type` opens: every code is there, in both languages, at the anchor that answers name."""

from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from broker.web.common.problems import problem
from broker.web.public import documentation
from schemas.errors import Refused
from schemas.messages import table


class Page(HTMLParser):
    """Anchors, and the text below each by its language."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.told: dict[str, dict[str, str]] = {}
        self._at: str | None = None
        self._language: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "h2":
            self._at = found["id"] or ""
            self.told[self._at] = {}
        self._language = found.get("lang") if tag == "p" else None

    def handle_data(self, data: str) -> None:
        if self._at is not None and self._language is not None and data.strip():
            self.told[self._at][self._language] = data


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """Somebody who follows a link."""
    app = FastAPI()
    app.include_router(documentation.router())

    @app.get("/fault/{code}")
    async def fault(code: str, request: documentation.Request) -> documentation.Response:
        return problem(Refused(code), 422, request)

    with TestClient(app) as made:
        yield made


def test_the_type_of_a_problem_opens_the_page_at_its_code(client: TestClient) -> None:
    told = client.get("/fault/api.json").json()
    address, anchor = urldefrag(urljoin("http://testserver/fault/api.json", told["type"]))
    answer = client.get(address)

    assert (200, "text/html; charset=utf-8") == (answer.status_code, answer.headers["content-type"])
    assert {told["title"]} == {Page(answer.text).told[anchor]["en"].removesuffix(f" {told['detail']}")}


def test_every_code_is_there_once_in_both_languages(client: TestClient) -> None:
    page = Page(client.get(documentation.PAGE).text)
    expected = {
        code.replace(".", "-"): {"en": f"{told['en']} {told['do_en']}", "fr": f"{told['fr']} {told['do_fr']}"}
        for code, told in table().items()
    }
    assert expected == page.told


def test_who_has_it_already_gets_no_bytes_and_no_page_may_run_anything(client: TestClient) -> None:
    first = client.get(documentation.PAGE)
    again = client.get(documentation.PAGE, headers={"If-None-Match": first.headers["etag"]})
    assert (304, b"") == (again.status_code, again.content)
    assert first.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "<script" not in first.text
