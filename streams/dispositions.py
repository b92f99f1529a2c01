"""What came of an alert, as verdicts on its payments: the pack says which word means which class, and most mean none.

The payments are those that the group's notifications have listed, so they are found when the group is long closed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rules.controls import AlertMark
from sekisho.errors import SekishoError
from sekisho.labels import LabelEvent, label_events
from sekisho.log import Message
from sekisho.pack import Pack
from sekisho.wire.plan import WirePlan


@dataclass
class Members:
    """A group's payments by id, in the order in which they joined; nameless: those without a payment_id."""

    payments: dict[str, None] = field(default_factory=dict)
    nameless: set[str] = field(default_factory=set)


def members_of(group: str, alerts: Iterable[Message]) -> Members:
    """The members that the notifications of a group, or of a storm, list."""
    found, key = Members(), group.encode()
    for message in alerts:
        if message.key != key:
            continue
        for member in json.loads(message.value or b"{}").get("members", ()):
            if member["payment_id"] is None:
                found.nameless.add(member["decision_id"])
            else:
                found.payments[member["payment_id"]] = None
    return found


def labels_of(pack: Pack, plan: WirePlan, mark: AlertMark, payments: Sequence[str]) -> list[LabelEvent]:
    """A label of each payment, of the class that the disposition means; none where it means none.

    Raises SekishoError for a pack whose labels need more than a payment and a class.
    """
    policy = pack.labels
    if policy is None or mark.disposition not in policy.dispositions:
        return []
    label_class = policy.dispositions[mark.disposition]
    rows = [{"payment_id": payment, policy.class_field: label_class} for payment in payments]
    labels, refused = label_events(pack, plan, rows, mark.time_us, mark.id)
    if refused:
        what = f"the pack's labels need more than a payment and a class: {refused[0].why}"
        raise SekishoError(what, "send labels of your own: sekisho label import")
    return labels
