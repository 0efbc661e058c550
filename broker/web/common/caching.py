"""Caching: exact bytes with the digest that they are known by, and no bytes for whoever has them already.

Refuses: a change of what is not any more as its author saw it.
Keeps: a tag is of the content, so the same bytes have one tag in every process.
Source: RFC 9110, sections 8.8.3, 13.1.1 and 13.1.2.
"""

from hashlib import sha256

from fastapi import Request, Response

from schemas.errors import Refused


def exact(request: Request, content: bytes, media_type: str, caching: str) -> Response:
    """These bytes, or 304 when the request names them. `caching` is the header `Cache-Control`."""
    tag = tag_of(content)
    headers = {"ETag": tag, "Cache-Control": caching}
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


def tag_of(content: bytes) -> str:
    """The entity tag of exact bytes."""
    return f'"{sha256(content).hexdigest()}"'


def check_match(request: Request, content: bytes) -> None:
    """Let a change go on only from what its author saw, where `If-Match` says what that was.

    Raises Refused `api.changed-meanwhile`.
    """
    told = request.headers.getlist("if-match")
    known = [each.strip() for line in told for each in line.split(",")]
    if told and "*" not in known and tag_of(content) not in known:
        raise Refused("api.changed-meanwhile")
