"""A log as an auditor reads it, in plain Python: the judge of every figure of a back-test."""

from collections import defaultdict
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from replay.backtest.records import DAY_US, Asked
from rules.records import OUTCOMES
from tests.replay.backtest.conftest import FRAUDS, GOODS, HOUR_US, SECOND_US, START_US

ZONE = ZoneInfo("Asia/Tokyo")
ALERTING = ("review", "hold", "decline")
FROM_DAY, BUDGET, ACT_BY_US, MATURITY_US = 4, 2, HOUR_US, 6 * DAY_US
ASKED = Asked(
    accept_cold=True, replicates=20, maturity_us=MATURITY_US, budget=BUDGET, act_by_us=ACT_BY_US,
    from_us=START_US + FROM_DAY * DAY_US,
)  # fmt: skip


class World:
    """The events as an auditor reads them: who paid, what happened, what is known at the end."""

    def __init__(self, events, records):
        self.end = max(event["event_time"] for event in events)
        self.payments, self.clock, happened = {}, {}, defaultdict(list)
        latest = -(2**63)
        for event in events:
            latest = max(latest, event["event_time"])
            if "kind" not in event and event["payment_id"] not in self.payments:
                self.payments[event["payment_id"]] = event
                self.clock[event["payment_id"]] = latest
            if event.get("kind") == "outcome":
                happened[event["payment_id"]].append(event)
        self.said = {
            side: {p: found[e["event_id"]] for p, e in self.payments.items()} for side, found in records.items()
        }
        self.happened = {p: self._happened(happened[p], e["amount"]) for p, e in self.payments.items()}
        self.verdict = self._verdicts(events)
        self.truth = {p: self._truth(p) for p in self.payments}
        self.counted = [p for p, e in self.payments.items() if e["event_time"] >= ASKED.from_us]
        for p in self.payments:
            self.said.setdefault("recorded", {})[p] = {"outcome": self.happened[p]["recorded"]}

    @staticmethod
    def _happened(outcomes, amount):
        applied = [e["outcome"] for e in outcomes if e["outcome"] in OUTCOMES]
        paid = [e for e in outcomes if e["outcome"] in ("settled", "partial")]
        back = [e for e in outcomes if e["outcome"] in ("refunded", "recalled", "reversed")]
        gross = sum(e["outcome_amount"] or 0 for e in paid) if any(e["outcome_amount"] for e in paid) else amount
        gross = gross if paid else 0
        returned = gross if any(e["outcome_amount"] is None for e in back) else sum(e["outcome_amount"] for e in back)
        return {
            "recorded": applied[0] if applied else "approve" if paid else None, "settled": bool(paid),
            "refused": bool(applied) and applied[-1] == "decline" and not paid,
            "gross": gross, "net": max(0, gross - returned),
        }  # fmt: skip

    def _verdicts(self, events):
        """By payment: (class, is it reversed, when it was first labelled). A label of a card means what it paid."""
        found = {}
        for event in events:
            if event.get("kind") != "label" or (event.get("known_at") or event["event_time"]) > self.end:
                continue
            named = [event["payment_id"]] if event.get("payment_id") else [
                p for p, e in self.payments.items()
                if e["card_id"] == event["card_id"] and event["occurred_at"] <= e["event_time"] <= event["event_time"]
            ]  # fmt: skip
            for p in named:
                first = found[p][2] if p in found else event["event_time"]
                found[p] = event["label_class"], bool(event.get("label_reversal")), min(first, event["event_time"])
        return found

    def _truth(self, p):
        if p in self.verdict:
            verdict, reversed_, _ = self.verdict[p]
            return "good" if reversed_ or verdict in GOODS else "fraud" if verdict in FRAUDS else "excluded"
        if not self.happened[p]["settled"]:
            return "censored"
        return "immature" if self.payments[p]["event_time"] > self.end - MATURITY_US else "presumed_good"

    def fraud(self, p):
        return self.truth[p] == "fraud"

    def good(self, p):
        return self.truth[p] in ("good", "presumed_good")

    def alerted(self, side, p):
        return self.said[side][p]["outcome"] in ALERTING

    def raw(self, side, p):
        return self.said[side][p]["models"][0]["raw"]

    def amount(self, ids):
        return sum(self.payments[p]["amount"] for p in ids)

    def local(self, p):
        return datetime.fromtimestamp(self.payments[p]["event_time"] // SECOND_US, UTC).astimezone(ZONE)

    def day(self, p):
        return self.local(p).strftime("%Y-%m-%d")
