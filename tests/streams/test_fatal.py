"""What a client of Kafka says when it is of no more use."""

import json

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.broker import BrokerError, FencedError
from streams.client import GroupHealth
from streams.failures import telling


def _fenced() -> KafkaException:
    return KafkaException(KafkaError(KafkaError._FENCED, "fenced", fatal=True))


def test_a_fatal_error_that_meets_a_callback_is_a_fencing() -> None:
    """A zombie joins anew: it must not die of the SystemError that the client makes of two things at once."""
    with pytest.raises(FencedError), telling():
        raise SystemError("a callback returned a result with an exception set") from _fenced()
    with pytest.raises(FencedError), telling():
        raise _fenced()
    with pytest.raises(BrokerError), telling():
        raise KafkaException(KafkaError(KafkaError._TRANSPORT, "away"))
    with pytest.raises(SystemError), telling():
        raise SystemError("another")


def test_a_group_that_does_not_meet_is_joined_anew() -> None:
    """A member that waits though the brokers answer is given up; one whose brokers are away, or that is in, is not."""
    now = [0.0]
    health = GroupHealth(lambda: now[0])

    def seconds(count: int, join_state: str, idle_us: int) -> float:
        for _ in range(count):
            now[0] += 1.0
            brokers = {"b": {"rxidle": idle_us}, "never": {"rxidle": -1}}
            health.take(json.dumps({"brokers": brokers, "cgrp": {"join_state": join_state}}))
        return health.apart_s()

    assert seconds(60, "steady", 1_000) == 0 and seconds(60, "init", 60_000_000) == 0
    assert seconds(10, "wait-metadata", 1_000) == 10
    assert health.heard_at == pytest.approx(now[0] - 0.001)
    assert seconds(1, "steady", 1_000) == 0
