"""The lane's clients on a real cluster: the only file where the Kafka producer and consumer live (confluent-kafka)."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as RawMessage
from confluent_kafka.admin import ClusterMetadata

from sekisho.log import Message
from sekisho.settings import Settings
from streams.broker import BrokerError, Partition, Polled, Send
from streams.cluster import ClusterCheck, WrongClusterError
from streams.failures import failure, lacks_rights, retriable, telling, told, words

_LOG = logging.getLogger("sekisho.kafka")
_ELECTION_S = 3.0
_ELECTING = (  # the last is librdkafka's own word for a partition that its metadata does not have yet
    KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
)  # fmt: skip
_REQUEST_S = 10.0
_FENCE_AGAIN_S = 0.1
_NOTE_EVERY_S = 0.5
_HEAR_EVERY_S = 10.0
_CLOSE_S = 5.0
_HEARD_S = 2.0
_MEET_WITHIN_S = 45.0  # a member that hangs may hold the others up for 30 s
_RETRY = {"retry.backoff.ms": 1, "retry.backoff.max.ms": 5}  # 100 ms made the next transaction wait for the markers
Config = dict[str, object]


class KafkaBroker:
    """Keeps streams.broker.Broker. owner: of the state, which belongs to the cluster that is seen first.

    end_known_ms: how soon a reader that has read everything knows it. While there is nothing to read it asks again
    after so long, which costs the broker 0.1 ms each time.
    """

    def __init__(
        self,
        settings: Settings,
        writer: type[KafkaWriter] | None = None,
        owner: bool = False,
        end_known_ms: int = 10,
    ) -> None:
        self.settings, self.make_writer, self.end_known_ms = settings, writer or KafkaWriter, end_known_ms
        self._right_cluster = ClusterCheck(settings.kafka.cluster_id, settings.state, owner)
        self.common: Config = {
            **settings.kafka.client,
            "bootstrap.servers": settings.kafka.bootstrap,
            "logger": _LOG,
            "log_level": 2,  # what goes wrong is told once, by error_cb, or raised
            "error_cb": self._hear,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 100,  # a broker that is back is found at once
        }
        self._lookup: Consumer | None = None
        self._heard: dict[str, float] = {}
        self._complaint = ""
        self._noted: tuple[float, Mapping[Partition, int]] = (0.0, {})

    def now(self) -> float:
        """Seconds, monotonic."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def partitions(self, topics: Sequence[str]) -> Sequence[Partition]:
        """Every partition of the topics. Raises BrokerError, also when one is missing."""
        return [(topic, k) for topic in topics for k in range(_partition_count(self._metadata(topic), topic))]

    def bounds(self, partitions: Sequence[Partition]) -> Mapping[Partition, tuple[int, int]]:
        """Where each begins, after what retention has removed, and ends. Raises BrokerError."""
        looking, deadline = self._looking(), time.monotonic() + _ELECTION_S
        while True:
            try:
                return {p: looking.get_watermark_offsets(TopicPartition(*p), _REQUEST_S) for p in partitions}
            except KafkaException as error:
                if error.args[0].code() not in _ELECTING or time.monotonic() > deadline:
                    raise told(error) from error
            time.sleep(0.05)  # a topic that was just made, or whose broker has gone, soon has a leader

    def reader(self, positions: Mapping[Partition, int | None]) -> KafkaReader:
        """A consumer that is assigned by hand: no group moves its partitions. Raises BrokerError."""
        self._metadata()
        config: Config = {"enable.partition.eof": True}
        return KafkaReader(self._consumer(self.settings.lane.name, config), positions, self._metadata)

    def writer(self, transactional: bool) -> KafkaWriter:
        """A producer; a transactional one fences its predecessors here. Raises BrokerError."""
        self._metadata()
        config = self.common | _RETRY | {"acks": "all", "enable.idempotence": True}
        config["queue.buffering.max.messages"] = 1_000_000
        if transactional:
            config["transactional.id"] = self.settings.lane.name
        return self.make_writer(Producer(config), transactional)

    def marks(self, header: str, starts: Mapping[Partition, int]) -> Iterator[bytes]:
        """The values of a header on the records from `starts` to the partitions' ends. Raises BrokerError."""
        bounds = self.bounds(list(starts))
        positions = {p: max(offset, bounds[p][0]) for p, offset in starts.items() if offset < bounds[p][1]}
        if not positions:
            return
        reader, ended = self.reader(positions), set[Partition]()
        try:
            while not ended >= positions.keys():
                raws, now_ended = reader.take(10_000, 1.0)
                for raw in raws:
                    yield from (value for name, value in raw.headers() or () if name == header)
                ended |= now_ended
        finally:
            reader.close()

    def leadership(self) -> KafkaLeadership:
        """A member of the group that shares out the control topic. Raises BrokerError."""
        self._metadata()
        lane, health = self.settings.lane, GroupHealth()
        config: Config = {
            "partition.assignment.strategy": "cooperative-sticky",  # others move leadership whenever somebody joins
            "session.timeout.ms": lane.session_timeout_ms,
            "heartbeat.interval.ms": max(100, lane.session_timeout_ms // 6),
            "statistics.interval.ms": max(100, lane.session_timeout_ms // 6),
            "stats_cb": health.take,
            "topic.metadata.refresh.interval.ms": 10_000,  # a join that met a broker in trouble waits for the next one
            "max.poll.interval.ms": max(30_000, lane.session_timeout_ms),
            "auto.offset.reset": "latest",
        }
        consumer = self._consumer(f"{lane.name}-leader", config)
        return KafkaLeadership(consumer, self.settings.topics.control, health, self._metadata)

    def note_positions(self, positions: Mapping[Partition, int]) -> None:
        """Commit group offsets twice a second, when they have moved."""
        now = self.now()
        at, noted = self._noted
        if now - at < _NOTE_EVERY_S or positions == noted:
            return
        self._noted = now, positions
        offsets = [TopicPartition(topic, k, offset) for (topic, k), offset in positions.items()]
        try:
            self._looking().commit(offsets=offsets, asynchronous=True)
        except (KafkaException, BrokerError) as error:
            _LOG.warning("offsets for lag tools were not committed: %s", error)

    def complaint(self) -> str:
        """What clients have said of the cluster since this was asked last, or ""."""
        said, self._complaint = self._complaint, ""
        return said

    def close(self) -> None:
        """Let go of the client for look-ups."""
        if self._lookup is not None:
            _apart(self._lookup.close)
        self._lookup = None

    def _hear(self, error: KafkaError) -> None:
        """Log what clients say about the cluster, the same thing at most every ten seconds."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self._complaint:  # it follows what says more
            self._complaint = error.str()
        if self.now() - self._heard.get(error.name(), float("-inf")) > _HEAR_EVERY_S:
            self._heard[error.name()] = self.now()
            _LOG.warning("%s", error.str())

    def _metadata(self, topic: str = "") -> ClusterMetadata:
        """What the cluster says of a topic. Raises BrokerError, also when it is another than the state's."""
        looking = self._looking()
        try:
            found = looking.list_topics(topic or self.settings.topics.journal, timeout=_REQUEST_S)
            self._right_cluster(found.cluster_id)
        except KafkaException as error:
            looking.poll(0)  # says why to error_cb
            raise told(error) from error
        except WrongClusterError:
            self.close()  # the address may lead elsewhere soon
            raise
        return found

    def _looking(self) -> Consumer:
        if self._lookup is None:
            self._lookup = self._consumer(self.settings.lane.name, {})
        return self._lookup

    def _consumer(self, group: str, config: Config) -> Consumer:
        own: Config = {
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": self.end_known_ms,
            "fetch.error.backoff.ms": 20,  # 500 ms by itself: a partition that has just got its leader is read at once
        }
        return Consumer(self.common | own | config)


class KafkaReader:
    """Keeps streams.broker.Reader. examine: raises BrokerError when the cluster is not the right one."""

    def __init__(
        self, consumer: Consumer, positions: Mapping[Partition, int | None], examine: Callable[[], object]
    ) -> None:
        self.consumer, self.examine = consumer, examine
        start = {p: OFFSET_BEGINNING if offset is None else offset for p, offset in positions.items()}
        self.consumer.assign([TopicPartition(topic, k, offset) for (topic, k), offset in start.items()])

    def poll(self, limit: int, timeout_s: float) -> Polled:
        """Take what has arrived; wait only when that is nothing."""
        raws, ended = self.take(limit, timeout_s)
        messages = [_message(raw) for raw in raws]
        return Polled(messages, ended | self._drained({(m.topic, m.partition): m.offset + 1 for m in messages}))

    def take(self, limit: int, timeout_s: float) -> tuple[list[RawMessage], set[Partition]]:
        """The same as the client gives it, with headers; the ends that it was told."""
        try:
            raw = self.consumer.consume(limit, 0)
            if not raw and timeout_s > 0 and (first := self.consumer.poll(timeout_s)) is not None:
                raw = [first, *self.consumer.consume(limit, 0)]
        except (KafkaException, RuntimeError) as error:
            raise BrokerError(str(error)) from error
        records, ended = [], set[Partition]()
        for each in raw:
            if each.error() is None:
                records.append(each)
                if ended:  # told before this one came
                    ended.discard((each.topic() or "", each.partition() or 0))
            elif each.error().code() == KafkaError._PARTITION_EOF:
                ended.add((each.topic() or "", each.partition() or 0))
            else:
                if each.error().code() == KafkaError._AUTO_OFFSET_RESET:
                    self.examine()
                raise failure(each)
        return records, ended

    def pause(self, partitions: Collection[Partition]) -> None:
        """Stop fetching these."""
        self.consumer.pause([TopicPartition(*partition) for partition in partitions])

    def resume(self, partitions: Collection[Partition]) -> None:
        """Fetch them again."""
        self.consumer.resume([TopicPartition(*partition) for partition in partitions])

    def close(self) -> None:
        """Close aside: a broker that is away would hold it up."""
        _apart(self.consumer.close)

    def _drained(self, positions: Mapping[Partition, int]) -> set[Partition]:
        """The partitions whose end, as the last fetch told it, is reached: sooner known than by the event."""
        drained = set()
        for partition, position in positions.items():
            known = self.consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
            if known is not None and position >= known[1] >= 0:
                drained.add(partition)
        return drained


class KafkaWriter:
    """Keeps streams.broker.Writer."""

    def __init__(self, producer: Producer, transactional: bool) -> None:
        self.producer, self.transactional = producer, transactional
        self.counts: dict[str, int] = {}
        self.offset: int | None = None
        self.failure: tuple[KafkaError, str] | None = None
        self.waiting = ThreadPoolExecutor(1, "writer")
        if transactional:
            with telling():
                producer.list_topics(timeout=_REQUEST_S)  # connected first, it begins 0.5 s sooner
            self._fence(time.monotonic() + _REQUEST_S * 3)

    def begin(self) -> None:
        """Begin a transaction."""
        with telling():
            self.producer.begin_transaction()

    def send(self, sends: Iterable[Send]) -> None:
        """Queue records. The offset of the last one is remembered when it is delivered."""
        self.offset = None
        with telling():
            for send, is_last in _to_the_last(sends):
                self._produce(send, self._delivered if is_last or not self.transactional else None)

    def send_marked(self, send: Send, header: str, value: bytes) -> None:
        """Queue one record with a header."""
        with telling():
            self._produce(send, self._delivered, {"headers": [(header, value)]})

    def commit(self) -> int | None:
        """Commit, trying again while the answer is open. The offset of the record sent last, if it was told."""
        producer, deadline = self.producer, time.monotonic() + _REQUEST_S
        while True:
            try:
                with telling(self._told):
                    producer.commit_transaction(_REQUEST_S)
                    producer.poll(0)
                return self.offset
            except BrokerError as error:
                if not retriable(error) or time.monotonic() > deadline:
                    raise

    def flush(self) -> None:
        """Wait until all is acknowledged."""
        with telling():
            left = self.producer.flush(_REQUEST_S)
        if left:
            raise BrokerError(f"not acknowledged within {_REQUEST_S:.0f} s")
        if self.failure is not None:
            raise BrokerError(words(*self.failure))

    def append(self, send: Send) -> int:
        """Write one record and wait for its offset."""
        self.send([send])
        self.flush()
        if self.offset is None:
            raise BrokerError("acknowledged without an offset")
        return self.offset

    def beside(self, call: Callable[[], int | None]) -> Future[int | None]:
        """Run a call in a thread that only waits: librdkafka does the work, and no lock is held meanwhile."""
        return self.waiting.submit(call)

    def close(self) -> None:
        """Drop what is queued and in flight, and let the client end aside."""
        self.waiting.shutdown(wait=False)
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.purge()
            _apart(lambda: producer.flush(_CLOSE_S))

    def _fence(self, deadline: float) -> None:
        """Begin, and ask again soon: of itself the client waits 0.5 s for a coordinator that has just come up."""
        patience_s = _FENCE_AGAIN_S
        while True:
            try:
                with telling():
                    self.producer.init_transactions(patience_s)
                return
            except BrokerError as error:
                if not retriable(error) or time.monotonic() > deadline:
                    raise
            patience_s = min(2 * patience_s, _REQUEST_S)

    def _produce(
        self, send: Send, told: Callable[[KafkaError | None, RawMessage], None] | None, more: Config | None = None
    ) -> None:
        """Queue a record; whoever calls tells failures as BrokerError, once for all of a batch."""
        if send.topic not in self.counts:
            found = self.producer.list_topics(send.topic, timeout=_REQUEST_S)
            self.counts[send.topic] = _partition_count(found, send.topic)
        partition = send.partition % self.counts[send.topic]
        while True:
            try:
                if told is None:
                    self.producer.produce(send.topic, send.value, send.key, partition)
                else:
                    self.producer.produce(send.topic, send.value, send.key, partition, on_delivery=told, **more or {})
                return
            except BufferError:
                self.producer.poll(0.05)
            except KafkaException as error:
                raise self._why(error) from error

    def _why(self, error: KafkaException) -> BrokerError:
        """What has ended the transaction, where `error` says only that it has ended."""
        if self.transactional and error.args[0].code() == KafkaError._STATE:
            try:
                self.producer.commit_transaction(0)  # it does not: it says what has happened before
            except KafkaException as first:
                return self._told(first)
        return self._told(error)

    def _told(self, error: KafkaException) -> BrokerError:
        return told(error, f"writing to one of {', '.join(self.counts)}" if lacks_rights(error) else "")

    def _delivered(self, error: KafkaError | None, message: RawMessage) -> None:
        if error is None:
            self.offset = message.offset()
        else:
            self.failure = error, message.topic() or ""


class KafkaLeadership:
    """Keeps streams.broker.Leadership.

    A member that has not heard from the cluster for a session counts its partition as lost. Whoever leads goes on until
    the group has met again: when the brokers were away, nobody else has led meanwhile, and where somebody has, the
    fence and the journal keep this one's batches from counting. Whether the group that has met is that of the right
    cluster, `examine` asks.
    """

    def __init__(self, consumer: Consumer, control: str, health: GroupHealth, examine: Callable[[], object]) -> None:
        self.consumer, self.health, self.examine = consumer, health, examine
        self.leads = self.doubtful = self.met = False
        consumer.subscribe([control], on_assign=self._gained, on_revoke=self._revoked, on_lost=self._lost)

    def poll(self) -> bool:
        """Serve the group; True while the control partition is assigned here."""
        try:
            message = self.consumer.poll(0)
        except (KafkaException, RuntimeError) as error:
            raise BrokerError(str(error)) from error
        if message is not None and message.error() is not None:
            raise failure(message)
        if self.met:
            self.met = False
            self.examine()
        if (apart_s := self.health.apart_s()) > _MEET_WITHIN_S:
            raise BrokerError(f"the brokers answer, and the group has not met for {apart_s:.0f} s: joining anew")
        return self.leads

    def silent_s(self) -> float:
        """Seconds since the brokers were heard last, by what the client told at its last poll."""
        return time.monotonic() - self.health.heard_at

    def has_met(self) -> bool:
        """True while the group has met, by what the client told at its last poll."""
        return self.health.is_steady

    def close(self) -> None:
        """Leave the group, and wait until it knows."""
        _apart(self.consumer.close, _CLOSE_S)

    def _gained(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.leads = bool(partitions) or (self.leads and not self.doubtful)
        self.doubtful, self.met = False, True

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.leads = self.leads and not partitions

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.doubtful = True


class GroupHealth:
    """What a group member's own statistics tell. heard_at: when it last received anything.

    A member can wait for ever to join when the brokers were in trouble as it tried: seen with librdkafka 2.16.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now, self.heard_at, self.met_at, self.is_steady = now, float("-inf"), now(), False

    def take(self, statistics: str) -> None:
        """Read what the client says of itself, some times in a session."""
        found, now = json.loads(statistics), self.now()
        idle_us = [each["rxidle"] for each in found["brokers"].values() if each["rxidle"] >= 0]
        if idle_us:
            self.heard_at = now - min(idle_us) / 1e6
        self.is_steady = found.get("cgrp", {}).get("join_state") == "steady"
        if self.is_steady or now - self.heard_at > _HEARD_S:
            self.met_at = now

    def apart_s(self) -> float:
        """How long the brokers have answered without the group having met."""
        return self.now() - self.met_at


def _to_the_last(sends: Iterable[Send]) -> Iterator[tuple[Send, bool]]:
    """Each of them, and whether it is the last one."""
    held: Send | None = None
    for send in sends:
        if held is not None:
            yield held, False
        held = send
    if held is not None:
        yield held, True


def _message(raw: RawMessage) -> Message:
    return Message(
        raw.topic(),
        raw.partition(),
        raw.offset(),
        raw.timestamp()[1] * 1000,
        raw.key(),
        raw.value(),
    )


def _partition_count(cluster: ClusterMetadata, topic: str) -> int:
    found = cluster.topics[topic]
    if found.error is not None:
        raise BrokerError(words(found.error, topic))
    if not found.partitions:
        raise BrokerError(f"{topic}: it has no partitions; run: sekisho topics create")
    return len(found.partitions)


def _apart(close: Callable[[], object], wait_s: float = 0.0) -> None:
    """End a client beside us: a cluster that is away may hold it up."""
    thread = Thread(target=close, daemon=True)
    thread.start()
    thread.join(wait_s)
