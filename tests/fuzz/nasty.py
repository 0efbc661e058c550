"""Nasty: what no grammar draws, written by hand as bytes: for each address bodies, values, heads, queries, paths and
methods that clients, proxies and strangers have sent to somebody, and messages that lie about where they end.
"""

import gzip
import json
from base64 import b64encode
from collections.abc import Iterator
from random import Random
from typing import Any
from urllib.parse import quote

from broker.web.agencies.examples import EXAMPLES
from broker.web.agencies.tokens import ASSERTION, FORM
from broker.web.public import registry
from schemas import catalogue
from tests.fuzz.asking import Request
from tests.fuzz.drawn import Door, mutated
from tests.fuzz.town import Town
from tests.fuzz.words import HEADS, METHODS, PARTS, QUERIES, VALUES, WHOLE


class Nasty:
    """Everything for one operation, as requests."""

    def __init__(self, town: Town, door: Door, method: str, path: str, chance: Random) -> None:
        self._town, self._chance = town, chance
        self._method, self._path = method, f"{door.prefix}{path}"
        self._label = f"{method} {self._path}"
        operation = door.document["paths"][path][method.lower()]
        media = list(operation.get("requestBody", {}).get("content", {}))
        self._media = media[0] if media else None
        self._words = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"]

    def all(self, token: str | None) -> Iterator[Request]:
        """Each of them once."""
        yield from self._methods(token)
        yield from self._heads(token)
        yield from self._queries(token)
        yield from self._parts(token)
        yield from self._lines(token)
        if self._media is not None:
            yield from self._bodies(token)
            yield from self._values(token)
            yield from self._lies(token)
        if self._media == registry.KIND:
            yield from self._schemas()
        if self._media == "text/plain":
            yield from self._notes()

    def target(self, **instead: str) -> str:
        """The path, with real ids."""
        path = self._path
        for word in self._words:
            real = self._chance.choice(self._town.known.get(word, ["0"]))
            path = path.replace(f"{{{word}}}", instead.get(word, quote(real, safe="")))
        return path

    def request(
        self,
        nasty: str,
        token: str | None,
        *lines: str,
        target: str | None = None,
        body: bytes | None = None,
        method: str | None = None,
        version: str = "1.1",
        **more: Any,
    ) -> Request:
        """One of them."""
        method = method or self._method
        content = self.example() if body is None and self._media is not None else body or b""
        names = {line.partition(":")[0].lower() for line in lines}
        head = [f"{method} {target or self.target()} HTTP/{version}"]
        head += ["Host: fuzz"] if "host" not in names else []
        head += [f"Authorization: Bearer {token}"] if token is not None and "authorization" not in names else []
        head += [f"Content-Type: {self._media}"] if self._media is not None and "content-type" not in names else []
        framed = {"content-length", "transfer-encoding"} & names or (self._media is None and not content)
        head += [] if framed else [f"Content-Length: {len(content)}"]
        head += [*lines] if "connection" in names else [*lines, "Connection: close"]
        raw = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n"
        return Request(self._label, nasty, [raw, content], method, **more)

    def example(self) -> bytes:
        """A body as it should be, or nearly."""
        if self._media == FORM:
            told = f"grant_type=client_credentials&client_assertion_type={quote(ASSERTION, safe='')}&client_assertion="
            return (told + self._chance.choice(self._town.assertions)).encode()
        if self._label == "POST /v1/declarations":
            return self._chance.choice(self._town.envelopes)
        if self._media == "text/plain":
            return self._town.submission
        return json.dumps(self.shown()).encode()

    def shown(self) -> Any:
        """The example's members."""
        if self._label == "POST /v1/declarations:batch":
            return {"declarations": self._chance.sample(self._town.known["declarations"], 2)}
        if self._path.startswith(registry.PREFIX):
            schema = self._chance.choice(list(catalogue.builtin())).schema.raw.decode()
            return {"schema": schema, "schemaType": "AVRO"}
        return EXAMPLES.get((self._method, self._path), {}).get("request", {})

    def _methods(self, token: str | None) -> Iterator[Request]:
        for method in METHODS:
            yield self.request(f"method {method[:10]}", token, method=method, body=b"", may_end=method == "PRI")

    def _heads(self, token: str | None) -> Iterator[Request]:
        for name, lines in HEADS.items():
            yield self.request(f"head: {name}", token, *lines)

    def _queries(self, token: str | None) -> Iterator[Request]:
        for name, query in QUERIES.items():
            yield self.request(f"query: {name}", token, target=f"{self.target()}?{query}")

    def _parts(self, token: str | None) -> Iterator[Request]:
        for word in self._words:
            for name, part in PARTS.items():
                yield self.request(f"{word}: {name}", token, target=self.target(**{word: part}))

    def _lines(self, token: str | None) -> Iterator[Request]:
        """The first line, and the versions of HTTP."""
        path = self.target()
        for name, target in {
            "absolute": f"http://elsewhere.example{path}",
            "slashes": f"/{path}",
            "a slash behind": f"{path}/",
            "dots": f"/x/..{path}",
            "fragment": f"{path}#x",
            "backslash": path.replace("/", "\\"),
            "encoded": quote(path, safe="").replace("%2F", "/", 1),
            "capitals": path.upper(),
            "no slash": path.lstrip("/"),
            "parameters": f"{path};a=b",
        }.items():
            yield self.request(f"target: {name}", token, target=target)
        yield self.request("HTTP/1.0", token, version="1.0")
        yield self.request("HTTP/1.0 that stays", token, "Connection: keep-alive", version="1.0")
        yield self.request("HTTP/9.9", token, version="9.9")
        yield self.request("no host", token, "Host:")
        yield self.request("two hosts", token, "Host: a", "Host: b")
        yield self.request("a head that ends", token, half=True, may_end=True)

    def _bodies(self, token: str | None) -> Iterator[Request]:
        for name, body in WHOLE.items():
            yield self.request(f"body: {name}", token, body=body)

    def _values(self, token: str | None) -> Iterator[Request]:
        """Each value in the place of each leaf of the example, one leaf a value, by chance."""
        if self._media == FORM:
            for name, told in VALUES.items():
                field = self._chance.choice(("grant_type", "client_assertion", "scope", "client_id"))
                body = self.example() + f"&{field}={quote(told[:50_000])}".encode()
                yield self.request(f"value: {name} as {field}", token, body=body)
            return
        shown = self.shown() if self._label != "POST /v1/declarations" else {"x": ""}
        for name, told in VALUES.items():
            for leaf in self._chance.sample(leaves := list(_leaves(shown)), min(2, len(leaves))):
                body = json.dumps(_put(shown, leaf)).replace('"@@"', told).encode("utf-8", "surrogatepass")
                yield self.request(f"value: {name} at {'/'.join(map(str, leaf))}", token, body=body)

    def _schemas(self) -> Iterator[Request]:
        """Schemas that are none, as the registry is sent them: JSON as a text in JSON."""
        shown = json.loads(self._chance.choice(list(catalogue.builtin())).schema.raw)
        texts = {
            name: json.dumps(_put(shown, leaf)).replace('"@@"', told)
            for name, told in VALUES.items()
            for leaf in self._chance.sample(list(_leaves(shown)), 2)
        }
        fields = [{"name": f"f{n}", "type": "string"} for n in range(1_500)]
        record = {"type": "record", "name": "v1", "namespace": "a.b"}
        texts |= {
            "fields": json.dumps(record | {"fields": fields}),
            "fields of one name": json.dumps(record | {"fields": [fields[0]] * 1_500}),
            "a union": json.dumps(["null"] + [{"type": "fixed", "name": f"n{n}", "size": n} for n in range(1_000)]),
            "an enumeration": json.dumps({"type": "enum", "name": "e", "symbols": [f"S{n}" for n in range(6_000)]}),
            "names": json.dumps(record | {"fields": [{"name": "f" * 30_000, "type": "string"}] * 2}),
            "records in records": _nested(90),
            "records in records, deeper": _nested(900),
            "aliases": json.dumps(record | {"aliases": ["a.b.c"] * 5_000, "fields": []}),
            "blanks": json.dumps(shown) + " " * 40_000,
        }
        for name, text in texts.items():
            body = json.dumps({"schema": text}).encode("utf-8", "surrogatepass")
            yield self.request(f"schema: {name}", None, body=body, target=f"{self.target()}?verbose=true")

    def _notes(self) -> Iterator[Request]:
        """Submissions to a witness."""
        first, _, note = self._town.submission.partition(b"\n\n")
        above, _, line = note.partition(b"\n\n")
        own, hashed = line.strip(), b64encode(bytes(32))
        stranger = "\u2014 x ".encode() + b64encode(bytes(68))
        for name, body in {
            "hashes": first + b"\n" + b"\n".join([hashed] * 63) + b"\n\n" + note,
            "a hash too many": first + b"\n" + b"\n".join([hashed] * 64) + b"\n\n" + note,
            "short hashes": first + b"\nAA==" * 63 + b"\n\n" + note,
            "old: huge": b"old " + b"9" * 60_000 + b"\n\n" + note,
            "old: negative": b"old -1\n\n" + note,
            "old: from the future": b"old 18446744073709551616\n\n" + note,
            "old: other digits": "old \uff11\n\n".encode() + note,
            "own line a hundred times": first + b"\n\n" + above + b"\n\n" + b"\n".join([own] * 100) + b"\n",
            "strangers": first + b"\n\n" + above + b"\n\n" + b"\n".join([*[stranger] * 98, own]) + b"\n",
            "too many strangers": first + b"\n\n" + note + b"\n".join([stranger] * 600) + b"\n",
            "a wrong signature": first + b"\n\n" + note.replace(own[-20:], b"A" * 20),
            "size: huge": (first + b"\n\n" + note).replace(b"fuzz\n", b"fuzz\n" + b"9" * 30_000, 1),
            "lines": first + b"\n\n" + b"\n" * 60_000,
            "control": first + b"\n\n" + note.replace(b"fuzz", b"fu\x00zz"),
            "surrogate": first + b"\n\n" + note.replace(b"fuzz", b"fu\xed\xa0\x80zz"),
        }.items():
            yield self.request(f"submission: {name}", None, body=body)
        for number in range(40):
            yield self.request(f"submission: {number}", None, body=mutated(self._town.submission, self._chance))

    def _lies(self, token: str | None) -> Iterator[Request]:
        """Where the message ends."""
        body = self.example()
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
        chunked, end = "Transfer-Encoding: chunked", b"0\r\n\r\n"
        whole = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        for name, sent in {
            "chunks": whole + end,
            "chunks of one byte": chunks + end,
            "an extension": b"%x;%s=y\r\n%s\r\n" % (len(body), b"x" * 1_000, body) + end if body else end,
            "trailers": whole + b"0\r\nX-Late: y\r\nAuthorization: Bearer x\r\n\r\n",
            "zeroes before a size": b"0" * 15 + whole + end,
            "no size": b"\r\n" + whole + end,
            "a size that is none": b"xyz\r\n" + end,
            "a negative size": b"-1\r\n" + end,
            "a size too large": b"f" * 16 + b"\r\nx",
            "longer than said": b"1\r\n" + body + b"\r\n" + end,
            "a request behind": whole + end + b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        }.items():
            yield self.request(f"chunked: {name}", token, chunked, body=sent, half=True, may_end=True)
        yield self.request("chunked: no end", token, chunked, body=whole, half=True, may_end=True)
        yield self.request("chunked: many small ones", token, chunked, body=b"1\r\n \r\n" * 100_000 + end)
        yield self.request(
            "length: longer", token, f"Content-Length: {len(body) + 9}", body=body, half=True, may_end=True
        )
        yield self.request("length: shorter", token, f"Content-Length: {len(body) // 2}", body=body)
        yield self.request(
            "length: twice", token, f"Content-Length: {len(body)}", f"Content-Length: {len(body)}", body=body
        )
        yield self.request("length: differs", token, "Content-Length: 1", "Content-Length: 2", body=body)
        yield self.request("length: huge", token, "Content-Length: " + "9" * 30, body=body, half=True)
        yield self.request("length: none", token, "Content-Length:", body=body)
        yield self.request("length: words", token, "Content-Length: two", body=body)
        yield self.request("length and chunks", token, f"Content-Length: {len(body)}", chunked, body=body)
        yield self.request("HTTP/1.0 in chunks", token, chunked, body=whole + end, version="1.0", may_end=True)
        yield self.request("continue", token, "Expect: 100-continue")
        yield self.request(
            "continue, never", token, "Expect: 100-continue", "Content-Length: 5", body=b"", half=True, may_end=True
        )
        yield self.request("packed: said", token, "Content-Encoding: gzip", body=gzip.compress(body, mtime=0))
        yield self.request("packed: not said", token, body=gzip.compress(body, mtime=0))


def _leaves(told: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Everything that can be replaced, the whole too."""
    yield place
    parts = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else ()
    for name, value in parts:
        yield from _leaves(value, (*place, name))


def _nested(depth: int) -> str:
    """A record in a record in a record."""
    head = "".join(f'{{"type":"record","name":"r{n}","fields":[{{"name":"f","type":' for n in range(depth))
    return f'{head}"string"{"}]}" * depth}'


def _put(told: Any, place: tuple[Any, ...]) -> Any:
    """The same with "@@" there."""
    if not place:
        return "@@"
    copied = dict(told) if isinstance(told, dict) else list(told)
    copied[place[0]] = _put(told[place[0]], place[1:])
    return copied
