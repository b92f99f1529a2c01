"""The words by which people name columns, in English and Japanese, and what each says of a column."""

from __future__ import annotations

import re

# What a payment is about. The first that fits counts, so a payee's account is a payee.
ENTITIES = {
    "payee": (
        "payee", "beneficiary", "creditor", "recipient", "receiver", "destination", "dest", "target", "counterparty",
        "受取人", "振込先", "相手",
    ),
    "merchant": ("merchant", "merch", "shop", "store", "加盟店", "店舗"),
    "terminal": ("terminal", "atm", "pos", "端末"),
    "device": ("device", "デバイス"),
    "card": ("card", "pan", "カード"),
    "account": ("account", "acct", "iban", "debtor", "payer", "sender", "source", "口座"),
    "customer": ("customer", "client", "user", "member", "entity", "顧客", "会員", "契約者"),
    "ip": ("ip",),
}  # fmt: skip
# Whose money it is, and where it goes: a habit is one's with the other.
PAYERS = ("card", "account", "customer", "device", "ip")
PLACES = ("merchant", "payee", "terminal")
HELD = {"card": "account", "account": "account", "customer": "account", "payee": "account"}  # as pii knows them

AMOUNT = ("amount", "amt", "value", "price", "金額", "額")
CURRENCY = ("currency", "ccy", "通貨")
MOMENT = ("time", "date", "datetime", "timestamp", "at", "ts", "when", "日時", "日付", "時刻", "取引日")
NUMBERED = ("id", "no", "number", "num", "ref", "reference", "uuid", "key", "番号", "コード")
PAYMENT = ("event", "transaction", "tx", "txn", "trx", "trans", "payment", "取引", "決済")
ARRIVED = ("recorded", "received", "ingested", "arrived", "logged", "受信", "記録")
VERDICT = ("fraud", "fraudulent", "chargeback", "label", "不正")
# What only looks like an amount, an entity or the event's time by one of its words.
ASIDE = (
    "type", "category", "class", "mcc", "country", "city", "state", "zip", "region", "brand", "network", "bin",
    "status", "agent", "chip", "lat", "latitude", "long", "longitude", "limit", "balance", "fee", "tax", "outcome",
    "count", "age", "expiry", "expires", "birth", "dob", "業種", "種別", "区分", "国", "都道府県", "残高", "限度",
    "手数料", "税", "有効期限",
)  # fmt: skip
PERSONAL = (
    "name", "email", "mail", "phone", "tel", "address", "street", "birth", "dob", "holder",
    "氏名", "名義", "電話", "住所", "メール", "生年月日",
)  # fmt: skip


def says(source: str, names: tuple[str, ...]) -> bool:
    """Whether a column's name has one of the words: "txAmount", "TX_AMOUNT" and "$.tx.amount" all say amount.

    A long word may go on (cardid says card); what is not Latin may stand anywhere in the name.
    """
    words = _words(source)
    return any(
        (name in words or (len(name) > 3 and any(word.startswith(name) for word in words)))
        if name.isascii()
        else name in source
        for name in names
    )


def slug(source: str) -> str:
    """The name as a field's: lower case, letters, digits and _; "" where nothing Latin is left."""
    name = "_".join(_words(source))
    return name if name[:1].isalpha() else ""


def _words(source: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", source)
    return re.findall(r"[a-z0-9]+", apart.lower())
