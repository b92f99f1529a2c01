"""`sekisho webhook` as a person uses it, and the reference receiver's own ledger of what is missing."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sekisho.errors import SekishoError
from streams.commands import config
from streams.webhooks.commands import webhook
from streams.webhooks.message import headers_of, message_of
from streams.webhooks.receiver import Inbox, Listener
from tests.streams.webhooks.hooks_world import OTHER_SECRET, SECRET, make_alert
from tests.streams.webhooks.hooks_world import webhook as subscriber


def call(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(webhook, words, env={"WEBHOOK_SECRET": SECRET, **environment})


@pytest.fixture
def listener():
    said: list[str] = []
    made = Listener(0, [SECRET], said.append)
    made.said = said  # type: ignore[attr-defined]
    threading.Thread(target=made.serve, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_test_call_reaches_a_listener(listener: Listener) -> None:
    """Signed, verified, answered; another secret is refused, and the command fails."""
    url = f"http://127.0.0.1:{listener.server.server_address[1]}/x"
    done = call("test", url, "--allow", "127.0.0.1")
    assert done.exit_code == 0 and "status 200" in done.output, done.output
    done = call("test", url, "--allow", "127.0.0.1", WEBHOOK_SECRET=OTHER_SECRET)
    assert done.exit_code == 1 and "status 401" in done.output
    assert listener.said == ["webhook.test: verified", "refused: No matching signature found"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://10.0.0.1/x", "10.0.0.1 is refused: it is private"),
        ("https://nowhere.invalid/x", "the name nowhere.invalid was not resolved"),
        ("https://[::ffff:169.254.169.254]/latest", "IPv4-mapped"),
    ],
)
def test_what_goes_wrong_is_told(url: str, told: str) -> None:
    """A reason, and status 1."""
    done = call("test", url)
    assert done.exit_code == 1 and told in done.output


def test_a_url_that_will_not_do_is_refused() -> None:
    """http is for loopback alone."""
    done = call("test", "http://cases.bank.example/x")
    assert isinstance(done.exception, SekishoError) and "must be https" in str(done.exception)


@pytest.mark.parametrize(
    ("words", "secret", "told", "fix"),
    [
        (("test", "https://cases.bank.example/x"), "", "the environment has no WEBHOOK_SECRET", "webhook secret"),
        (("test", "https://cases.bank.example/x"), "whsec_short", "must be whsec_ and the base64", "webhook secret"),
        (("test", "https://cases.bank.example/x", "--allow", "home"), SECRET, "'home' is no address", "a network"),
        (("listen",), "whsec_short", "must be whsec_ and the base64", "webhook secret"),
        (("listen", "--catch-up", "http://w:6066"), SECRET, "the environment has no WEBHOOK_TOKEN", "catch_up_token"),
    ],
)  # fmt: skip
def test_what_was_not_set_up_is_told_with_its_mend(words: tuple[str, ...], secret: str, told: str, fix: str) -> None:
    """Before anything is sent or listened on; no secret is repeated."""
    done = call(*words, WEBHOOK_SECRET=secret)
    assert isinstance(done.exception, SekishoError), done.output
    assert told in done.exception.what and fix in done.exception.fix and "whsec_short" not in str(done.exception)


def test_a_port_in_use_is_told(listener: Listener) -> None:
    """Not as a file that cannot be used."""
    port = listener.server.server_address[1]
    done = call("listen", "--port", str(port))
    assert f"port {port} cannot be listened on" in str(done.exception)


def test_a_listener_outlives_callers_who_do_not_keep_to_http(listener: Listener) -> None:
    """No length, a negative or a huge one: refused, and the connection ends; the next caller is served."""
    for length, status in (("", 411), ("-5", 411), ("x", 411), (str(1 << 30), 413)):
        with socket.create_connection(listener.server.server_address[:2], 10) as caller:
            head = f"content-length: {length}\r\n" if length else ""
            caller.sendall(f"POST /x HTTP/1.1\r\nhost: x\r\n{head}\r\n".encode())
            answer = caller.makefile("rb").read()
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert listener.said == []  # type: ignore[attr-defined]
    assert (
        call("test", f"http://127.0.0.1:{listener.server.server_address[1]}/x", "--allow", "127.0.0.1").exit_code == 0
    )


def test_config_check_knows_addresses_that_will_be_refused(tmp_path: Path) -> None:
    """A private address without `allow` is told before the first alert is lost in it; secrets do not show."""
    text = """\
pack = "p"
state = "s"
[kafka]
bootstrap = "127.0.0.1:9092"
[topics]
input = ["payments"]
[[webhooks]]
id = "case-tool"
url = "https://10.1.2.3/x"
secrets = [{ env = "S" }]
"""
    (tmp_path / "sekisho.toml").write_text(text)
    words = ["check", "--config", str(tmp_path / "sekisho.toml")]
    done = CliRunner().invoke(config, words, env={"S": SECRET})
    assert "webhook case-tool: the address 10.1.2.3 is refused: it is private" in str(done.exception)
    (tmp_path / "sekisho.toml").write_text(text + 'allow = ["10.1.2.0/24"]\n')
    done = CliRunner().invoke(config, words, env={"S": SECRET})
    assert done.exit_code == 0 and "webhooks.case-tool" in done.output and SECRET not in done.output


def test_the_inbox_knows_what_is_missing() -> None:
    """Out of order, twice, in batches: what is missing is what nobody has brought."""
    inbox = Inbox()
    assert inbox.accept("a", 2, 2) and inbox.missing == [1]
    assert not inbox.accept("a", 2, 2)
    assert inbox.accept("b", 5, 7) and inbox.missing == [1, 3, 4]
    assert inbox.accept("c", 1, 4) and inbox.missing == [] and inbox.upto == 7
    assert inbox.accept("d", 8, 8) and inbox.upto == 8


def test_a_listener_reads_what_it_has_missed() -> None:
    """A gap is filled from /v1/alerts with the token."""

    class Web(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["authorization"]))
            items = [{"sequence": k, "data": make_alert(k)} for k in (1, 2, 3, 4)]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": items}).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    asked: list[tuple[str, str]] = []
    web = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    said: list[str] = []
    listener = Listener(0, [SECRET], said.append, (f"http://127.0.0.1:{web.server_address[1]}", "the-token"))
    message = message_of("case-tool", "internal", 4, [make_alert(4)])
    assert listener.receive(headers_of(subscriber(), message.id, message.body, time.time()), message.body) == 200
    assert asked == [("/v1/alerts?subscriber=case-tool&after=0", "Bearer the-token")]
    assert listener.inbox.missing == [] and listener.inbox.upto == 4
    assert "missing: 1, 2, 3" in said[0] and "caught up: read 4 alerts" in said[1]
    web.shutdown()
    web.server_close()
    listener.server.server_close()
