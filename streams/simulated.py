"""A small Kafka in memory for deterministic simulation: transactions, fencing, last stable offsets, leadership, faults.

    cluster = Cluster({"payments": 2, "journal": 1, ...})
    broker = SimulatedBroker(cluster, "lane", trouble, late, slow)    # keeps streams.broker.Broker
    cluster.produce("payments", 0, value=b"...")

`trouble(op)` is called before and after whatever a real client does over the network. It may raise BrokerError
(before: the request is lost; after: only its answer is), raise anything else to kill the caller, or run other lanes
meanwhile, as when a process is stopped. Everything is one thread, so a seed decides all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from sekisho.log import Message
from streams.broker import BrokerError, FencedError, LostRecordsError, Partition, Polled, Send

OPEN, PREPARED, COMMITTED, ABORTED = "open", "prepared", "committed", "aborted"
Trouble = Callable[[str], None]


@dataclass
class Transaction:
    """One transaction; `partitions` that still lack its marker."""

    state: str = OPEN
    partitions: set[Partition] = field(default_factory=set)


@dataclass
class Log:
    """A partition: records, and None where a transaction's marker stands."""

    records: list[Message | None] = field(default_factory=list)
    transactions: list[Transaction | None] = field(default_factory=list)
    stable: int = 0  # everything below is visible to a committed reader, or aborted


class Cluster:
    """Topics, the transaction coordinator and the group of those who would lead. Time is a number that others move."""

    def __init__(self, topics: Mapping[str, int]) -> None:
        self.topics = dict(topics)
        self.logs: dict[Partition, Log] = {(topic, k): Log() for topic, count in topics.items() for k in range(count)}
        self.clock = 0.0
        self.fences: dict[str, int] = {}
        self.running: dict[str, Transaction] = {}
        self.members: list[object] = []
        self.in_flight: list[Send] = []  # of writers that gave up on them; `land` brings them in

    def land(self) -> None:
        """A record that its writer believes lost arrives after all."""
        if self.in_flight:
            self.produce(self.in_flight.pop(0))

    def produce(self, send: Send, transaction: Transaction | None = None) -> int:
        """Append a record; its offset."""
        partition = send.topic, send.partition % self.topics[send.topic]
        log = self.logs[partition]
        offset, time_us = len(log.records), int(self.clock * 1e6)
        log.records.append(Message(*partition, offset, time_us, send.key, send.value))
        log.transactions.append(transaction)
        if transaction is not None:
            transaction.partitions.add(partition)
        self._advance(partition)
        return offset

    def begin(self, name: str) -> Transaction:
        """A transaction of a transactional id."""
        self.settle(name)
        self.running[name] = Transaction()
        return self.running[name]

    def end(self, name: str, commit: bool) -> None:
        """Decide it. Its markers are written by `settle`, as in Kafka somewhat later."""
        self.running[name].state = PREPARED if commit else ABORTED

    def settle(self, name: str, most: int | None = None) -> None:
        """Write the markers of the id's last transaction: all, or at most so many."""
        transaction = self.running.get(name)
        if transaction is None or transaction.state == OPEN:
            return
        if transaction.state == PREPARED:
            transaction.state = COMMITTED
        for partition in sorted(transaction.partitions)[:most]:
            log = self.logs[partition]
            log.records.append(None)
            log.transactions.append(None)
            transaction.partitions.discard(partition)
            self._advance(partition)

    def fence(self, name: str) -> int:
        """A new epoch of a transactional id: what was open is aborted, what was decided is finished."""
        transaction = self.running.get(name)
        if transaction is not None and transaction.state == OPEN:
            transaction.state = ABORTED
        self.settle(name)
        self.fences[name] = self.fences.get(name, 0) + 1
        return self.fences[name]

    def read(self, partition: Partition, offset: int, limit: int) -> tuple[list[Message], int]:
        """Committed records from an offset on, and the offset behind what was looked at."""
        log, found = self.logs[partition], list[Message]()
        while offset < log.stable and len(found) < limit:
            record, transaction = log.records[offset], log.transactions[offset]
            if record is not None and (transaction is None or transaction.state == COMMITTED):
                found.append(record)
            offset += 1
        return found, offset

    def committed(self, topic: str) -> list[list[Message]]:
        """All committed records of a topic, a list a partition."""
        return [self.read((name, k), 0, 2**31)[0] for name, k in sorted(self.logs) if name == topic]

    def _advance(self, partition: Partition) -> None:
        log = self.logs[partition]
        while log.stable < len(log.records):
            transaction = log.transactions[log.stable]
            if transaction is not None and partition in transaction.partitions:
                break
            log.stable += 1


class SimulatedBroker:
    """One lane's clients. `late()` is true when what a reader asked for has not arrived yet, `slow()` when the answer
    to a call beside the lane has not."""

    def __init__(
        self,
        cluster: Cluster,
        transactional_id: str,
        trouble: Trouble,
        late: Callable[[], bool],
        slow: Callable[[], bool] = lambda: False,
    ) -> None:
        self.cluster, self.transactional_id, self.trouble = cluster, transactional_id, trouble
        self.late, self.slow = late, slow

    def now(self) -> float:
        return self.cluster.clock

    def wait(self, seconds: float) -> None:
        self.cluster.clock += seconds

    def partitions(self, topics: Sequence[str]) -> Sequence[Partition]:
        self.trouble("metadata")
        return sorted(partition for partition in self.cluster.logs if partition[0] in topics)

    def bounds(self, partitions: Sequence[Partition]) -> Mapping[Partition, tuple[int, int]]:
        self.trouble("metadata")
        return {partition: (0, len(self.cluster.logs[partition].records)) for partition in partitions}

    def reader(self, positions: Mapping[Partition, int | None]) -> SimulatedReader:
        self.trouble("reader")
        return SimulatedReader(self, {partition: offset or 0 for partition, offset in positions.items()})

    def writer(self, transactional: bool) -> SimulatedWriter:
        self.trouble("init")
        epoch = self.cluster.fence(self.transactional_id) if transactional else 0
        self.trouble("init done")
        return SimulatedWriter(self, epoch)

    def leadership(self) -> SimulatedLeadership:
        self.trouble("join")
        return SimulatedLeadership(self)

    def complaint(self) -> str:
        return ""

    def note_positions(self, positions: Mapping[Partition, int]) -> None:
        pass


class SimulatedReader:
    """Keeps streams.broker.Reader."""

    def __init__(self, broker: SimulatedBroker, positions: dict[Partition, int]) -> None:
        self.broker, self.positions, self.held = broker, positions, set[Partition]()
        self.told: dict[Partition, int] = {}  # an end is told once, as librdkafka does it

    def poll(self, limit: int, timeout_s: float) -> Polled:
        self.broker.trouble("poll")
        cluster, messages, ended = self.broker.cluster, list[Message](), set[Partition]()
        for partition in sorted(self.positions.keys() - self.held):
            if self.broker.late():
                continue
            offset = self.positions[partition]
            if offset > len(cluster.logs[partition].records):
                raise LostRecordsError(f"{partition}: no offset {offset}", "")
            found, self.positions[partition] = cluster.read(partition, offset, limit - len(messages))
            messages += found
            end = self.positions[partition]
            if end >= cluster.logs[partition].stable and self.told.get(partition) != end:
                self.told[partition] = end
                ended.add(partition)
        if not messages:
            cluster.clock += timeout_s
        return Polled(messages, ended)

    def pause(self, partitions: Collection[Partition]) -> None:
        self.held |= set(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        self.held -= set(partitions)

    def close(self) -> None:
        pass


class SimulatedWriter:
    """Keeps streams.broker.Writer."""

    def __init__(self, broker: SimulatedBroker, epoch: int) -> None:
        self.broker, self.epoch = broker, epoch
        self.transaction: Transaction | None = None
        self.offset: int | None = None

    def begin(self) -> None:
        self._fenced()
        self.transaction = self.broker.cluster.begin(self.broker.transactional_id)

    def send(self, sends: Iterable[Send]) -> None:
        for send in sends:
            self.broker.trouble("send")
            self._fenced()
            self.offset = self.broker.cluster.produce(send, self.transaction)

    def commit(self) -> int | None:
        self.broker.trouble("commit")
        self._fenced()
        self.broker.cluster.end(self.broker.transactional_id, commit=True)
        self.broker.trouble("markers")
        self.broker.cluster.settle(self.broker.transactional_id)
        self.broker.trouble("commit done")
        return self.offset

    def flush(self) -> None:
        self.broker.trouble("flush")

    def append(self, send: Send) -> int:
        try:
            self.broker.trouble("append")
        except BrokerError:
            self.broker.cluster.in_flight.append(send)
            raise
        offset = self.broker.cluster.produce(send)
        self.broker.trouble("append done")
        return offset

    def beside(self, call: Callable[[], int | None]) -> SimulatedAnswer:
        return SimulatedAnswer(self.broker, call)

    def close(self) -> None:
        pass

    def _fenced(self) -> None:
        if self.epoch and self.epoch != self.broker.cluster.fences[self.broker.transactional_id]:
            raise FencedError("a newer producer has the transactional id")


class SimulatedAnswer:
    """An answer that is late for a while. The call takes effect at once, or only when its answer is there."""

    def __init__(self, broker: SimulatedBroker, call: Callable[[], int | None]) -> None:
        self.broker = broker
        self.found = None if broker.slow() else _outcome(call)
        self.call = call

    def result(self, timeout: float | None = None) -> int | None:
        """Keeps streams.broker.Answer."""
        if self.broker.slow():
            self.broker.cluster.clock += timeout or 0.0
            raise TimeoutError
        if self.found is None:
            self.found = _outcome(self.call)
        return self.found()


def _outcome(call: Callable[[], int | None]) -> Callable[[], int | None]:
    """What the call comes to, to be told later."""
    try:
        value = call()
    except BrokerError as error:
        return partial(_raise, error)
    return lambda: value


def _raise(error: BrokerError) -> int | None:
    raise error


class SimulatedLeadership:
    """The first member leads; one that was expired finds out at its next poll and joins again at the end."""

    def __init__(self, broker: SimulatedBroker) -> None:
        self.broker = broker
        broker.cluster.members.append(self)

    def poll(self) -> bool:
        members = self.broker.cluster.members
        self.broker.trouble("lead")
        if self not in members:
            members.append(self)
            return False
        return members[0] is self

    def silent_s(self) -> float:
        return 0.0

    def has_met(self) -> bool:
        return True

    def close(self) -> None:
        if self in self.broker.cluster.members:
            self.broker.cluster.members.remove(self)
