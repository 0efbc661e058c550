"""Answered: how a route declares the form of what it answers, and the one form of every refusal.

    @routes.get("/status", responses=answers(Status))

Refuses: nothing.
Keeps: a declared form is for the OpenAPI document alone. FastAPI neither checks an answer against it nor writes it
anew, so it costs nothing where a request is answered; the tests show on a running broker that each answer has its form.
Source: OpenAPI 3.1, RFC 9457.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from broker.web.common.problems import KIND

JSON: Final = "application/json"
NOT_CHANGED: Final = "Not changed since the ETag that `If-None-Match` names."
FRAMEWORKS: Final = ("HTTPValidationError", "ValidationError")
"""FastAPI's own form of a refusal, which nobody gets here."""

Reference = Annotated[
    str, Field(description="Opens the documentation of the code.", json_schema_extra={"format": "uri-reference"})
]
Code = Annotated[str, Field(description="What is wrong, as a word that stays: `/docs/errors.html` lists them.")]


class FieldProblem(TypedDict):
    """One member of a request that is wrong."""

    pointer: Annotated[str, Field(description="JSON pointer (RFC 6901) into what was sent.")]
    code: Code
    detail: str


class Problem(TypedDict):
    """Why it was refused, or cannot be done now: problem details (RFC 9457)."""

    type: Annotated[
        str, Field(description="Opens the documentation of the code.", json_schema_extra={"format": "uri-reference"})
    ]
    title: Annotated[str, Field(description="What is wrong, in the language of `Accept-Language`.")]
    status: int
    detail: Annotated[str, Field(description="What to do, in the same language.")]
    code: Code
    trace_id: NotRequired[Annotated[str, Field(description="Of this request; the broker's log has it, too.")]]
    errors: NotRequired[list[FieldProblem]]


def answers(form: Any, status: int = 200, **more: Any) -> dict[int | str, dict[str, Any]]:
    """The argument `responses` of a route that answers with this form, a TypedDict, when it did what was asked."""
    return {status: {"model": form, **more}}


def refusals(more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The answers that every operation may give; `more`: other media types in which it refuses, with their schemas."""
    problem = {KIND: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        "4XX": {"description": "Refused: `code` says why, `errors` where.", "content": {**problem, **(more or {})}},
        "5XX": {"description": "Not now, or a fault of the broker's own.", "content": problem},
    }


def add_problem(made: dict[str, Any]) -> None:
    """Put the forms that `refusals` names into a document, in the place of FastAPI's own."""
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for name in FRAMEWORKS:
        schemas.pop(name, None)
    told = TypeAdapter(Problem).json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
    schemas.update(told.pop("$defs"))
    schemas["Problem"] = told


def operations(made: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation of a document with its method, in capitals, and its path."""
    for path, item in made["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def tidy(operation: Mapping[str, Any]) -> None:
    """Of a declared form, leave what was declared alone: FastAPI adds what it reads from the function's annotation, and
    titles that no reader needs.
    """
    for answer in operation["responses"].values():
        for told in answer.get("content", {}).values():
            schema = told.get("schema", {})
            schema.pop("title", None)
            if "$ref" in schema:
                told["schema"] = {"$ref": schema["$ref"]}
