"""The standard workload, made once and kept: payments of the seeded bank world, and the pack that decides them.

800,000 cards, 720,000 accounts, 45,000 merchants, 1,000,000 devices; 200,000 card payments a day, in order of time and
no two at the same microsecond, so that engines which know no "as of the arrival" can give the same values.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench import standard_pack
from bench.standard_pack import BARE, FEATURES, LISTS, WHOLE, features_sql, rules_yaml
from models.card_toml import write_card
from models.training import Purpose, Slices, train
from sekisho.compile import compile_pack
from sekisho.decider import Decider
from sekisho.load import load_pack
from sekisho.log import Message
from sekisho.records import read_records
from sekisho.step import step
from sekisho.testing.world import World
from sekisho.wire.arrow import to_arrow

WORLD = World(seed=2026, cards=800_000, payments_per_day=212_000, truth=True)
MERCHANTS, DEVICES = 45_000, 1_000_000
PARTITIONS = 4
LEARNT = 150_000  # the first payments teach the model, and say what is rare to the rules
TREES, LEAVES = 300, 63
PARAMS = {
    "num_iterations": TREES, "num_leaves": LEAVES, "max_bin": 255, "min_data_in_bin": 3,
    "min_sum_hessian_in_leaf": 1e-3, "lambda_l2": 0.0,
}  # fmt: skip
PURPOSE = Purpose("fraud", "bench", "Benchmarks: as large as a bank's, and fit for nothing else")


@dataclass(frozen=True)
class Workload:
    """`n` payments as Parquet and as JSON lines, and the pack."""

    n: int
    parquet: Path
    lines: Path
    pack: Path

    def records(self) -> list[bytes]:
        """The payments as JSON, in order."""
        return self.lines.read_bytes().splitlines()

    def messages(self) -> list[Message]:
        """The payments as a consumer of a topic of four partitions hands them over; the log is 50 ms behind."""
        times = pq.read_table(self.parquet, columns=["event_time"])["event_time"].cast(pa.int64()).to_pylist()
        return [
            Message("payments", k % PARTITIONS, k // PARTITIONS, (at // 1000 + 50) * 1000, None, raw)
            for k, (at, raw) in enumerate(zip(times, self.records(), strict=True))
        ]


def standard(n: int, folder: Path) -> Workload:
    """The workload of n payments, from the folder or made and put there."""
    files, pack = folder / f"{n}-{_recipe()}", folder / f"pack-{_recipe()}"
    workload = Workload(n, files / "payments.parquet", files / "payments.jsonl", pack)
    if not workload.lines.is_file():
        _write_payments(n, workload)
    if not pack.is_dir():
        _write_pack(pack, folder)
    return workload


def _recipe() -> str:
    """Changes when this file or the pack does, so that nothing stale is measured."""
    sources = (Path(__file__), Path(standard_pack.__file__))
    return sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]


def _write_payments(n: int, workload: Workload) -> None:
    folder = workload.parquet.parent
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.concat_tables(_payments(n)).combine_chunks()
    pq.write_table(table.drop_columns(["fraud"]), workload.parquet, compression="zstd", row_group_size=65_536)
    fresh = folder / "fresh"
    with fresh.open("wb") as file:
        for start in range(0, n, 65_536):
            file.write(_json(table.slice(start, 65_536)))
    fresh.rename(workload.lines)  # the last act: a workload is whole or not there


def _payments(n: int) -> Iterator[pa.Table]:
    """The first n card payments of the world, a table a day."""
    made, last = 0, 0
    for happened in WORLD.days():
        paid = pc.and_(pc.equal(happened["kind"].cast(pa.string()), "payment"), pc.is_valid(happened["card_id"]))
        day = happened.filter(paid).sort_by("event_time").slice(0, n - made).unify_dictionaries().combine_chunks()
        number = np.arange(made, made + day.num_rows)
        floor = np.maximum(day["event_time"].cast(pa.int64()).to_numpy(), last)
        times = np.maximum.accumulate(floor - number) + number
        made, last = made + day.num_rows, int(times[-1]) + 1
        yield _columns(day, number, times)
        if made == n:
            return


def _columns(day: pa.Table, number: np.ndarray, times: np.ndarray) -> pa.Table:
    """The thirteen fields, and the truth. Each payment without a device was made with the account's own."""
    places = {name: _places(day[f"{name}_id"]) for name in ("account", "merchant", "device")}
    merchants, devices = (len(day[f"{name}_id"].chunk(0).dictionary) for name in ("merchant", "device"))
    device = np.where(places["device"] >= 0, places["device"], 2 * places["account"])
    return pa.table({
        "event_id": _names("evt", number, 10),
        "kind": pa.array(["payment"]).take(pa.array(np.zeros(len(number), np.int64))),
        "event_time": pa.array(times, pa.timestamp("us", "UTC")),
        "payment_id": _names("pay", number, 10),
        "card_id": day["card_id"].cast(pa.string()),
        "account_id": day["account_id"].cast(pa.string()),
        "merchant_id": _names("shop", places["merchant"] * MERCHANTS // merchants, 5),
        "mcc": day["mcc"].cast(pa.string()),
        "device_id": _names("dev", device * DEVICES // devices, 8),
        "amount": day["amount"],
        "currency": day["currency"].cast(pa.string()),
        "country": day["country"].cast(pa.string()),
        "channel": day["channel"].cast(pa.string()),
        "fraud": pc.is_valid(day["typology"]),
    })  # fmt: skip


def _places(column: pa.ChunkedArray) -> np.ndarray:
    """Where each value stands in its dictionary, -1 for NULL."""
    return column.chunk(0).indices.fill_null(-1).to_numpy().astype(np.int64)


def _names(prefix: str, number: np.ndarray, width: int) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(number).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(prefix, digits, "-")


def _json(part: pa.Table) -> bytes:
    """JSON lines of 285 bytes, as a payment switch writes them."""
    time = pc.strftime(part["event_time"], "%Y-%m-%dT%H:%M:%SZ")
    columns, amount = {name: part[name] for name in part.column_names}, part["amount"].cast(pa.string())
    pieces: list[pa.Array | str] = ['{"id":"', columns["event_id"], '","type":"', columns["kind"], '","time":"']
    pieces += [time, '","payment":"', columns["payment_id"]]
    for name in ("card", "account", "device"):
        pieces += [f'","{name}":"', columns[f"{name}_id"]]
    pieces += ['","merchant":{"id":"', columns["merchant_id"], '","mcc":"', columns["mcc"], '"},"amount":"']
    pieces += [amount, '","currency":"', columns["currency"], '","country":"', columns["country"], '","channel":"']
    pieces += [columns["channel"], '"}\n']
    lines = pc.binary_join_element_wise(*pieces, "")
    return "".join(lines.to_pylist()).encode()


def _write_pack(pack: Path, folder: Path) -> None:
    """Compute the features of the first payments with the bare pack, learn a model from them, and write the whole."""
    fresh = folder / "fresh-pack"
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "models").mkdir(parents=True)
    (fresh / "pack.toml").write_text(BARE, "utf-8")
    (fresh / "features.sql").write_text(features_sql(), "utf-8")
    (fresh / "models").rmdir()
    payments = pa.concat_tables(_payments(LEARNT)).combine_chunks()
    table = _features(fresh, payments)
    model, card = _learn(table, payments)
    columns = {name: table[name].cast(pa.float64()).drop_null().to_numpy() for name in FEATURES}
    for name in ("models", "lists"):
        (fresh / name).mkdir()
    (fresh / "models" / "fraud.txt").write_bytes(model)
    (fresh / "models" / "fraud.toml").write_text(card, "utf-8")
    for name, values in LISTS.items():
        (fresh / "lists" / f"{name}.csv").write_text("\n".join(["value,starts,expires", *(f"{v},," for v in values)]))
    rules = rules_yaml(lambda name, q: float(np.quantile(columns[name], q)))
    (fresh / "rules.yaml").write_text(rules, "utf-8")
    (fresh / "pack.toml").write_text(WHOLE, "utf-8")
    load_pack(fresh)
    fresh.rename(pack)


def _features(bare: Path, payments: pa.Table) -> pa.Table:
    engine = compile_pack(load_pack(bare))
    decider, parts = Decider(engine), []
    raws = _json(payments).splitlines()
    times = payments["event_time"].cast(pa.int64()).to_numpy()
    for start in range(0, LEARNT, 4096):
        records = [
            Message("payments", 0, k, int(times[k]), None, raws[k]) for k in range(start, min(start + 4096, LEARNT))
        ]
        batch = read_records(records, decider.plan, decider.log_clock, "").batch
        _, decided = step(engine, decider.state, batch)
        columns = [(name, engine.layout[name]) for name in FEATURES]
        parts.append(to_arrow(decided.sheet, columns, np.arange(decided.sheet.n)))
    return pa.concat_tables(parts)


def _learn(table: pa.Table, payments: pa.Table) -> tuple[bytes, str]:
    """A model of 300 full trees, and its card."""
    labels = payments["fraud"].cast(pa.uint8()).to_numpy()
    times = payments["event_time"].cast(pa.int64()).to_numpy()
    rows = np.arange(LEARNT)
    slices = Slices(rows[: LEARNT // 2], rows[LEARNT // 2 : LEARNT * 3 // 4], rows[LEARNT * 3 // 4 :])
    model, card = train(table, labels, times, slices, PURPOSE, PARAMS)
    full = model.count(b"num_leaves=%d\n" % LEAVES)
    if full < TREES:
        raise SystemExit(f"only {full} of {TREES} trees have {LEAVES} leaves: the workload's model is too small")
    return model, write_card(card)
