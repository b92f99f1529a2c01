"""The alerts of a batch: what the alert path is given of each decision that somebody should see."""

from __future__ import annotations

from features.sheet import ENTERS, SKIPPED, VALID, Ints, Sheet
from rules.alert_records import Alert, build_alert
from rules.evaluate import RuleResults
from rules.records import OUTCOMES, AlertPolicy
from sekisho.compile import Engine
from sekisho.intake import Admission
from sekisho.reasons import Given


def alerts_of(
    engine: Engine,
    policy: AlertPolicy,
    sheet: Sheet,
    admission: Admission,
    rows: Ints,
    ids: Ints,
    results: RuleResults,
    reasons: Given,
) -> list[Alert]:
    """One alert for each decision whose outcome is among the policy's, in arrival order; none for duplicates."""
    chosen = (engine.alerting.take(results.outcome[rows]) & (admission.fate[rows] != SKIPPED)).nonzero()[0]
    return [
        _alert(engine, policy, sheet, admission, f"{_hex(high)}{_hex(low)}", results, reasons, i)
        for i, (high, low) in zip(rows[chosen].tolist(), ids[chosen].tolist(), strict=True)
    ]


def _hex(word: int) -> str:
    return f"{word & (2**64 - 1):016x}"


def _alert(
    engine: Engine,
    policy: AlertPolicy,
    sheet: Sheet,
    admission: Admission,
    id: str,
    results: RuleResults,
    reasons: Given,
    i: int,
) -> Alert:
    event_time, before = int(sheet.ints("event_time")[i]), int(admission.watermark[i])
    scores = [int(sheet.ints(each.score)[i]) for each in engine.scorers if sheet.validity(each.score)[i] == VALID]
    return build_alert(
        policy,
        results.speaking(i),
        decision_id=id,
        payment_id=_text(sheet, "payment_id", i),
        event_time_us=event_time,
        clock_us=max(before, event_time) if admission.fate[i] == ENTERS else before,
        outcome=OUTCOMES[results.outcome[i]],
        score=max(scores, default=None),
        amount=int(sheet.ints(policy.amount_field)[i]) if _known(sheet, policy.amount_field, i) else None,
        keys={name: _text(sheet, name, i) for name in policy.group_by},
        token_key=engine.token_key,
        told=[each.texts for each in reasons.get(i, ())],
        names={field.name for field in engine.pack.schema.fields if field.pii == "name"},
    )


def _known(sheet: Sheet, name: str, i: int) -> bool:
    return name in sheet.layout and bool(sheet.validity(name)[i] == VALID)


def _text(sheet: Sheet, name: str, i: int) -> str | None:
    return str(sheet.value(name, i)) if _known(sheet, name, i) else None
