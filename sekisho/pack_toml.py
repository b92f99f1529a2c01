"""pack.toml: the schema, the policies and the alert table of a pack."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from features.expr import Expr
from features.refusal import Refusal, suggest
from features.schema import FIELD_TYPES, SYSTEM_COLUMNS, Field, Schema
from features.types import TEXT, Kind, Type
from rules.records import OUTCOMES
from sekisho.pack import AlertPolicy, EventPolicy, LabelPolicy, Leg
from sekisho.toml import Document, Table

_SECTIONS = ("pack", "events", "fields", "labels", "legs", "alert", "models", "training")
_EVENT_KEYS = (
    "kinds", "decide", "lateness", "max_clock_skew", "dedup_horizon", "inherit", "inherit_horizon", "on_degraded",
    "default_zone", "time_set_by", "record_time", "record_time_encoding",
)  # fmt: skip
_FIELD_KEYS = ("type", "currency", "currencies", "scale", "from", "required", "pii", "encoding", "default")
_LABEL_KEYS = ("kind", "names", "class", "reversal", "fraud", "dispositions", "maturity")
_ALERT_KEYS = (
    "outcomes", "group_by", "quiet", "max_open", "escalate_on", "amount", "amount_factor", "storm_limit", "act_by",
)  # fmt: skip
_MODEL_KEYS = ("file", "card", "segment", "shadow", "challenges", "share", "by", "salt")
_ENCODINGS = {"time": ("epoch_s", "epoch_ms", "epoch_us"), "money": ("minor",)}
_NAME = re.compile(r"[a-z][a-z0-9_]*")

# ISO 4217: every currency, by the digits behind its point.
_CURRENCIES = {
    2: (
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE "
        "CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL "
        "HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR "
        "MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK "
        "SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD "
        "XCG YER ZAR ZMW ZWG"
    ),
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
EXPONENTS = {code: exponent for exponent, codes in _CURRENCIES.items() for code in codes.split()}


@dataclass(frozen=True)
class PackHead:
    """What pack.toml says, but for what needs SQL: see `read_legs`."""

    name: str
    description: str
    owner: str
    schema: Schema
    policy: EventPolicy
    labels: LabelPolicy | None
    alert: AlertPolicy | None
    models: tuple[ModelHead, ...]


@dataclass(frozen=True)
class ModelHead:
    """One of `[[models]]`: its files, and its part. segment: SQL, "" for all events.

    challenges: the champion's name, "" for none; share, by and salt: which entities the challenger takes.
    """

    file: str
    card: str
    segment: str = ""
    shadow: bool = False
    challenges: str = ""
    share: float = 0.0
    by: str = ""
    salt: str = ""


def read_head(document: Document) -> PackHead:
    """Read and check everything but the legs. What is wrong is noted in the document."""
    document.table(known=_SECTIONS)
    pack = document.table("pack", known=("name", "description", "owner"))
    schema = _schema(document)
    return PackHead(
        name=_pack_name(pack),
        description=pack.text("description", ""),
        owner=pack.text("owner"),
        schema=schema,
        policy=_policy(document, schema),
        labels=_labels(document, schema) if "labels" in document.tables else None,
        alert=_alert(document, schema) if "alert" in document.tables else None,
        models=_models(document, schema),
    )


def read_legs(document: Document, schema: Schema, parse: Callable[[str], Expr]) -> tuple[Leg, ...]:
    """The `[[legs]]`. `parse` reads a condition over the schema's columns."""
    legs = [_leg(document, schema, k, parse) for k in range(_count(document, "legs"))]
    return tuple(leg for leg in legs if leg)


def read_training(document: Document, features: Mapping[str, Type]) -> dict[str, int]:
    """The `[training]` table: features that may only raise a score as they grow (1), or only lower it (-1)."""
    table = document.table("training", known=("increasing", "decreasing"))
    ordered = [name for name, type in features.items() if type.numeric or type.kind is Kind.BOOL]
    up, down = (table.texts(key, (), ordered) for key in ("increasing", "decreasing"))
    for name in set(up) & set(down):
        table.refuse("decreasing", f"{name} cannot be both increasing and decreasing", "take it out of one of the two")
    return dict.fromkeys(up, 1) | dict.fromkeys(down, -1)


def _pack_name(pack: Table) -> str:
    name = pack.text("name")
    if name and not _NAME.fullmatch(name):
        pack.refuse("name", f"{name!r} cannot name a pack", "use lower-case letters, digits and _, a letter first")
    return name


def _schema(document: Document) -> Schema:
    table = document.table("fields")
    events = document.table("events")
    kinds = events.texts("kinds", ("payment",))
    if not kinds:
        events.refuse("kinds", "a log without kinds has no events", 'write kinds = ["payment"]')
    fields = tuple(_field(document, name) for name in table.values)
    by_name = {field.name: field for field in fields}
    for name, type in (("event_id", "id"), ("event_time", "time"), ("kind", "category")):
        field = by_name.get(name)
        if field is None:
            fix = f'add {name} = {{ type = "{type}", required = true }}'
            document.refuse(("fields",), f"the schema has no field {name}", fix)
        elif field.type != type or not (field.required or field.default):
            fix = f'write {name} = {{ type = "{type}", required = true }}'
            document.refuse(("fields", name), f"{name} must be a required field of type {type}", fix)
    if "kind" in by_name and by_name["kind"].default not in ("", *kinds):
        default = by_name["kind"].default
        document.refuse(
            ("fields", "kind", "default"), f"kind cannot be {default!r} by default", suggest(default, kinds)
        )
    return Schema(fields, kinds)


def _field(document: Document, name: str) -> Field:
    table = document.table("fields", name, known=_FIELD_KEYS)
    if not _NAME.fullmatch(name):
        document.refuse(table.path, f"{name!r} cannot name a field", "use lower-case letters, digits and _")
    if name in SYSTEM_COLUMNS:
        document.refuse(table.path, f"{name} is a column that Sekisho adds itself", "give the field another name")
    type = table.choice("type", FIELD_TYPES)
    required, default = table.flag("required"), table.text("default", "")
    if default and type not in ("category", "text"):
        table.refuse("default", f"a field of type {type} has no default", "use it for category and text only")
    if default and required:
        table.refuse("default", f"{name} is required, so its default never counts", "remove one of the two")
    return Field(
        name=name,
        type=type,
        exponent=_exponent(table, type),
        source=table.text("from", ""),
        required=required,
        pii=table.choice("pii", ("", "account", "name"), ""),
        encoding=_encoding(table, type),
        default=default,
    )


def _encoding(table: Table, type: str) -> str:
    options = _ENCODINGS.get(type, ())
    if "encoding" in table and not options:
        table.refuse("encoding", f"a field of type {type} has no encoding", "remove it; times and money have one")
        return ""
    return table.choice("encoding", ("", *options), "")


def _exponent(table: Table, type: str) -> int:
    """Digits behind the point: of money the largest of its currencies', of number its scale."""
    for key, owner in (("currency", "money"), ("currencies", "money"), ("scale", "number")):
        if key in table and type != owner:
            table.refuse(key, f"a field of type {type} has no {key}", f"remove it; {key} belongs to {owner}")
    if type == "number":
        return table.whole("scale", 0, 0, 15)
    if type != "money":
        return 0
    currencies = table.texts("currencies") or ((table.text("currency"),) if "currency" in table else ())
    if not currencies:
        table.refuse("type", "money without a currency", 'add currency = "JPY", or currencies = ["JPY", "USD"]')
    for code in currencies:
        if code not in EXPONENTS:
            key = "currency" if "currency" in table else "currencies"
            fix = "write its ISO 4217 code, as JPY; what is no currency is a number with a scale"
            table.refuse(key, f"{code!r} is no currency", fix)
    return max((EXPONENTS.get(code, 2) for code in currencies), default=0)


def _policy(document: Document, schema: Schema) -> EventPolicy:
    table, base = document.table("events", known=_EVENT_KEYS), EventPolicy()
    named = table.text("record_time", base.record_time) not in ("log", "none")
    if table.text("record_time_encoding", "") and not named:
        fix = 'name its field above: record_time = "$.recorded_at"'
        table.refuse("record_time_encoding", "no field of the event says record_time", fix)
    return EventPolicy(
        decide=table.texts("decide", base.decide, schema.kinds),
        lateness_us=table.duration_us("lateness", base.lateness_us),
        max_clock_skew_us=table.duration_us("max_clock_skew", base.max_clock_skew_us),
        dedup_horizon_us=table.duration_us("dedup_horizon", base.dedup_horizon_us),
        inherit_horizon_us=table.duration_us("inherit_horizon", base.inherit_horizon_us),
        inherit=_inherit(table, schema),
        on_degraded=table.choice("on_degraded", OUTCOMES, base.on_degraded),
        default_zone=_zone(table),
        time_set_by=table.choice("time_set_by", ("bank", "device"), base.time_set_by),
        record_time=table.text("record_time", base.record_time),
        record_time_encoding=table.choice("record_time_encoding", ("", *_ENCODINGS["time"]), ""),
    )


def _inherit(table: Table, schema: Schema) -> tuple[str, ...]:
    names = table.texts("inherit", (), schema.by_name)
    for name in names:
        if name in ("event_id", "event_time", "kind", "payment_id"):
            table.refuse("inherit", f"{name} cannot be inherited", "an event has its own; remove it")
    if names and "payment_id" not in schema.by_name:
        fix = 'add payment_id = { type = "id" }: follow-ups name their payment by it'
        table.refuse("inherit", "inherit needs a field payment_id", fix)
    return names


def _zone(table: Table) -> str:
    name = table.text("default_zone", "UTC")
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        table.refuse("default_zone", f"{name!r} is no time zone", "write an IANA name, as Asia/Tokyo")
    return name


def _labels(document: Document, schema: Schema) -> LabelPolicy:
    base = LabelPolicy()
    table = document.table("labels", known=_LABEL_KEYS)
    names = table.texts("names", base.names, schema.by_name)
    class_field = table.choice("class", schema.by_name, base.class_field)
    reversal = table.choice("reversal", ("", *schema.by_name), "")
    if reversal in schema.by_name and schema.by_name[reversal].type != "bool":
        table.refuse(
            "reversal", f"{reversal} is no bool", "name a bool field that is true where a verdict is taken back"
        )
    fraud = table.texts("fraud", base.fraud)
    return LabelPolicy(
        kind=table.choice("kind", schema.kinds, base.kind),
        names=names,
        class_field=class_field,
        reversal_field=reversal,
        fraud=fraud,
        dispositions=_dispositions(document, table, names),
        maturity_us=_maturity(document, table, fraud),
    )


def _dispositions(document: Document, labels: Table, names: tuple[str, ...]) -> dict[str, str]:
    """Which label an alert's disposition gives to the payments of the alert."""
    table = document.table("labels", "dispositions")
    if table.values and "payment_id" not in names:
        labels.refuse("names", "dispositions label payments, and names lacks payment_id", 'add "payment_id"')
    return {word: table.text(word) for word in table.values}


def _maturity(document: Document, labels: Table, fraud: tuple[str, ...]) -> dict[str, int]:
    """How long each class of fraud is waited for; of all of them, or of none."""
    table = document.table("labels", "maturity", known=fraud)
    missing = [name for name in fraud if name not in table]
    if table.values and missing:
        fix = "add it: a payment without a verdict may still turn out to be any of them"
        labels.refuse("maturity", f"maturity does not say how long to wait for {', '.join(missing)}", fix)
    return {name: table.duration_us(name, 0) for name in table.values}


def _alert(document: Document, schema: Schema) -> AlertPolicy:
    table, base = document.table("alert", known=_ALERT_KEYS), AlertPolicy()
    amount = table.choice("amount", ("", *schema.by_name), "")
    if amount in schema.by_name and schema.by_name[amount].type != "money":
        table.refuse("amount", f"{amount} is no money", "name a field of type money")
    escalate = table.texts("escalate_on", base.escalate_on, ("outcome", "typology", "amount"))
    if "amount" in escalate and not amount:
        table.refuse("escalate_on", "escalation by amount needs an amount", 'add amount = "..."')
    return AlertPolicy(
        outcomes=table.texts("outcomes", base.outcomes, OUTCOMES),
        group_by=table.texts("group_by", (), schema.by_name),
        quiet_us=table.duration_us("quiet", base.quiet_us),
        max_open_us=table.duration_us("max_open", base.max_open_us),
        escalate_on=escalate,
        amount_field=amount,
        amount_factor=table.whole("amount_factor", base.amount_factor, 2, 1_000_000),
        storm_limit=table.whole("storm_limit", base.storm_limit, 1, 1_000_000),
        act_by_us=table.duration_us("act_by", base.act_by_us),
    )


def _leg(document: Document, schema: Schema, k: int, parse: Callable[[str], Expr]) -> Leg | None:
    table = document.table("legs", k, known=("when", "kind", "fields"))
    kind = table.choice("kind", schema.kinds)
    sql = table.text("when")
    fields = document.table("legs", k, "fields")
    mapping = {target: fields.choice(target, schema.by_name) for target in fields.values}
    for target, source in mapping.items():
        if target not in schema.by_name or target in ("event_id", "event_time", "kind"):
            fields.refuse(target, f"a leg cannot set {target!r}", "name a field of the schema on the left")
        elif source in schema.by_name and schema.by_name[target].sql_type != schema.by_name[source].sql_type:
            types = f"{schema.by_name[target].sql_type} and {schema.by_name[source].sql_type}"
            fields.refuse(target, f"{target} and {source} have different types, {types}", "name two fields of one type")
    try:
        return Leg(parse(sql), kind, mapping)
    except Refusal as refusal:
        place = document.inside((*table.path, "when"), refusal.place)
        document.refusals.append(Refusal(refusal.what, refusal.fix, place))
        return None


def _models(document: Document, schema: Schema) -> tuple[ModelHead, ...]:
    """Each of `[[models]]`; what needs its file is read by roster.py."""
    return tuple(_model(document, schema, k) for k in range(_count(document, "models")))


def _model(document: Document, schema: Schema, k: int) -> ModelHead:
    table = document.table("models", k, known=_MODEL_KEYS)
    head = ModelHead(_file(table, "file"), _file(table, "card"), table.text("segment", ""), table.flag("shadow"))
    challenges = table.text("challenges", "")
    if not challenges:
        for key in ("share", "by", "salt"):
            if key in table:
                table.refuse(key, f"only a challenger has {key}", 'add challenges = "NAME", or remove it')
        return head
    for key, stands in (("segment", bool(head.segment)), ("shadow", head.shadow)):
        if stands:
            table.refuse(
                key, f"a challenger has no {key}", "remove it: it stands in for its champion, where that scores"
            )
    texts = [name for name, field in schema.by_name.items() if field.sql_type is TEXT]
    return replace(
        head, challenges=challenges, share=_share(table), by=table.choice("by", texts), salt=table.text("salt")
    )


def _share(table: Table) -> float:
    share = table.values.get("share")
    if not isinstance(share, float) or not 0 < share < 1:
        table.refuse("share", "a challenger's share is a number between 0 and 1", "write share = 0.1 for a tenth")
        return 0.5
    return share


def _file(table: Table, key: str) -> str:
    name = table.text(key)
    if name and not re.fullmatch(r"models/[\w-][\w.-]*", name):
        table.refuse(key, f"{name!r} is no file in models/", f'write {key} = "models/..."')
    return name


def _count(document: Document, name: str) -> int:
    found = document.tables.get(name, [])
    if not isinstance(found, list):
        document.refuse((name,), f"{name} is not a list of tables", f"write [[{name}]]")
        return 0
    return len(found)
