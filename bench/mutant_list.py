"""The menu of breaks for bench.mutants: small changes of the source, each of which the tests must notice.

A break stands where a law is kept, changes as little as it can, and names the few tests that are its judge.
"""

from __future__ import annotations

from dataclasses import dataclass

WINDOWS = ("tests/features/test_windows.py",)
CONTROL = ("tests/laws/test_l06_control_events.py",)
INTAKE = ("tests/sekisho/test_intake.py",)
RULES = ("tests/rules/test_evaluate.py",)
FOREST = ("tests/models/test_forest.py",)
JSON = ("tests/sekisho/test_wire_json.py",)
FILES = ("tests/replay/test_bad_files.py",)
DUCKDB = ("tests/features/test_vm_duckdb.py",)
TOPICS = ("tests/replay/test_topic_log.py",)
LANGUAGE = ("tests/rules/test_language.py",)
RECORD = tuple(f"tests/laws/test_l06_cuts.py::test_the_engine_is_the_specification[{block}]" for block in range(3))
ALERTS = ("tests/rules/test_alerts.py",)
HOOKS = ("tests/streams/webhooks/test_outbox.py",)
SCHEDULES = ("tests/streams/test_simulation.py::test_no_schedule_loses_doubles_or_changes_anything",)
EPOCHS = ("tests/streams/test_simulation.py::test_each_writer_has_an_epoch_of_its_own",)
FEEDBACK = ("tests/replay/backtest/test_feedback.py",)
TRUTH = ("tests/replay/backtest/test_truth.py",)
BACKTEST = ("tests/replay/backtest/test_backtest.py",)
CAUSES = ("tests/replay/backtest/test_causes.py",)


@dataclass(frozen=True)
class Mutant:
    """`old`, found once in `file`, becomes `new`; that breaks `law`, and one of `tests` must say so."""

    name: str
    law: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "frame start is open", "L2", "features/window_kernel.py",
        "hint, time - plan.bounds[k])", "hint, time - plan.bounds[k] + 1)", WINDOWS,
    ),
    Mutant(
        "EXCLUDE is ignored", "L2", "features/window_kernel.py",
        "            hi = at\n", "            hi = at + 1\n", WINDOWS,
    ),
    Mutant(
        "rows go before lateness has passed", "L4", "features/window_kernel.py",
        "reach = watermark - plan.shape[LATENESS_US] if", "reach = watermark if", WINDOWS,
    ),
    Mutant(
        "sample and population are swapped", "L5", "features/window_kernel.py",
        "sample, rooted = 1 if function in (VAR_SAMP, STDDEV_SAMP) else 0,",
        "sample, rooted = 0 if function in (VAR_SAMP, STDDEV_SAMP) else 1,", WINDOWS,
    ),
    Mutant(
        "a late row stands before those of its time", "L2", "features/rows.py",
        "first_at(words, rows_at, stride, first, end, time + 1)", "first_at(words, rows_at, stride, first, end, time)",
        WINDOWS,
    ),
    Mutant(
        "a row goes one moment early", "L4", "features/rows.py",
        "words[rows_at + first * stride] < reach - plan.shape[KEEP_US]:",
        "words[rows_at + first * stride] <= reach - plan.shape[KEEP_US]:", WINDOWS,
    ),
    Mutant(
        "a late row changes no later total", "L3", "features/rows.py",
        "range(at, at + (later + 1) * stride, stride)", "range(at, at + stride, stride)", WINDOWS,
    ),
    Mutant(
        "sums have 64 bits", "L5", "features/rows.py",
        "        if size > 1:\n", "        if size > 2:\n", WINDOWS,
    ),
    Mutant(
        "narrow totals of squares wrap", "L5", "features/narrow.py",
        "if held + lo * lo < 0:", "if False:", WINDOWS,
    ),
    Mutant(
        "narrow rows all count", "L3", "features/narrow.py",
        "fresh[m, PASSES] == 0:", "fresh[m, PASSES] > 1:", WINDOWS,
    ),
    Mutant(
        "a distinct value never leaves", "L3", "features/distincts.py",
        "(hi, right, -1), (left, lo, -1)", "(hi, right, -1), (left, lo, 0)", WINDOWS,
    ),
    Mutant(
        "a late row changes no extreme", "L3", "features/extremes.py",
        "for parent in range(lo >> 3, parents):", "for parent in range((hi - 1) >> 3, parents):", WINDOWS,
    ),
    Mutant(
        "NULL keys are pooled", "L7", "features/intern.py",
        "if valid[row, i] != VALID:", "if valid[row, i] > VALID:", WINDOWS,
    ),
    Mutant(
        "equal hashes are equal keys", "L3", "features/intern.py",
        "while k < count and words[record + key_at + k] == key[start + k]:", "while k < count:", WINDOWS,
    ),
    Mutant(
        "frame end is one moment late", "L2", "features/window_plan.py",
        "CURRENT if end == 0 else bound(end - 1)", "CURRENT if end == 0 else bound(end - 2)", WINDOWS,
    ),
    Mutant(
        "halves round up", "L5", "features/shims.py",
        "(rest == half and (sticky or kept & _U1 == _U1))", "rest == half", ("tests/features/test_shims.py",),
    ),
    Mutant(
        "FALSE AND NULL is NULL", "L7", "features/vm.py",
        "valid[d, i] = VALID if decided else (x & y & 1) | ((x | y) & 2)", "valid[d, i] = (x & y & 1) | ((x | y) & 2)",
        ("tests/features/test_vm_trees.py",),
    ),
    Mutant(
        "a list entry outlives its expiry", "L1", "features/lists.py",
        "spans[s, 0] <= at_us < spans[s, 1]", "spans[s, 0] <= at_us <= spans[s, 1]", RULES,
    ),
    Mutant(
        "W advances by batches", "L4", "sekisho/intake.py",
        "w, t = mark[0], cells[time_row, i]", "w, t = mark[0] if i == 0 else watermark[0], cells[time_row, i]", INTAKE,
    ),
    Mutant(
        "an id alone makes a duplicate", "L11", "sekisho/intake.py",
        "if seen[record] == content[i, 0] and seen[record + 1] == content[i, 1]:", "if at >= 0:", INTAKE,
    ),
    Mutant(
        "the future is let in", "L4", "sekisho/intake.py",
        "if valid[record_row, i] == VALID and t > cells[record_row, i] + skew:",
        "if valid[record_row, i] > VALID and t > cells[record_row, i] + skew:", INTAKE,
    ),
    Mutant(
        "follow-ups inherit from a degraded payment", "L4", "sekisho/intake.py",
        "if outcome == ENTERS and payment_row >= 0 and len(inherit)", "if payment_row >= 0 and len(inherit)", INTAKE,
    ),
    Mutant(
        "each fraud label counts", "L11", "sekisho/intake.py",
        "    return heap[at + HEADER] - before\n", "    return heap[at + HEADER]\n", INTAKE,
    ),
    Mutant(
        "a ledger forgets at its horizon", "L11", "sekisho/ledger.py",
        "heap[marks[HEAD] + STAMP] < before:", "heap[marks[HEAD] + STAMP] <= before:",
        ("tests/sekisho/test_ledger.py",),
    ),
    Mutant(
        "a leg stands before its source", "L6", "sekisho/step.py",
        "np.lexsort((which, source))", "np.lexsort((-which, source))", INTAKE,
    ),
    Mutant(
        "unknown is no_hit", "L7", "features/vm.py",
        "UNKNOWN if known == NULL else FAILED", "0 if known == NULL else FAILED", RULES,
    ),
    Mutant(
        "an attack that comes late is no group", "L4", "rules/alerts.py",
        "gathering.last_clock_us = alert.clock_us", "gathering.last_clock_us = alert.event_time_us",
        ("tests/rules/test_alerts.py",),
    ),
    Mutant(
        "a mute ends by the event's own time", "L6", "sekisho/step.py",
        "return (clock < until[:, None])", 'return (sheet.ints("event_time") < until[:, None])', CONTROL,
    ),
    Mutant(
        "what is removed stays on the pack's list", "L6", "rules/controls.py",
        "said.cleared, said.spans = True, []", "said.spans = []", ("tests/replay/test_control_replay.py",),
    ),
    Mutant(
        "a snooze is not heard", "L6", "rules/alerts.py",
        "            if alert.key in state.snoozed:\n", "            if alert.key in ():\n",
        ("tests/rules/test_alerts.py",),
    ),
    Mutant(
        "what is said counts from the batch's start", "L6", "sekisho/records.py",
        "np.argsort(np.concatenate([good, index])", "np.argsort(np.concatenate([good, index - len(records)])",
        ("tests/replay/test_control_replay.py",),
    ),
    Mutant(
        "NaN is 0", "L7", "models/trees.py",
        "if np.isnan(x[r]) or (missing == MISSING_ZERO and value[r] == 0.0):",
        "if missing == MISSING_ZERO and value[r] == 0.0:", FOREST,
    ),
    Mutant(
        "trees are added from the last", "L8", "models/trees.py",
        "for t in range(len(node_start) - 1):\n        first,",
        "for t in range(len(node_start) - 2, -1, -1):\n        first,", FOREST,
    ),
    Mutant(
        "ties of several logs are reversed", "L6", "replay/merge.py",
        'np.argsort(arrival, kind="stable")', "np.lexsort((-np.arange(len(arrival)), arrival))",
        ("tests/replay/test_sources.py",),
    ),
    Mutant(
        "money loses its decimals", "L5", "sekisho/wire/scalars.py",
        "        return np.int64(0), DECIMALS\n", "        return mantissa // _POW10[min(-x, 18)], code\n",
        ("tests/sekisho/test_wire_json.py",),
    ),
    Mutant(
        "a NULL of a table is 0", "L7", "sekisho/wire/table_decode.py",
        "    reading.sheet.valid[row] = present\n", "    reading.sheet.valid[row] = VALID\n",
        ("tests/sekisho/test_wire_tables.py",),
    ),
    # what arrives
    Mutant(
        "a key is known by its beginning", "L10", "sekisho/wire/json_decode.py",
        "if entry < 0 or stop >= end or text[stop] != QUOTE or not", "if entry < 0 or stop >= end or not", JSON,
    ),
    Mutant(
        "the second value of a key wins", "L10", "sekisho/wire/json_decode.py",
        "    if seen[entry] == i:\n", "    if seen[entry] == -2:\n", JSON,
    ),
    Mutant(
        "a bad record leaves its cells to the next", "L10", "sekisho/wire/json_decode.py",
        "                valid[fields[f, ROW], n_good] = NULL\n",
        "                valid[fields[f, ROW], n_good] &= VALID\n", JSON,
    ),
    Mutant(
        "one byte may follow a record", "L10", "sekisho/wire/json_decode.py",
        "    if at < end:\n        return TRAILING", "    if at < end - 1:\n        return TRAILING", JSON,
    ),
    Mutant(
        "a surrogate is a character", "L10", "sekisho/wire/json_scan.py",
        "if low < 0xDC00 or low > 0xDFFF:", "if low < 0xD800 or low > 0xDFFF:", JSON,
    ),
    Mutant(
        "overlong UTF-8 is let in", "L10", "sekisho/wire/json_scan.py",
        "(lead == 0xE0 and second < 0xA0)", "(lead == 0xE0 and second < 0x90)", JSON,
    ),
    Mutant(
        "the 19th digit of a double is dropped", "L5", "sekisho/wire/scalars.py",
        "if digits > 18 or x < -38", "if digits > 19 or x < -38", JSON,
    ),
    Mutant(
        "the most money is too much", "L5", "sekisho/wire/scalars.py",
        "    if units > limit:\n", "    if units >= limit:\n", JSON,
    ),
    Mutant(
        "every fourth year is a leap year", "L1", "sekisho/wire/scalars.py",
        "29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28", "29 if year % 4 == 0 else 28",
        (*JSON, "tests/sekisho/test_wire_tables.py"),
    ),
    Mutant(
        "an offset of half an hour is lost", "L1", "sekisho/wire/scalars.py",
        "minutes = _digits(data, at + 3, end, 2)", "minutes = np.int64(0)", JSON,
    ),
    Mutant(
        "nanoseconds are cut off", "L1", "sekisho/wire/scalars.py",
        "if unit == 0 and data[at] != 48:", "if unit == 0 and data[at] > 57:", JSON,
    ),
    Mutant(
        "the moment of a change of clocks is before it", "L1", "sekisho/wire/zones.py",
        "if starts[middle] <= local:", "if starts[middle] < local:", ("tests/sekisho/test_wire_zones.py",),
    ),
    Mutant(
        "a kind is known by its beginning", "L10", "sekisho/wire/complete.py",
        "    if length != b & _LENGTH:\n", "    if length > b & _LENGTH:\n", JSON,
    ),
    Mutant(
        "a lag without a clock is known", "L7", "sekisho/wire/complete.py",
        "sheet.valid[plan.record_time] & sheet.valid[plan.event_time]", "sheet.valid[plan.event_time]", JSON,
    ),
    Mutant(
        "two quotes end a cell", "L10", "replay/csv_rows.py",
        "elif at + 1 < len(data) and data[at + 1] == _QUOTE:", "elif at + 1 < len(data) and data[at + 1] == 0:", FILES,
    ),
    Mutant(
        "a carriage return at a block's end is a line end", "L6", "replay/csv_rows.py",
        "            if at == len(data) and not final:\n                return np.int64(-1), np.int64(-1)\n"
        "            return at +",
        "            return at +", FILES,
    ),
    Mutant(
        "equal times merge by partition, then topic", "L6", "replay/topic_log.py",
        "(message.time_us, message.topic, message.partition)", "(message.time_us, message.partition, message.topic)",
        TOPICS,
    ),
    Mutant(
        "a range of topics ends behind its end", "L6", "replay/topic_log.py",
        "message.time_us < to_us", "message.time_us <= to_us", TOPICS,
    ),
    # features
    Mutant(
        "a double as money rounds halves to even", "L5", "features/operators.py",
        "away = int(to.kind is Kind.DECIMAL)", "away = 0", DUCKDB,
    ),
    Mutant(
        "ceil is floor", "L5", "features/operators.py",
        "return b.exact(vm.NEG_I64, vm.NEG_I128, [floored], [to], to)", "return floored",
        DUCKDB,
    ),
    Mutant(
        "a half below zero rounds up", "L5", "features/vm.py",
        "rest > c - rest or (rest == c - rest and x > 0)", "rest >= c - rest", DUCKDB,
    ),
    Mutant(
        "a difference wraps", "L5", "features/vm.py",
        "bad = ((x ^ y) & (x ^ r)) < 0 or r < p or r > q", "bad = r < p or r > q", DUCKDB,
    ),
    Mutant(
        "an unknown is distinct from an unknown", "L7", "features/vm.py",
        "cells[d, i] = cells[c, i] if x and y else x != y", "cells[d, i] = cells[c, i] if x and y else 1",
        ("tests/features/test_vm_trees.py",),
    ),
    Mutant(
        "a default of CASE is seen by no walk", "L7", "features/expr.py",
        "(*(part for when in self.whens for part in when), self.default)",
        "(*(part for when in self.whens for part in when),)",
        ("tests/features/test_program.py", "tests/features/test_sql_query.py", "tests/features/test_sql_refusals.py"),
    ),
    Mutant(
        "texts of one store are read in another's", "L6", "features/windows.py",
        "            end += size\n", "            end += 0\n", WINDOWS,
    ),
    Mutant(
        "a device's EXCLUDE is ignored", "L2", "features/gpu/kernels.py",
        "seen = j + (0 if frames[f, EXCLUDES] != 0 else 1)", "seen = j + 1", WINDOWS,
    ),
    Mutant(
        "a device's sums have 64 bits", "L5", "features/gpu/kernels.py",
        "        carry >>= 32\n", "        carry = carry >> 32 if k < 1 else 0\n", WINDOWS,
    ),
    Mutant(
        "what a device drops it forgets", "L4", "features/gpu/runs.py",
        "        addends[:, last] = xp.diff(upto, axis=1, prepend=0)\n", "", ("tests/features/test_gpu.py",),
    ),
    # scores
    Mutant(
        "points are cut, not rounded", "L8", "models/scorer.py",
        "np.int64(min(max(np.rint(", "np.int64(min(max(np.floor(", ("tests/models/test_scorer.py",),
    ),
    Mutant(
        "columns stand in the card's order", "L8", "models/scorer.py",
        "return replace(card, features=tuple(by_name[name] for name in forest.feature_names))", "return card",
        ("tests/models/test_scorer.py",),
    ),
    Mutant(
        "a large integer is divided twice rounded", "L5", "models/matrix.py",
        "_EXACT_INT = np.int64(2**53)", "_EXACT_INT = np.int64(2**62)", ("tests/models/test_scorer.py",),
    ),
    Mutant(
        "an unseen category is the first", "L7", "models/matrix.py",
        "    return np.float64(np.nan)\n", "    return np.float64(0.0)\n", ("tests/models/test_scorer.py",),
    ),
    Mutant(
        "a category below zero is none", "L8", "models/trees.py",
        "if -1.0 < x[r] < 32.0", "if 0.0 <= x[r] < 32.0", FOREST,
    ),
    Mutant(
        "almost 0 is not 0", "L8", "models/trees.py",
        "value[r] = x[r] if abs(x[r]) > ZERO_THRESHOLD else 0.0", "value[r] = x[r] if abs(x[r]) > 0.0 else 0.0", FOREST,
    ),
    Mutant(
        "targets of a calibration are 0 and 1", "L8", "models/calibration.py",
        "np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))", "labels.astype(np.float64)",
        ("tests/models/test_training.py",),
    ),
    # rules, alerts, records
    Mutant(
        "a hard block may leave out what happens in doubt", "L7", "rules/language.py",
        'strict = outcome == "decline" or stage == "hard_block"', 'strict = outcome == "decline"', LANGUAGE,
    ),
    Mutant(
        "an exempt lifts a hard block", "L7", "rules/language.py",
        'elif by_id[name].stage != "normal":', 'elif by_id[name].stage == "exempt":', LANGUAGE,
    ),
    Mutant(
        "an example's number in quotes is a number", "L7", "rules/language.py",
        "quoted = node.style in QUOTED or not re.fullmatch", "quoted = not re.fullmatch", LANGUAGE,
    ),
    Mutant(
        "a lifted rule is among the reasons", "L8", "sekisho/decision.py",
        "if lifted[r, i] == 0 and muted[r, i] == 0:", "if muted[r, i] == 0:", RECORD,
    ),
    Mutant(
        "a degraded event is not flagged", "L4", "sekisho/decision.py",
        "flags[i] & (TOO_LATE | FUTURE | CONFLICT)", "flags[i] & (FUTURE | CONFLICT)", RECORD,
    ),
    Mutant(
        "a feature that is NULL has overflowed", "L7", "sekisho/decision.py",
        "                    if valid[row, i] == ERROR:\n", "                    if valid[row, i] != VALID:\n",
        ("tests/laws/test_l05_integers.py::test_what_is_null_has_not_overflowed",),
    ),
    Mutant(
        "the headline is the last model's score", "L8", "sekisho/decision.py",
        "max(best[k], scores[rows[k]]), VALID", "scores[rows[k]], VALID", ("tests/laws/test_l08_models.py",),
    ),
    Mutant(
        "a duplicate names itself", "L11", "sekisho/decision.py",
        "decided.admission.first[rows[copies]].T", "decided.admission.first[rows[copies] - 1].T", RECORD,
    ),
    Mutant(
        "a typology that a group has escalates it", "L6", "rules/alerts.py",
        '"typology": not set(alert.typologies) <= set(group.typologies),',
        '"typology": bool(alert.typologies),', ALERTS,
    ),
    Mutant(
        "money escalates a group again and again", "L6", "rules/alerts.py",
        '"amount": not group.raised and group.told_amount > 0', '"amount": group.told_amount > 0', ALERTS,
    ),
    Mutant(
        "a full group takes one more", "L6", "rules/alerts.py",
        "alert.clock_us - group.first.clock_us >= policy.max_open_us",
        "alert.clock_us - group.first.clock_us > policy.max_open_us", ALERTS,
    ),
    Mutant(
        "a group that is quiet keeps its news", "L10", "rules/alerts.py",
        "if by_hand or group.told < len(group.members) else []", "if by_hand else []", ALERTS,
    ),
    # live
    Mutant(
        "a redirect is a delivery", "L10", "streams/webhooks/policy.py",
        "200 <= self.status < 300", "200 <= self.status < 400", HOOKS,
    ),
    Mutant(
        "a receiver may ask for a pause of years", "L10", "streams/webhooks/policy.py",
        "max(0.0, min(_LONGEST_PAUSE_S, seconds))", "max(0.0, seconds)", HOOKS,
    ),
    Mutant(
        "calls on their way prolong a breaker", "L10", "streams/webhooks/policy.py",
        "if self.open and now_s < self.probe_s:", "if self.open and now_s < 0:", HOOKS,
    ),
    Mutant(
        "tries never wait longer", "L10", "streams/webhooks/policy.py",
        "_FIRST_S * 2.0 ** min(tries - 1, 30)", "_FIRST_S * 2.0 ** min(tries - 1, 3)", HOOKS,
    ),
    Mutant(
        "a lane writes before it has read the end", "L10", "streams/lane.py",
        "if self.fold.follow(saving=False) or not self.fold.tail().at_end:",
        "if self.fold.follow(saving=False):", SCHEDULES,
    ),
    Mutant(
        "a lane goes on behind another's record", "L10", "streams/lane.py",
        "            if offset != self._next - 1:\n", "            if offset < self._next - 1:\n", SCHEDULES,
    ),
    Mutant(
        "a new writer has the old one's epoch", "L10", "streams/lane.py",
        "self.fold.at().epoch + 1, self.fold", "self.fold.at().epoch, self.fold", EPOCHS,
    ),
    Mutant(
        "a rebuilt state keeps the batch ahead of it", "L12", "streams/fold.py",
        "        self.pending.clear()\n", "", SCHEDULES,
    ),
    Mutant(
        "a standby forgets what may not be out", "L10", "streams/fold.py",
        "if record.confirmed >= record.sequence else", "if record.confirmed >= record.sequence - 1 else", SCHEDULES,
    ),
    Mutant(
        "a batch is chained past the one before it", "L10", "streams/fold.py",
        "before = self.pending[-1].chain if self.pending else self.at().chain", "before = self.at().chain", SCHEDULES,
    ),
    Mutant(
        "the simulated cluster fences nobody", "L10", "streams/simulated.py",
        "if self.epoch and self.epoch != self.broker", "if self.epoch < 0 and self.epoch != self.broker", SCHEDULES,
    ),
    # back-tests
    Mutant(
        "an alert that expires takes an analyst's time", "L8", "replay/backtest/budget.py",
        "free_us = turn + takes_us if worked else free_us", "free_us = turn + takes_us", TRUTH,
    ),
    Mutant(
        "what was applied last counts as recorded", "L8", "replay/backtest/truth.py",
        "coalesce(arg_min(code, n),", "coalesce(arg_max(code, n),", TRUTH,
    ),
    Mutant(
        "a reversed verdict stands", "L8", "replay/backtest/truth.py",
        "CASE WHEN reversed THEN 'good' WHEN class", "CASE WHEN class", BACKTEST,
    ),
    Mutant(
        "a label of a payment that was stopped vanishes", "L8", "replay/backtest/feedback.py",
        " & ~(label & history.confirmed[p])", "", FEEDBACK,
    ),
    Mutant(
        "a settlement shares a batch with its payment", "L8", "replay/backtest/feedback.py",
        "np.searchsorted(chunk.arrival, chunk.arrival[may] + self.settle_after_us).min()",
        "np.searchsorted(chunk.arrival, chunk.arrival[may] + self.settle_after_us).max()", FEEDBACK,
    ),
    Mutant(
        "the last attempt of a payment is its first", "L8", "replay/backtest/history.py",
        "    at[payment[paid[::-1]]] = paid[::-1]\n", "    at[payment[paid]] = paid\n", FEEDBACK,
    ),
    Mutant(
        "what a cause takes back is not minimal", "L8", "replay/backtest/causes.py",
        "            covered = [mask for smaller, mask in found if smaller < undone]\n",
        "            covered = list[Mask]()\n", CAUSES,
    ),
    Mutant(
        "a verdict that is to come counts as in", "L8", "replay/backtest/development.py",
        "return np.append(later[1:], 1.0)", "return np.append(later[:-1], 1.0)", TRUTH,
    ),
)  # fmt: skip
