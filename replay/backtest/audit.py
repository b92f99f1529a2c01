"""Whether there is anything to judge: a range, payments that count, and labels that are about them."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from replay.backtest.database import one, rows
from replay.backtest.figures import Case
from replay.backtest.records import Asked
from replay.backtest.roles import Roles
from sekisho.errors import SekishoError

_FIRST, _LAST = -(2**63), 2**63 - 1
_SEVERAL = 3  # payments with a label, from which on it is no accident that all are early
_NAMED = "SELECT DISTINCT payment_id FROM followups WHERE is_label AND payment_id IS NOT NULL"


def check_asked(asked: Asked) -> None:
    """Refuse what no log can answer."""
    if asked.from_us is not None and asked.to_us is not None and asked.from_us >= asked.to_us:
        raise SekishoError("--from is not before --to, so nothing would be counted", "give a later --to")
    try:
        ZoneInfo(asked.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SekishoError(f"--zone {asked.zone}: there is no such time zone", "write Asia/Tokyo, or UTC") from None


def check_counted(case: Case) -> None:
    """Refuse a range in which nothing counts, and say what the log has instead."""
    if one(case.db, "SELECT count(*) FROM counted"):
        return
    reasons = rows(case.db, "SELECT excluded, count(*) FROM judged GROUP BY ALL ORDER BY 2 DESC")
    span = case.span
    bounds = (("from", span.from_us, _FIRST), ("to", span.to_us, _LAST))
    asked = "".join(f" {name} {_time(us)}" for name, us, open_ in bounds if us != open_)
    if not reasons:
        kinds = " or ".join(case.engines[0].pack.policy.decide)
        raise SekishoError(f"no payment counts: the log has no {kinds}", "name the log that the payments are in")
    why = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in reasons)
    cold = any(reason == "cold" for reason, _ in reasons)
    fix = "give --from and --to within the log" if not cold else (
        f"give more history before --from, or --accept-cold to count payments before {_time(span.cold_us)}, whose "
        "windows are not full"
    )  # fmt: skip
    log = f"the log goes from {_time(span.first_us)} to {_time(span.last_us)}"
    raise SekishoError(f"no payment counts{asked}: {why}; {log}", fix)


def _time(us: int) -> str:
    return f"{np.datetime64(us, 'us').astype('datetime64[s]')}Z"


def labels_unmatched(case: Case, roles: Roles) -> int:
    """How many payments that labels name are not in the log. Raises SekishoError where no label meets any payment."""
    named, met = rows(
        case.db,
        f"""WITH named AS ({_NAMED})
           SELECT (SELECT count(*) FROM named),
                  (SELECT count(DISTINCT payment_id) FROM payments JOIN named USING (payment_id))""",
    )[0]
    others, about = _by_other_names(case, roles)
    if (named or others) and not met and not about:
        names = " or ".join([roles.payment] * bool(named) + list(roles.names) * bool(others))
        raise SekishoError(
            f"none of the {named + others:,} ids that labels name is in the log" + _examples(case, roles),
            f"give the labels of this log: {names} must hold the same ids as in the payments",
        )
    if not named and not others and one(case.db, "SELECT count(*) FROM followups WHERE is_label"):
        what = f"no label names a payment: {' and '.join((roles.payment, *roles.names))} is NULL in all of them"
        raise SekishoError(what, f"write the payment's id into each label's {roles.payment}")
    return int(named - met)


def _by_other_names(case: Case, roles: Roles) -> tuple[int, int]:
    """(how many ids labels name beside payments, how many of them are a payment's)."""
    named = met = 0
    for name in roles.names:
        ids = f"SELECT DISTINCT name_{name} AS id FROM followups WHERE is_label AND payment_id IS NULL"
        named += one(case.db, f"SELECT count(id) FROM ({ids})")
        met += one(case.db, f"SELECT count(DISTINCT id) FROM ({ids}) JOIN payments ON name_{name} = id")
    return named, met


def _examples(case: Case, roles: Roles) -> str:
    """An id of each side, so that one sees how they differ; none where ids are personal."""
    named, paid = (one(case.db, f"SELECT min(payment_id) FROM ({query})") for query in (_NAMED, "FROM payments"))
    if case.engines[0].pack.schema.by_name[roles.payment].pii or named is None:
        return ""
    return f": they name {_quoted(named)}, it has {_quoted(paid)}"


def _quoted(value: Any) -> str:
    return "none" if value is None else repr(str(value)[:40])


def labels_early(case: Case) -> int:
    """How many payments have a label that is not later than they are. Raises SekishoError where all have."""
    early, met = rows(
        case.db,
        """SELECT count(*) FILTER (labelled_us <= paid_us), count(*) FROM
           (SELECT min(l.at_us) AS labelled_us, min(p.at_us) AS paid_us
            FROM followups l JOIN payments p USING (payment_id) WHERE is_label GROUP BY payment_id)""",
    )[0]
    if met >= _SEVERAL and early == met:
        what = f"every label is as old as the payment that it names, or older ({met:,} of {met:,})"
        fix = "the event_time of a label is when it entered the log; if only the payment's time is known, --label-delay"
        raise SekishoError(what, fix + " and --label-column make labels from a column of the payments")
    return int(early)
