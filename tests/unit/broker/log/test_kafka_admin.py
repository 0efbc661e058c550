"""What the administrator's client says of a network that fails is a wait; only Kafka's own no is a refusal."""

import pytest
from confluent_kafka import KafkaError

from broker.log.kafka_admin import _fault

PASSING = ("_TIMED_OUT", "_TRANSPORT", "_DESTROY", "_DESTROY_BROKER", "_ALL_BROKERS_DOWN", "NETWORK_EXCEPTION")


@pytest.mark.parametrize("name", PASSING)
def test_a_connection_that_is_lost_while_it_asks_is_waited_for(name: str) -> None:
    """A process that begins would end over anything else."""
    assert "kafka.timeout" == _fault(KafkaError(getattr(KafkaError, name)), "t").code


def test_what_kafka_refuses_is_told_as_such() -> None:
    assert "kafka.refused" == _fault(KafkaError(KafkaError.POLICY_VIOLATION), "t").code
