"""The front end: features.sql and the conditions of rules, as typed and checked records."""

from features.sql.as_of import as_of_sql
from features.sql.condition import parse_condition, parse_literal
from features.sql.dialects import transpile_sql
from features.sql.query import parse_query

__all__ = ["as_of_sql", "parse_condition", "parse_literal", "parse_query", "transpile_sql"]
