"""An administration's program on a client that openapi-python-client has made of `/v1/openapi.json`: it takes what
waits, acknowledges it, and looks how much is left. mypy checks it strictly: every member that it names has its type.

Reads `{"broker": ..., "token": ...}`, prints what it saw; a refusal is told on the error output.
"""

import json
import sys

from unefois_client import AuthenticatedClient
from unefois_client.api.receive import acknowledge, pull, status
from unefois_client.models.acknowledge import Acknowledge
from unefois_client.models.acknowledgement import Acknowledgement
from unefois_client.models.acknowledgement_outcome import AcknowledgementOutcome
from unefois_client.models.problem import Problem
from unefois_client.models.pull import Pull


def main() -> None:
    """Take, acknowledge, look."""
    told = json.load(sys.stdin)
    client = AuthenticatedClient(base_url=f"{told['broker']}/v1", token=told["token"])
    taken = pull.sync(client=client, body=Pull(max_=10, wait=5))
    if isinstance(taken, Problem) or taken is None:
        sys.exit("no answer" if taken is None else f"{taken.code} {taken.status}: {taken.title}")
    ids: list[str] = [one.id for one in taken.deliveries]
    locked: int = sum(len(one.locked) for one in taken.deliveries)
    ends = [Acknowledgement(delivery=each, outcome=AcknowledgementOutcome.APPLIED) for each in ids]
    ended = acknowledge.sync(client=client, body=Acknowledge(acknowledgements=ends))
    if isinstance(ended, Problem) or ended is None:
        sys.exit("no answer" if ended is None else ended.code)
    left = status.sync(client=client)
    if isinstance(left, Problem) or left is None:
        sys.exit("no answer" if left is None else left.code)
    year: int = left.at.year
    applied = [one.delivery for one in ended.results if one.ok]
    print(json.dumps({"ids": ids, "locked": locked, "applied": applied, "waiting": left.waiting, "year": year}))


if __name__ == "__main__":
    main()
