"""What Kafka's clients say went wrong: as the lane must take it, and as a person reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Message as RawMessage

from streams.broker import BrokerError, FencedError, LostRecordsError

_FENCED = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
_RIGHTS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
_MISSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}


def words(error: KafkaError, of: str = "") -> str:
    """An error as a person reads it, with what to do where that is known. of: the topic or group that it is about."""
    said = f"{of}: {error.str()}" if of else error.str()
    if error.code() in _RIGHTS:
        return f"{said}; give the user of [kafka.client] the rights that docs/operate.md lists"
    if error.code() in _MISSING:
        return f"{said}; run: sekisho topics create"
    return said


def told(error: KafkaException, of: str = "") -> BrokerError:
    """A raised failure of a client."""
    reason = error.args[0]
    return (FencedError if reason.code() in _FENCED else BrokerError)(words(reason, of))


def failure(message: RawMessage) -> Exception:
    """A failure that came in the place of a record."""
    error = message.error()
    assert error is not None
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        return LostRecordsError(
            f"{message.topic()}[{message.partition()}]: offset {message.offset()} is not on the topic",
            "look whether this is the right cluster; when retention has removed it, use a newer snapshot",
        )
    return BrokerError(words(error, message.topic() or ""))


def lacks_rights(error: KafkaException) -> bool:
    """Whether the brokers know who asks, and refuse."""
    return error.args[0].code() in _RIGHTS


@contextmanager
def telling(as_error: Callable[[KafkaException], BrokerError] = told) -> Iterator[None]:
    """A client's failure as BrokerError. A fatal one that meets a callback comes as the cause of a SystemError."""
    try:
        yield
    except KafkaException as error:
        raise as_error(error) from error
    except SystemError as error:
        if not isinstance(error.__cause__, KafkaException):
            raise
        raise as_error(error.__cause__) from error


def retriable(error: BrokerError) -> bool:
    """Whether the same call may be made again."""
    cause = error.__cause__
    return isinstance(cause, KafkaException) and bool(cause.args[0].retriable())
