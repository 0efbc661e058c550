"""Servers from Docker images, where an engine answers: its client alone is on some machines and means nothing."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.services.absent import Absent
from tests.services.processes import free_port


def answers() -> bool:
    """Whether there is an engine that we may use."""
    if shutil.which("docker") is None:
        return False
    asked = ["docker", "info", "--format", "{{.ServerVersion}}"]
    try:
        return subprocess.run(asked, capture_output=True, check=False, timeout=10).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@contextmanager
def postgres(image: str) -> Iterator[str]:
    """A PostgreSQL for this block. Raises Absent."""
    from testcontainers.postgres import PostgresContainer

    with _started(PostgresContainer(image, username="unefois", password="unefois", dbname="postgres")) as server:
        host, port = server.get_container_host_ip(), server.get_exposed_port(5432)
        yield f"postgresql+asyncpg://unefois:unefois@{host}:{port}/postgres"


@contextmanager
def kafka(image: str, settings: dict[str, str]) -> Iterator[str]:
    """One Kafka node for this block, with these server settings beside those of its place. Raises Absent."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    port = free_port()
    place = {
        "listeners": f"CLIENTS://0.0.0.0:{port},CONTROLLER://localhost:9093",
        "advertised.listeners": f"CLIENTS://127.0.0.1:{port}",
        "controller.quorum.voters": "1@localhost:9093",
    }
    container = DockerContainer(image).with_bind_ports(port, port)
    for name, told in {**settings, **place}.items():
        container = container.with_env("KAFKA_" + name.upper().replace(".", "_"), told)
    with _started(container.waiting_for(LogMessageWaitStrategy("Kafka Server started"))):
        yield f"127.0.0.1:{port}"


@contextmanager
def _started(container):  # type: ignore[no-untyped-def]
    try:
        container.start()
    except Exception as failed:  # whatever Docker or the registry says: then the service is not to be had here
        raise Absent(f"Docker answers, but the container did not start: {type(failed).__name__}") from failed
    try:
        yield container
    finally:
        container.stop()
