"""What a client of Kafka says when it is of no more use."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.broker import BrokerError, FencedError
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
