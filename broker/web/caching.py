"""Caching: exact bytes with the digest that they are known by, and no bytes for whoever has them already.

Refuses: nothing.
Keeps: a tag is of the content, so the same bytes have one tag in every process.
Source: RFC 9110, sections 8.8.3 and 13.1.2.
"""

from hashlib import sha256

from fastapi import Request, Response


def exact(request: Request, content: bytes, media_type: str, caching: str) -> Response:
    """These bytes, or 304 when the request names them. `caching` is the header `Cache-Control`."""
    tag = f'"{sha256(content).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": caching}
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
