"""What refused payments hold, from those let through at random: plain Python, and worlds whose truth is known."""

from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from replay.backtest.holdout import share
from replay.backtest.records import DAY_US, Asked
from replay.backtest.run import run_backtest
from replay.pages.backtest_page import backtest_page
from replay.sources import Input
from sekisho.compile import compile_pack
from sekisho.errors import SekishoError
from sekisho.load import load_pack
from tests.replay.backtest.conftest import HOUR_US, SECOND_US, START_US, write_log, write_pack

SUSPECT = 200  # from this amount on, history refused unless chance let the payment through
NOW, THEN = {"large": (f"amount >= {SUSPECT}", "decline")}, {"huge": ("amount >= 380", "hold")}
COLUMN = "risk_p"


def chance(amount):
    """Smaller payments were let through more often, and are less often fraud."""
    return 0.5 if amount < 250 else 0.2 if amount < 320 else 0.08


def is_fraud(rng, amount):
    return rng.random() < (0.05 if amount < 250 else 0.3 if amount < 320 else 0.6)


def history(seed, payments=6000, cards=400):
    """(events, what nobody knows: payment -> is it fraud): one payment a minute, followed by what history did."""
    rng, events, secret = Random(seed), [], {}
    for k in range(payments):
        name, at, amount = f"p{k}", START_US + k * 60 * SECOND_US, rng.randint(50, 400)
        p, secret[name] = chance(amount), is_fraud(rng, amount)
        settles = amount < SUSPECT or rng.random() < p
        odd = rng.random()

        def add(delay_us, at=at, name=name, **fields):
            stamps = dict.fromkeys(("event_time", "recorded_at"), at + delay_us)
            events.append({"event_id": f"{name}:{delay_us}", "payment_id": name, **stamps, **fields})

        logged = None if amount < SUSPECT or odd < 0.1 else 0.0 if odd < 0.12 else 1.5 if odd < 0.13 else p
        late = logged is not None and odd > 0.9  # it stands with the outcome instead
        add(0, card_id=f"c{rng.randrange(cards)}", amount=amount, **({} if late else {COLUMN: logged}))
        add(SECOND_US, kind="outcome", outcome="approve" if settles else "decline", **({COLUMN: p} if late else {}))
        if settles and rng.random() < 0.98:
            add(2 * SECOND_US, kind="outcome", outcome="settled", outcome_amount=amount)
            odd = rng.random() < 0.05  # of frauds and others alike
            if odd or secret[name]:
                add(HOUR_US, kind="label", label_class="first_party" if odd else "fraud")
    return sorted(events, key=lambda event: event["recorded_at"]), secret


ASKED = Asked(accept_cold=True, maturity_us=DAY_US // 2, propensity=COLUMN, replicates=200)


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """CURRENT refuses as history did; CANDIDATE lets all but the largest through."""
    base = tmp_path_factory.mktemp("holdout")
    return [compile_pack(load_pack(write_pack(base / name, name, r))) for name, r in (("now", NOW), ("then", THEN))]


@pytest.fixture(scope="module")
def case(engines, tmp_path_factory):
    """(the back-test, its events, what nobody knows)."""
    events, secret = history(1)
    file = write_log(tmp_path_factory.mktemp("log") / "log.jsonl", events)
    return run_backtest(*engines, [Input(file)], ASKED), events, secret


def audited(events):
    """By payment, as an auditor reads the log: amount, propensity, refused, truth, entity."""
    end, found = max(event["event_time"] for event in events), {}
    for event in events:
        if "kind" not in event:
            young = event["event_time"] > end - ASKED.maturity_us
            found[event["payment_id"]] = {
                "amount": event["amount"], "p": event.get(COLUMN), "refused": False, "young": young,
                "truth": "censored", "entity": event["card_id"],
            }  # fmt: skip
            continue
        it = found[event["payment_id"]]
        it["p"] = event.get(COLUMN) if it["p"] is None else it["p"]
        it["refused"] |= event.get("outcome") == "decline"
        if event.get("outcome") == "settled":
            it["truth"] = "immature" if it["young"] else "presumed_good"
        if event["kind"] == "label":
            it["truth"] = "fraud" if event["label_class"] == "fraud" else "excluded"
    return found


def use(it):
    """What an auditor does with a propensity."""
    if it["p"] is None:
        return "absent" if it["refused"] else None
    if not 0 < it["p"] < 1:
        return "zero" if it["p"] == 0 else "out_of_range"
    if it["refused"] or it["truth"] in ("censored", "excluded"):
        return "refused" if it["refused"] else it["truth"]
    return "immature" if it["young"] else "let_through"


def test_the_estimate_is_what_its_formula_says(case):
    """Hajek's ratios, Kish's size, and the use of every propensity, one payment at a time."""
    result, events, _ = case
    payments = audited(events)
    uses = {row["use"]: (row["payments"], row["amount_minor"]) for row in result.tables["propensities"].to_pylist()}
    expected = {}
    for it in payments.values():
        count, money = expected.get(use(it), (0, 0))
        expected[use(it)] = count + 1, money + it["amount"]
    expected.pop(None)
    assert uses == expected and min(count for count, _ in uses.values()) > 0 and len(uses) == 8
    (row,) = (row for row in result.tables["holdout"].to_pylist() if row["strategy"] == "candidate")
    mine = [it for it in payments.values() if it["amount"] < 380]
    sample = [it for it in mine if use(it) == "let_through"]
    weight = [(1 - it["p"]) / it["p"] for it in sample]
    fraud = [it["truth"] == "fraud" for it in sample]
    unknown, covered = [it for it in mine if it["refused"]], [it for it in mine if use(it) == "refused"]
    money = [w * it["amount"] for w, it in zip(weight, sample, strict=True)]
    rate = sum(w for w, f in zip(weight, fraud, strict=True) if f) / sum(weight)
    part = sum(m for m, f in zip(money, fraud, strict=True) if f) / sum(money)
    known = {
        "unknown": len(unknown), "unknown_minor": sum(it["amount"] for it in unknown), "covered": len(covered),
        "covered_minor": sum(it["amount"] for it in covered), "let_through": len(sample),
        "let_through_frauds": sum(fraud), "effective_size": sum(weight) ** 2 / sum(w * w for w in weight),
        "fraud_rate": rate, "fraud_share": part, "frauds": round(rate * len(covered)),
        "fraud_minor": round(part * sum(it["amount"] for it in covered)),
    }  # fmt: skip
    assert {name: row[name] for name in known} == pytest.approx(known)
    assert row["unknown"] == result.frame("summary").set_index("strategy").unknown["candidate"]


def test_the_estimate_holds_the_truth_that_nobody_saw(case):
    """The frauds among the refused, known to the world alone, lie in the interval; without weights they do not."""
    result, events, secret = case
    payments = audited(events)
    covered = [name for name, it in payments.items() if it["amount"] < 380 and use(it) == "refused"]
    frauds = [payments[name]["amount"] for name in covered if secret[name]]
    truth = len(frauds), sum(frauds)
    (row,) = (row for row in result.tables["holdout"].to_pylist() if row["strategy"] == "candidate")
    assert row["frauds_low"] < truth[0] < row["frauds_high"]
    assert row["fraud_minor_low"] < truth[1] < row["fraud_minor_high"]
    assert row["fraud_minor_high"] - row["fraud_minor_low"] < truth[1]
    naive = row["let_through_frauds"] / row["let_through"] * row["covered_minor"]
    assert naive < row["fraud_minor_low"]


def test_a_strategy_that_refuses_the_same_has_nothing_to_estimate(case):
    """CURRENT stops all that history refused: no unknown payment, no sample, no figure."""
    row = next(row for row in case[0].tables["holdout"].to_pylist() if row["strategy"] == "current")
    assert (row["unknown"], row["let_through"], row["effective_size"]) == (0, 0, 0.0)
    assert row["fraud_minor"] is row["fraud_rate"] is None


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_the_page_has_the_estimate_apart(case, lang):
    """In the section of what is not known, with the column's name; and no total has moved."""
    page, row = backtest_page(case[0], lang), case[0].tables["holdout"].to_pylist()[1]
    part = page[page.index('id="open"') : page.index('id="flips"')]
    assert (
        f"{row['fraud_minor']:,}" in part and COLUMN in part and f"{row['fraud_minor']:,}" not in page.replace(part, "")
    )


@pytest.mark.parametrize("skew", [0.0, 1.0])
def test_the_interval_covers_the_true_share(skew):
    """In 200 hold-outs: about 95 of 100 intervals hold the true share, also where chance knew what is risky."""
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        risk, size = rng.random(6000), rng.integers(1, 100, 6000).astype(float)
        p = 0.25 - 0.2 * skew * risk
        let = rng.random(6000) < p
        fraud = (rng.random(6000) < 0.1 + 0.3 * risk).astype(float)
        entity = np.unique(rng.integers(0, 1500, let.sum()), return_inverse=True)[1]
        _, low, high = share(entity, ((1 - p) / p)[let], size[let], fraud[let], 100, seed)
        refused = (size * (1 - p)).sum()
        covered += low <= ((0.1 + 0.3 * risk) * size * (1 - p)).sum() / refused <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_no_fraud_among_few_is_not_no_fraud():
    """Twenty customers let through without a fraud: up to 16.8 % may be fraud; 1 - 0.025^(1/20) by the binomial."""
    found, low, high = share(np.arange(20), np.ones(20), np.ones(20), np.zeros(20), 50, 1)
    assert (found, low) == (0.0, 0.0) and high == pytest.approx(0.1684, abs=1e-4)
    assert (1 - high) ** 20 == pytest.approx(0.025)


def test_a_column_that_is_not_there_is_named(engines, tmp_path):
    """In a table, in JSON lines without the key, and where all of its values are null. A text is no probability."""
    times = pa.array([START_US], pa.timestamp("us", "UTC"))
    columns = {
        "event_id": ["e"],
        "event_time": times,
        "recorded_at": times,
        "payment_id": ["p"],
        "amount": [5],
        "risk_q": [0.1],
    }
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    with pytest.raises(SekishoError, match="no column risk_p") as found:
        run_backtest(*engines, [Input(tmp_path / "log.parquet")], ASKED)
    assert "risk_q" in found.value.fix
    file = write_log(tmp_path / "log.jsonl", history(2, 50)[0])
    file.write_text(file.read_text().replace("{", '{"risk": null, ', 1))
    for name, said in (("risk", "no payment that counts has a propensity in risk"),
                       ("chance", "log.jsonl: there is no column chance"), ("card_id", "of type id"),
                       ("arrival_lag", "a system column")):  # fmt: skip
        with pytest.raises(SekishoError, match=said):
            run_backtest(*engines, [Input(file)], Asked(accept_cold=True, replicates=0, propensity=name))


def test_a_field_of_the_pack_is_read_as_the_pack_spells_it(engines, tmp_path):
    """Declared as a number of four digits, read from a column of another name: the same estimate by either name."""
    events, _ = history(3, 1500)
    file, packs = write_log(tmp_path / "log.jsonl", events), []
    for name, rules in (("now", NOW), ("then", THEN)):
        pack = write_pack(tmp_path / name, name, rules)
        text = (pack / "pack.toml").read_text()
        field = f'p_learn = {{ type = "number", scale = 4, from = "{COLUMN}" }}\nbalance ='
        (pack / "pack.toml").write_text(text.replace("balance =", field))
        packs.append(compile_pack(load_pack(pack)))
    found = []
    for pair, name in ((engines, COLUMN), (packs, "p_learn"), (packs, COLUMN)):
        asked = Asked(accept_cold=True, maturity_us=DAY_US // 2, replicates=20, propensity=name)
        found.append(run_backtest(*pair, [Input(file)], asked).tables["holdout"].to_pylist())
    assert found[0] == found[1] == found[2] and found[0][1]["fraud_minor"] > 0


def test_nothing_is_estimated_unless_asked(engines, tmp_path):
    """Off by default: the tables are empty and the page is silent."""
    result = run_backtest(*engines, [Input(write_log(tmp_path / "log.jsonl", history(2, 50)[0]))],
                          Asked(accept_cold=True, replicates=0))  # fmt: skip
    assert result.tables["holdout"].num_rows == result.tables["propensities"].num_rows == 0
    assert "effective size" not in backtest_page(result)
