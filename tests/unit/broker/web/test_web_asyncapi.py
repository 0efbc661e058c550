"""The catalogue's AsyncAPI document is served to anyone."""

import json

import httpx2
import pytest
from fastapi import FastAPI

from broker.web.public import asyncapi as served
from schemas import asyncapi, catalogue

pytestmark = pytest.mark.asyncio


async def test_it_is_the_document_of_this_programs_catalogue() -> None:
    app = FastAPI()
    app.include_router(served.router(catalogue.builtin()))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://broker.example") as client:
        told = await client.get("/asyncapi.json")

    made = asyncapi.document(catalogue.builtin(), told.json()["info"]["version"])
    assert (200, "application/json") == (told.status_code, told.headers["Content-Type"])
    assert json.loads(json.dumps(made)) == told.json()
