"""Which fields of a pack play which part in a back-test, by the names that docs/analyst.md gives them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from features.schema import Schema
from sekisho.errors import SekishoError
from sekisho.pack import Pack

OUTCOME = "outcome"  # the kind of what happened to a payment, and the field that says it


@dataclass(frozen=True)
class Roles:
    """Names of fields, "" where the pack has none.

    entities: whose payment it is, the first known counts.   names: what a label may name beside a payment.
    drawn: the entities by which challengers are drawn.   propensity: the chance of being let through for learning.
    """

    payment: str
    amount: str
    entities: tuple[str, ...]
    payee: str
    balance: str
    attempts: str
    outcome: str
    outcome_amount: str
    label_class: str
    reversal: str
    known_at: str
    occurred_at: str
    names: tuple[str, ...]
    currency: str
    exponent: int
    drawn: tuple[str, ...] = ()
    propensity: str = ""


def roles_of(pack: Pack, schema: Schema) -> Roles:
    """The roles of a pack's fields. Raises SekishoError where it has no payments or no money."""
    fields, labels = schema.by_name, pack.labels

    def known(name: str) -> str:
        return name if name in fields else ""

    amount = (pack.alert.amount_field if pack.alert else "") or "amount"
    for name, what in (("payment_id", "which payment an outcome or a label means"), (amount, "the money")):
        if name not in fields:
            raise SekishoError(f"pack {pack.name} has no field {name}, so nothing says {what}", "name it in [fields]")
    accounts = tuple(f.name for f in schema.fields if f.pii == "account" and f.name != "payee_id")
    return Roles(
        payment="payment_id",
        amount=amount,
        entities=accounts or (pack.alert.group_by if pack.alert else ()),
        payee=known("payee_id"),
        balance=known("balance"),
        attempts=known("attempt_group"),
        outcome=known(OUTCOME) if OUTCOME in schema.kinds else "",
        outcome_amount=known("outcome_amount"),
        label_class=known(labels.class_field) if labels else "",
        reversal=known(labels.reversal_field) if labels else "",
        known_at=known("known_at"),
        occurred_at=known("occurred_at"),
        names=tuple(name for name in labels.names if name in fields and name != "payment_id") if labels else (),
        currency=_currency(pack, amount),
        exponent=fields[amount].exponent,
    )


def _currency(pack: Pack, amount: str) -> str:
    table = tomllib.loads(pack.files.get("pack.toml", b"").decode())
    return str(table.get("fields", {}).get(amount, {}).get("currency", ""))
