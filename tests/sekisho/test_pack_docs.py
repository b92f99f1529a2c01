"""docs/pack.md is true: the pack that it shows loads."""

import re
from pathlib import Path

from sekisho.load import load_pack

PAGE = Path(__file__).parents[2] / "docs" / "pack.md"

SQL = """\
SELECT event_id,
       CASE WHEN account_id IS NOT NULL AND device_id IS NOT NULL THEN
           count(*) FILTER (WHERE kind = 'payment') OVER past
       END AS account_device_count_30d
FROM events
WINDOW past AS (PARTITION BY account_id, device_id ORDER BY event_time
                RANGE BETWEEN INTERVAL 30 DAY PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW)
"""


def test_the_pack_of_the_page_loads(tmp_path):
    """pack.toml (but for its model file), rules.yaml with its examples, and a list, as printed."""
    block = {
        kind: re.search(rf"```{kind}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1]
        for kind in ("toml", "yaml", "csv")
    }
    (tmp_path / "lists").mkdir()
    (tmp_path / "pack.toml").write_text(block["toml"].partition("[[models]]")[0], "utf-8")
    (tmp_path / "features.sql").write_text(SQL, "utf-8")
    (tmp_path / "rules.yaml").write_text(block["yaml"], "utf-8")
    (tmp_path / "lists" / "trusted_merchants.csv").write_text(block["csv"], "utf-8")
    pack = load_pack(tmp_path)
    assert [rule.id for rule in pack.rules.rules] == ["takeover", "trusted_merchant"]
    assert (pack.policy.decide, len(pack.legs), pack.alert.group_by) == (("payment",), 1, ("terminal_id", "card_id"))
