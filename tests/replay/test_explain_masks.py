"""What `explain` prints goes to screens: no account number and no name is among it."""

import json
import shutil

from click.testing import CliRunner

from replay.commands import explain, replay

SECRETS = ("JP99-4411-0007", "Sato Hanako")


def test_account_numbers_and_names_are_masked(pack_folder, tmp_path):
    """Fields marked pii are tokens in features and are left out of windows, also behind an expression; amounts stay."""
    folder = tmp_path / "pack"
    shutil.copytree(pack_folder, folder)
    toml = (folder / "pack.toml").read_text()
    fields = 'account_id = { type = "id", pii = "account" }\nholder = { type = "text", pii = "name" }\n[labels]'
    (folder / "pack.toml").write_text(toml.replace("[labels]", fields, 1))
    sql = (folder / "features.sql").read_text()
    more = """amount AS paid,
       account_id AS payer, coalesce(holder, 'nobody') AS called,
       CASE WHEN card_id IS NOT NULL THEN
           last_value(CASE WHEN kind = 'payment' THEN account_id END IGNORE NULLS) OVER day END AS last_account,"""
    (folder / "features.sql").write_text(sql.replace("amount AS paid,", more, 1))
    row = {"event_time": "2026-01-05T00:00:00Z", "card_id": "c1", "amount": 4711}
    row |= {"account_id": SECRETS[0], "holder": SECRETS[1]}
    log, decisions = tmp_path / "log.jsonl", tmp_path / "decisions.jsonl"
    log.write_text("".join(json.dumps({"event_id": f"e{k}", "payment_id": f"p{k}"} | row) + "\n" for k in range(3)))
    run = CliRunner().invoke(replay, ["run", str(folder), str(log), "--out", str(decisions)])
    assert run.exit_code == 0, (run.output, run.exception)
    words = [str(folder), str(log), "--decisions", str(decisions), "--id", "e2"]
    told = CliRunner().invoke(explain, words, env={"COLUMNS": "200"})
    assert told.exit_code == 0, (told.output, told.exception)
    assert not any(secret in told.output for secret in SECRETS)
    assert (
        "4711" in told.output and "Features" in told.output and "payer" in told.output and "last_account" in told.output
    )
