"""Knock: the load generator of the API's bench, a process of its own. HTTP/1.1 by hand, for a client library costs more
than the server that it is to measure.

    python -m tests.bench.knock HOST:PORT PLAN

PLAN is a JSON file: {connections, requests: [[method, path, {header: value}, body as text], ...]}. Each request is sent
once, over so many connections that are kept, the next when the one before was answered. Prints JSON: {seconds, cpu,
took: [seconds of each], statuses: {status: count}, bodies}; `bodies` only with "keep": true.
"""

import asyncio
import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any


class Connection:
    """One that is kept. `ask` sends a request and returns status and body."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    @classmethod
    async def to(cls, address: str) -> "Connection":
        """Connect to `host:port`."""
        host, _, port = address.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port), limit=64 * 1024 * 1024), address)

    async def ask(self, method: str, path: str, headers: dict[str, str], body: str) -> tuple[int, bytes]:
        """Raises what the connection raises."""
        raw = body.encode()
        told = {"host": self._host, "content-length": str(len(raw)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + raw)
        await self._writer.drain()
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = answer.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if length:
            return int(answer[9:12]), await self._reader.readexactly(int(length))
        content = b""
        while size := int(await self._reader.readline(), 16):
            content += await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()
        return int(answer[9:12]), content


async def knock(address: str, plan: dict[str, Any]) -> dict[str, Any]:
    """Send all of it."""
    waiting = iter(plan["requests"])
    took: list[float] = []
    statuses: Counter[int] = Counter()
    bodies: list[str] = []

    async def one(connection: Connection) -> None:
        for method, path, headers, body in waiting:
            began = time.perf_counter()
            status, content = await connection.ask(method, path, headers, body)
            took.append(time.perf_counter() - began)
            statuses[status] += 1
            if plan.get("keep"):
                bodies.append(content.decode())

    connections = [await Connection.to(address) for _ in range(plan["connections"])]
    began = time.perf_counter()
    await asyncio.gather(*(one(connection) for connection in connections))
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "cpu": used.ru_utime + used.ru_stime,
        "took": took,
        "statuses": statuses,
        "bodies": bodies,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(knock(sys.argv[1], json.loads(Path(sys.argv[2]).read_text())))))
