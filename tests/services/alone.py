"""One Kafka node in plain text that a test may kill and start again, with its data where the test wants it."""

import base64
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services import kafka
from tests.services.processes import free_port
from tests.services.three import HEAP, Node, format_storage


@contextmanager
def alone(at: Path) -> Iterator[Node]:
    """One node in plain text that a test may kill and start again, with its data below a folder. Raises Absent."""
    java, libs = kafka.java(), kafka.jars()
    clients, inner = free_port(), free_port()
    settings = kafka.ONE_NODE | {
        "listeners": f"CLIENTS://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{inner}",
        "advertised.listeners": f"CLIENTS://127.0.0.1:{clients}",
        "controller.quorum.voters": f"1@127.0.0.1:{inner}",
        "log.dirs": str(at / "log"),
    }
    kafka.write_properties(at / "server.properties", settings)
    command = [java, *HEAP, "-cp", f"{libs}/*", "kafka.Kafka", str(at / "server.properties")]
    node = Node(1, clients, at, command)
    tool = [java, *HEAP, "-cp", f"{libs}/*", "kafka.tools.StorageTool", "format"]
    format_storage(tool, [node], base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="))
    try:
        node.start()
        node.listening()
        yield node
    finally:
        node.end()
