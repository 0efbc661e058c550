"""The demo's story on a real PostgreSQL and a real Kafka, started for it and gone after it: `make demo-cluster`.

python -m tests.services.demo [fr|en]
"""

import asyncio
import secrets
import sys
from contextlib import ExitStack

from broker.cli.demo import run
from broker.log.kafka_cluster import Cluster
from broker.settings.choices import Settings
from tests.services import kafka, postgres
from tests.services.absent import Absent
from tests.services.databases import databases


async def topic(address: str, prefix: str) -> None:
    """A topic of its own for the story."""
    partitions = Settings.model_fields["log_partitions"].default
    await Cluster((address,), "plaintext").make_topic(f"{prefix}declarations", partitions, 1)


def play(lang: str | None) -> int:
    """Start both, tell, end both. Exit code as of the demo; 3 when one of them cannot be had here."""
    with ExitStack() as servers:
        print("PostgreSQL, Kafka ...", flush=True)
        try:
            database = servers.enter_context(databases(servers.enter_context(postgres.running())))
            address = servers.enter_context(kafka.running())
        except Absent as absent:
            print(absent, file=sys.stderr)
            return 3
        prefix = f"demo{secrets.token_hex(4)}."
        asyncio.run(topic(address, prefix))
        url = database.server.render_as_string(hide_password=False)
        print(f"{database.server}, {address}", flush=True)
        told = {
            "kafka_bootstrap": address,
            "kafka_security": "plaintext",
            "kafka_topic_prefix": prefix,
            "kafka_replicas": "1",
        }
        return run(lang=lang, servers={"database_url": url, "log": "kafka", **told})


if __name__ == "__main__":
    sys.exit(play(sys.argv[1] if len(sys.argv) > 1 else None))
