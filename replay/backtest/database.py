"""DuckDB over the row files: it streams them, uses both cores, and spills to disk what does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

Db = duckdb.DuckDBPyConnection
Arrays = dict[str, npt.NDArray[Any]]


def open_rows(folder: Path) -> Db:
    """A database beside the row files, with each of them as a view."""
    db = duckdb.connect(str(folder / "rows.duckdb"))
    for setting in ("preserve_insertion_order = false", "TimeZone = 'UTC'", "threads = 2", "memory_limit = '4GB'"):
        db.execute(f"SET {setting}")
    for file in folder.glob("*.parquet"):
        make(db, f"CREATE VIEW {file.stem} AS SELECT * FROM read_parquet({_literal(file)})")
    return db


def make(db: Db, statement: str) -> None:
    """Create a table or a view."""
    db.execute(statement)


def table(db: Db, query: str) -> pa.Table:
    """The rows of a query."""
    return db.sql(query).to_arrow_table()


def rows(db: Db, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query as Python values."""
    return list(db.sql(query).fetchall())


def streamed(db: Db, query: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query one after the other, as many as there may be. Nothing else is asked meanwhile."""
    for batch in db.sql(query).to_arrow_reader(65_536):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def one(db: Db, query: str) -> Any:
    """The single value of a query, None where it has no row."""
    found = rows(db, query)
    return found[0][0] if found else None


def records(db: Db, query: str) -> list[dict[str, Any]]:
    """The rows of a query by column."""
    return list(table(db, query).to_pylist())


def arrays(db: Db, query: str) -> Arrays:
    """The columns of a query; a null among numbers makes them float64 with NaN."""
    found = table(db, query)
    return {name: np.asarray(found[name].to_numpy()) for name in found.column_names}


def streamed_arrays(db: Db, query: str) -> Iterator[Arrays]:
    """The same, some thousand rows at a time."""
    for batch in db.sql(query).to_arrow_reader(8_192):
        yield {name: batch[name].to_numpy(zero_copy_only=False) for name in batch.schema.names}


def sql_list(values: tuple[object, ...]) -> str:
    """Values as the right side of IN; nothing is in an empty one."""
    return "(" + (", ".join(_literal(value) for value in values) or "NULL") + ")"


def _literal(value: object) -> str:
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
