"""A client that a common generator makes of the served OpenAPI document is typed, and works against that broker."""

import httpx2
import pytest

from tests.agency.conftest import TOWN, Served
from tests.agency.foreign.clients import Room


@pytest.mark.proof
def test_a_client_that_was_made_of_the_document_is_typed_and_pulls_and_acknowledges(room: Room, served: Served) -> None:
    checked = room.typed(httpx2.get(f"{served.address}/v1/openapi.json").content)
    folder, program = room.folder / "openapi", "pulls"
    text = (folder / f"{program}.py").read_text("utf-8")
    wrong = text.replace("left.waiting", "left.wating").replace("one.id for", "one.ids for")
    (folder / "wrong.py").write_text(wrong, "utf-8")
    served.declare("Généré")
    served.arrived()

    assert "Success: no issues found in 1 source file" == checked(program).strip()
    found = checked("wrong")
    assert '"Delivery" has no attribute "ids"' in found
    assert '"Status" has no attribute "wating"' in found
    assert "Found 2 errors in 1 file (checked 1 source file)" == found.splitlines()[-1]

    seen = room.run("openapi-python-client", broker=served.address, token=served.token(TOWN, "receive", "read"))

    assert seen["ids"]
    assert seen["ids"] == seen["applied"]
    assert seen["locked"] > 100
    assert (0, True) == (seen["waiting"], seen["year"] > 2000)


def test_what_is_refused_is_typed_too(room: Room, served: Served) -> None:
    room.typed(httpx2.get(f"{served.address}/v1/openapi.json").content)

    told = room.run("openapi-python-client", code=1, broker=served.address, token="never")

    assert told.startswith("credentials.unknown 401: ")


@pytest.mark.parametrize("path", ["/oauth2/openapi.json", "/openapi.json"])
def test_the_other_documents_make_a_client_without_a_warning(room: Room, served: Served, path: str) -> None:
    room.typed(httpx2.get(f"{served.address}{path}").content)
