"""An SMS gateway on loopback that is strict: it takes exactly what its interface says, and nothing else."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

TOKEN = "Bearer s3cret"


class Gateway:
    """What it was asked, and the SMS that it has sent, each once by its id."""

    def __init__(self) -> None:
        self.status: int | None = None
        """What it answers, whatever it is asked; None: as it should."""
        self.asked = 0
        self.refused: list[str] = []
        self.sent: dict[str, tuple[str, str]] = {}

    def heard(self, method: str, path: str, headers: dict[str, str], body: bytes) -> int:
        """The answer to one request."""
        self.asked += 1
        if self.status is not None:
            return self.status
        wrong = self._wrong(method, path, headers, body)
        if wrong is not None:
            self.refused.append(wrong)
            return 400
        told = json.loads(body)
        self.sent.setdefault(told["id"], (told["to"], told["text"]))
        return 202

    def _wrong(self, method: str, path: str, headers: dict[str, str], body: bytes) -> str | None:
        if (method, path) != ("POST", "/v1/sms"):
            return f"{method} {path}"
        if headers.get("authorization") != TOKEN or headers.get("content-type") != "application/json":
            return "headers"
        try:
            told = json.loads(body)
        except ValueError:
            return "no JSON"
        if not isinstance(told, dict) or set(told) != {"to", "text", "id"}:
            return "members"
        if not re.fullmatch(r"\+[1-9][0-9]{7,14}", told["to"]) or not re.fullmatch("[0-9a-f]{32}", told["id"]):
            return "a value"
        return None if 0 < len(told["text"]) <= 459 else "length"  # three SMS in one


@contextmanager
def answering(gateway: Gateway) -> Iterator[int]:
    """Its port."""

    class Desk(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = gateway.heard(self.command, self.path, headers, body)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        do_POST = do_PUT = do_GET = do_HEAD = _answer

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Desk)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
