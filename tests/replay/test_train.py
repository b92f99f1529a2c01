"""Training from a log: what it may know, and what it writes."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from models.card_toml import read_card
from models.forest import parse_forest
from models.measures import average_precision
from models.plan import make_plan
from models.prequential import Window
from models.scorer import predict_raw
from models.training import DEFAULTS, Purpose, fit, validation_curve
from replay.run import Recorder, run
from replay.sources import Input, read_log
from replay.training.command import train
from replay.training.rows import Truth, learnable
from replay.training.search import GRID
from replay.training.train import Plan, Trained, train_on_log
from sekisho.compile import compile_pack
from sekisho.errors import SekishoError
from sekisho.load import load_pack
from sekisho.state import new_state

DAY = 86_400_000_000
START = 1_767_225_600_000_000
WINDOW = Window(START + 20 * DAY, START + 30 * DAY, 5 * DAY, START + 40 * DAY)
PURPOSE = Purpose("small", "tests", "none")
N = 6_000


@pytest.fixture(scope="module")
def engine(pack_folder, tmp_path_factory):
    """The small pack, its cards marked as whose payments they are."""
    folder = tmp_path_factory.mktemp("packs") / "cards"
    shutil.copytree(pack_folder, folder)
    head = folder / "pack.toml"
    head.write_text(head.read_text().replace('card_id = { type = "id" }', 'card_id = { type = "id", pii = "account" }'))
    return compile_pack(load_pack(folder))


def payments(folder):
    """50 days of payments of 100 cards, one in 50 late by half an hour; large ones tend to be fraud."""
    rng = np.random.default_rng(1)
    arrived = np.sort(rng.integers(0, 50 * DAY, N)) + START
    at = np.where(rng.random(N) < 0.02, arrived - DAY // 48, arrived)
    amount = rng.lognormal(8, 1, N).astype(np.int64)
    fraud = rng.random(N) < np.where(amount > 12_000, 0.4, 0.005)
    ids = [f"p{k}" for k in range(N)]
    table = pa.table({
        "event_id": ids, "payment_id": ids, "event_time": pa.array(at, pa.timestamp("us", "UTC")),
        "arrived": pa.array(arrived, pa.timestamp("us", "UTC")),
        "card_id": [f"c{k}" for k in rng.integers(0, 100, N)], "amount": amount,
    })  # fmt: skip
    pq.write_table(table, folder / "payments.parquet")
    return [(f"p{k}", int(arrived[k]) + 4 * DAY) for k in np.flatnonzero(fraud)]


def labelled(folder, name, labels) -> list[Input]:
    """The log of the payments and of labels (payment, when it entered the log)."""
    labels = sorted(labels, key=lambda label: label[1])
    when = pa.array([at for _, at in labels], pa.timestamp("us", "UTC"))
    pq.write_table(
        pa.table({
            "event_id": [f"l{k}{at}" for k, at in labels], "payment_id": [k for k, _ in labels], "event_time": when,
            "arrived": when, "label_class": ["fraud"] * len(labels), "kind": ["label"] * len(labels),
        }), folder / f"{name}.parquet",
    )  # fmt: skip
    return [Input(folder / f"{name}.parquet", "arrived", "label"), Input(folder / "payments.parquet", "arrived")]


def trained(engine, inputs, maturity_us=5 * DAY, seed=1, **more) -> Trained:
    return train_on_log(engine, inputs, Plan(WINDOW, 1, maturity_us, seed, **more), PURPOSE, lambda *_: None)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    return folder, payments(folder)


@pytest.fixture(scope="module")
def first(engine, log):
    return trained(engine, labelled(log[0], "plain", log[1]))


def test_a_seed_gives_one_model(engine, log, first) -> None:
    """The same log and seed give the same file; another seed another."""
    again = trained(engine, labelled(log[0], "again", log[1]))
    other = trained(engine, labelled(log[0], "other", log[1]), seed=2)
    assert first.model == again.model != other.model
    assert first.card == again.card
    assert first.card.metrics["roc_auc"] > 0.75


def test_labels_after_the_model_is_made_change_nothing_in_it(engine, log, first) -> None:
    """Labels planted from the test's beginning on, and all those of then moved a day later: the same model, the same
    calibration and validation. One entering a microsecond sooner makes another model."""
    plain = log[1]
    good = sorted({f"p{k}" for k in range(N)} - {payment for payment, _ in plain})
    moved = [(payment, at + DAY if at >= WINDOW.known_us else at) for payment, at in plain]
    future = trained(engine, labelled(log[0], "future", [*moved, *((p, WINDOW.known_us) for p in good[::3])]))
    assert future.model == first.model
    assert future.card.calibration == first.card.calibration
    assert np.array_equal(future.folds[1].raw, first.folds[1].raw)
    sooner = trained(engine, labelled(log[0], "sooner", [*plain, *((p, WINDOW.known_us - 1) for p in good[::3])]))
    assert sooner.model != first.model


def test_the_young_are_left_out_and_counted(engine, log) -> None:
    """With a maturity above the delay the last days of the range teach nothing, labelled or not, and are counted."""
    with_young = trained(engine, labelled(log[0], "young", log[1]), maturity_us=7 * DAY)
    own = with_young.folds[0]
    times = pq.read_table(log[0] / "payments.parquet")["event_time"].cast(pa.int64()).to_numpy()
    young = int(((times >= WINDOW.train_to_us - 2 * DAY) & (times < WINDOW.train_to_us)).sum())
    assert own.split.known[Truth.YOUNG.name.lower()] == young > 0
    assert with_young.card.metrics["left_out_young"] == young
    assert with_young.card.trained_to.timestamp() * 1e6 < WINDOW.train_to_us - 2 * DAY


def test_the_packs_maturity_is_the_default(pack_folder, log, tmp_path) -> None:
    """A pack that waits seven days leaves out what --maturity 7d leaves out; --delay alone leaves out none."""
    folder = tmp_path / "waiting"
    shutil.copytree(pack_folder, folder)
    head = folder / "pack.toml"
    head.write_text(head.read_text().replace('fraud = ["fraud"]', 'fraud = ["fraud"]\nmaturity = { fraud = "7d" }'))
    labelled(log[0], "waited", log[1])
    ranges = ["--train-from", "2026-01-21", "--train-to", "2026-01-31", "--delay", "5d", "--test-to", "2026-02-10"]
    left = {}
    for name, pack, more in (
        ("pack", folder, []),
        ("asked", pack_folder, ["--maturity", "7d"]),
        ("delay", pack_folder, []),
    ):
        out = tmp_path / f"{name}.txt"
        command = [str(pack), str(log[0] / "payments.parquet"), "--labels", str(log[0] / "waited.parquet"), *ranges,
                   "--arrived-at", "arrived", "--folds", "1", "--owner", "me", "--use", "tests", "--out", str(out),
                   "--param", "num_iterations=5", *more]  # fmt: skip
        assert CliRunner().invoke(train, command, catch_exceptions=False).exit_code == 0
        card = read_card(out.with_suffix(".toml").read_bytes())
        left[name] = card.metrics["left_out_young"], card.origin.maturity_us
    assert left["pack"] == left["asked"] and left["pack"][0] > left["delay"][0] == 0
    assert (left["pack"][1], left["delay"][1]) == (7 * DAY, 5 * DAY)


def test_the_table_holds_what_replay_writes(engine, log, tmp_path) -> None:
    """Training features equal those that `replay run --features` writes, byte for byte, late events among them."""
    from replay.backtest.roles import roles_of
    from replay.training.rows import Span, read_features, write_rows

    inputs = labelled(log[0], "bytes", log[1])
    span = Span(WINDOW.train_from_us, WINDOW.test_to_us)
    write_rows(engine, roles_of(engine.pack, engine.pack.schema), inputs, span, tmp_path, lambda *_: None, 1)
    logged = tmp_path / "logged.parquet"
    with Recorder(engine, features=logged, from_us=span.from_us, to_us=span.to_us) as recorder:
        for part in run(engine, new_state(engine), read_log(engine, inputs), batch=97):
            recorder.record(part)
    ours = read_features(tmp_path).combine_chunks()
    assert ours.equals(pq.read_table(logged).drop_columns(["event_id"]).combine_chunks())
    assert ours.num_rows > 1_000


def test_ranges_without_fraud_are_refused(engine, log) -> None:
    """Without a label nothing can be learnt; the refusal says what was found and what to do."""
    with pytest.raises(SekishoError, match=r"has not both frauds and good payments: .* good, 0 fraud"):
        trained(engine, labelled(log[0], "none", log[1][:1]))


def test_a_subset_and_parameters_reach_the_model(engine, log) -> None:
    """The model reads the named features alone, in the pack's order, and was trained with the parameter."""
    known = learnable(engine)[0]
    asked = (known[2], known[0])
    small = trained(engine, labelled(log[0], "subset", log[1]), features=asked, params={"num_iterations": 7})
    assert [feature.name for feature in small.card.features] == [known[0], known[2]]
    assert b"[num_iterations: 7]" in small.model
    with pytest.raises(SekishoError, match=f"has no feature {known[0]}x"):
        trained(engine, labelled(log[0], "subset", log[1]), features=(f"{known[0]}x",))


def test_fresh_cards_are_those_without_a_known_fraud(engine, log, first) -> None:
    """By hand: on a test day a card is fresh if none of its frauds since the training began is a delay older."""
    split = first.folds[0].split
    table = pq.read_table(log[0] / "payments.parquet")
    at, card = table["event_time"].cast(pa.int64()).to_numpy(), table["card_id"].to_pylist()
    order = np.argsort(table["arrived"].cast(pa.int64()).to_numpy(), kind="stable")
    order = order[(at[order] >= first.folds[-1].split.window.train_from_us) & (at[order] < WINDOW.test_to_us)]
    fraud = {int(payment[1:]) for payment, _ in log[1]}
    old = [k for k in fraud if at[k] >= WINDOW.train_from_us]
    for n, day, fresh in zip(split.test, split.days, split.fresh, strict=True):
        start = WINDOW.known_us + int(day) * DAY
        assert start <= at[order[n]] < start + DAY
        assert fresh == all(card[k] != card[order[n]] or at[k] >= start - WINDOW.delay_us for k in old)
    assert 0 < split.fresh.sum() < len(split.fresh)
    assert {"fresh_average_precision", "card_precision_100"} <= first.card.metrics.keys()


def test_without_cards_nothing_is_said_of_them(pack_folder, log) -> None:
    """Where the pack marks no account, what is counted by card is not a number, and the card does not name it."""
    metrics = trained(compile_pack(load_pack(pack_folder)), labelled(log[0], "nobody", log[1])).card.metrics
    assert "average_precision" in metrics
    assert not [name for name in metrics if "fresh" in name or "card" in name]


def test_choices_on_the_command_line(pack_folder, log, tmp_path) -> None:
    """A file of features with comments is read; a slip in a parameter is wrong usage and names the right word."""
    labelled(log[0], "line", log[1])
    (tmp_path / "names.txt").write_text("# what was paid\npaid\n\npayments  # of a day\n")
    ranges = ["--train-from", "2026-01-21", "--train-to", "2026-01-31", "--delay", "5d", "--test-to", "2026-02-10"]
    command = [
        str(pack_folder), str(log[0] / "payments.parquet"), "--labels", str(log[0] / "line.parquet"), *ranges,
        "--arrived-at", "arrived", "--folds", "1", "--out", str(tmp_path / "m.txt"), "--owner", "me", "--use", "tests",
        "--features", str(tmp_path / "names.txt"),
    ]  # fmt: skip
    done = CliRunner().invoke(train, [*command, "--param", "num_leaves=4"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "nothing says whose card" in done.output
    assert [each.name for each in read_card((tmp_path / "m.toml").read_bytes()).features] == ["paid", "payments"]
    wrong = CliRunner().invoke(train, [*command, "--param", "num_leavs=4"])
    assert (wrong.exit_code, "did you mean num_leaves?" in wrong.output) == (2, True)


def test_a_search_is_seeded_and_beats_no_one_by_peeking(engine, log) -> None:
    """Equal seeds try equal configurations, the defaults among them; labels of the test change no choice."""
    fixed = {"num_iterations": 40, "feature_fraction": 0.8}
    asked = {"params": fixed, "tries": 3, "features": ("paid", "payments")}
    found = trained(engine, labelled(log[0], "search", log[1]), **asked)
    assert len(found.trials) == 3
    assert [each.average_precision for each in found.trials] == sorted(
        (each.average_precision for each in found.trials), reverse=True
    )
    assert any(all(each.params[name] == DEFAULTS[name] for name in GRID.keys() - fixed) for each in found.trials)
    assert all(each.params["feature_fraction"] == 0.8 and each.params["num_iterations"] <= 40 for each in found.trials)
    assert f"[num_leaves: {found.trials[0].params['num_leaves']}]".encode() in found.model
    good = sorted({f"p{k}" for k in range(N)} - {payment for payment, _ in log[1]})
    future = labelled(log[0], "searched", [*log[1], *((p, WINDOW.known_us) for p in good[::3])])
    assert trained(engine, future, **asked).trials == found.trials


def test_a_validation_curve_is_the_average_precision_of_each_tree() -> None:
    """The last point is what the model of so many trees scores, by our own measure."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4000, 3))
    y = (rng.random(4000) < 1 / (1 + np.exp(3 - 2 * x[:, 0]))).astype(np.uint8)
    table = pa.table({f"x{k}": x[:, k] for k in range(3)})
    curve = validation_curve(table, y, 3000, {"num_iterations": 12})
    raw = fit(table, y, np.arange(3000), {"num_iterations": len(curve)}).raw
    assert curve[-1] == pytest.approx(average_precision(raw[3000:], y[3000:]), abs=1e-9)


@pytest.mark.parametrize(("key", "way"), [("increasing", 1), ("decreasing", -1)])
def test_directions_of_the_pack_hold_everywhere(pack_folder, log, tmp_path, key, way) -> None:
    """A feature swept from end to end moves every score one way alone; without the constraint it does not."""
    folder = tmp_path / "directed"
    shutil.copytree(pack_folder, folder)
    with (folder / "pack.toml").open("a") as head:
        head.write(f'\n[training]\n{key} = ["payments"]\n')
    grid = np.linspace(-1, 40, 83)
    for engine, held in ((compile_pack(load_pack(folder)), True), (compile_pack(load_pack(pack_folder)), False)):
        found = trained(engine, labelled(log[0], f"{key}{held}", log[1]), features=("paid", "payments"))
        plan = make_plan(parse_forest(found.model))
        moves = []
        for paid in (np.nan, 100.0, 3000.0, 20_000.0, 90_000.0):
            raw = predict_raw(plan, np.stack([np.full(len(grid), paid), grid]))
            moves.append(np.diff(raw) * way)
        assert (np.min(moves) >= 0) == held


def test_a_direction_of_what_has_no_order_is_refused(pack_folder, tmp_path) -> None:
    """A misspelt feature, or one named both ways, is refused where it stands."""
    folder = tmp_path / "wrong"
    shutil.copytree(pack_folder, folder)
    with (folder / "pack.toml").open("a") as head:
        head.write('\n[training]\nincreasing = ["payment", "paid"]\ndecreasing = ["paid"]\n')
    with pytest.raises(SekishoError) as refused:
        load_pack(folder)
    assert "did you mean payments?" in str(refused.value)
    assert "paid cannot be both" in str(refused.value)


def test_calibration_repairs_a_planted_class_weight(engine, log) -> None:
    """Frauds weighed twenty times over: probabilities are as good as without the weight, and better than raw ones."""
    inputs, few = labelled(log[0], "weighed", log[1]), {"num_iterations": 60}
    plain = trained(engine, inputs, params=few).card.metrics
    found = trained(engine, inputs, params={"scale_pos_weight": 20.0, **few})
    metrics = found.card.metrics
    assert metrics["log_loss"] < 0.5 * metrics["log_loss_uncalibrated"]
    assert metrics["log_loss"] == pytest.approx(plain["log_loss"], rel=0.05)
    assert metrics["expected_to_observed"] == pytest.approx(plain["expected_to_observed"], rel=0.15)
    assert sum(band.rows for band in found.bands) == len(found.folds[0].raw)
    expected = metrics["expected_to_observed"] * metrics["test_positives"]
    assert sum(band.expected for band in found.bands) == pytest.approx(expected, rel=1e-3)
