"""`replay backtest --report`: what the page says is what the tables hold."""

import html5lib
import pytest
from click.testing import CliRunner

from replay.backtest.command import backtest_command
from replay.backtest.records import Asked
from replay.backtest.run import run_backtest
from replay.pages.backtest_page import fingerprint
from replay.sources import Input

X = "{http://www.w3.org/1999/xhtml}"
_WORDS = {"en": ("Known fraud that alerts", "Groups of alerts"), "ja": ("検知される不正金額", "アラート群")}


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_the_report_holds_the_runs_figures(packs, engines, make_log, tmp_path, lang):
    """The command's page has the fingerprint and the money that a run in Python gives."""
    log, page = make_log(4, payments=120), tmp_path / "report.html"
    options = ["--accept-cold", "--maturity", "1h", "--report", str(page), "--lang", lang]
    found = CliRunner().invoke(backtest_command, [*map(str, packs), str(log), *options])
    assert found.exit_code == 0, found.output
    result = run_backtest(*engines, [Input(log)], Asked(accept_cold=True, maturity_us=3_600_000_000))
    text = page.read_text("utf-8")
    shown = {}
    for fact in html5lib.HTMLParser(strict=True).parse(text).iter(f"{X}div"):
        parts = ["".join(node.itertext()) for node in fact]
        if fact.find(f"{X}dt") is not None:
            shown[parts[0]] = parts[1]
    rows = result.frame("summary").set_index("strategy")
    moved = int(rows.caught_minor["candidate"] - rows.caught_minor["current"])
    money = f"{abs(moved):,}"
    caught, groups = _WORDS[lang]
    assert shown[caught].strip("+−±") == (f"¥{money}" if lang == "en" else f"{money}円")
    assert shown[caught][0] == ("+" if moved > 0 else "−" if moved else "±")
    assert f"{abs(int(rows.alert_groups['candidate'] - rows.alert_groups['current'])):,}" in shown[groups]
    assert fingerprint(result) in text
