"""Receivers that fail in twelve ways: every alert is delivered or given up with its reason, and nobody else notices."""

import asyncio
import ipaddress
import socket
import ssl
import struct
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import trustme

from streams.webhooks.couriers import Courier
from streams.webhooks.message import message_of
from streams.webhooks.outbox import Item, Outbox
from streams.webhooks.sender import Sender
from tests.streams.webhooks.hooks_world import Answers, Call, FakeClock, Receiver, answer, make_alert, webhook

LOOPBACK = (ipaddress.ip_network("127.0.0.1/32"),)
ALERTS = 5
HOUR_S = 3600.0


def slow_bytes(handler: BaseHTTPRequestHandler, call: Call) -> None:
    """A byte of the header now and then, for ever."""
    try:
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1000:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        handler.close_connection = True


def reset(handler: BaseHTTPRequestHandler, call: Call) -> None:
    """The connection is reset instead of answered."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def huge(handler: BaseHTTPRequestHandler, call: Call) -> None:
    """An answer without an end, under an error's status."""
    handler.send_response(500)
    handler.send_header("content-length", str(2**40))
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"x" * 65_536)
    except OSError:
        handler.close_connection = True


def silent(handler: BaseHTTPRequestHandler, call: Call) -> None:
    """No answer before the timeout."""
    time.sleep(0.6)
    handler.close_connection = True


def item(k: int, at_s: float) -> tuple[Item, int]:
    message = message_of("case-tool", "internal", k, [make_alert(k)])
    return Item(k, k, k, at_s, message=message), k + 1


class Bench:
    """Couriers of a failing and of a good receiver side by side, on a clock of their own."""

    def __init__(self, url: str, good: Receiver, **values: object) -> None:
        self.clock = FakeClock()
        hook = webhook(url, **{"timeout_s": 5, "give_up_after_h": 72, "allow": LOOPBACK, **values})
        self.bad = Courier(Outbox(hook, 0), Sender(hook), self.clock)
        fine = webhook(good.url, allow=LOOPBACK, id="good")
        self.good = Courier(Outbox(fine, 0), Sender(fine), self.clock)
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Bench":
        self.tasks = [asyncio.create_task(courier.run()) for courier in (self.bad, self.good)]
        for courier in (self.bad, self.good):
            courier.take([item(k, self.clock.now()) for k in range(1, ALERTS + 1)], ALERTS + 1)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def settle(self, courier: Courier) -> None:
        """Until nothing is in flight."""
        await asyncio.sleep(0.005)
        while courier.outbox._flying:
            await asyncio.sleep(0.005)

    async def pass_time(self, seconds: float, step_s: float) -> None:
        """Let time pass in steps, each after all calls have landed."""
        end = self.clock.now() + seconds
        while self.clock.now() < end and self.bad.outbox.items:
            await self.settle(self.bad)
            await self.clock.advance(step_s)
        await self.settle(self.bad)


FAILURES: dict[str, tuple[Answers, str]] = {
    "500s": (answer(500), "status 500"),
    "timeouts": (silent, "no answer within 0.25 s"),
    "slow bytes": (slow_bytes, "no answer within 0.25 s"),
    "resets": (reset, "the connection broke"),
    "redirect to a private address": (answer(307, location="http://10.0.0.1/steal"), "which is not followed"),
    "huge answers": (huge, "status 500"),
    "never up": (answer(503), "status 503"),
}  # fmt: skip


@pytest.fixture
def good():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.mark.parametrize("way", FAILURES)
def test_what_fails_for_ever_is_given_up_with_its_reason(way: str, good: Receiver) -> None:
    """Tried again and again over 72 hours of the clock, then given up, each alert with the last reason; the receiver
    is spared by the breaker; the good one has had everything before the first failure has ended."""
    answers, reason = FAILURES[way]
    bad = Receiver(answers)
    patience_s = 0.25 if "0.25" in reason else 5

    async def run() -> Bench:
        async with Bench(bad.url, good, timeout_s=patience_s) as bench:
            while len(good.calls) < ALERTS:
                await asyncio.sleep(0.002)
            assert not bench.bad.outbox.given_up and bench.clock.now() == FakeClock().now()
            await bench.pass_time(73 * HOUR_S, 12 * HOUR_S)
            return bench

    bench = asyncio.run(run())
    given_up = bench.bad.outbox.given_up
    assert sorted(each.item.first for each in given_up) == list(range(1, ALERTS + 1)), way
    assert all(each.reason.startswith("not delivered within 72 h") for each in given_up)
    assert any(reason in each.reason for each in given_up), [each.reason for each in given_up]
    assert 5 <= len(bad.calls) <= 30
    assert {call.id for call in bad.calls} <= {make_alert(k)["id"] for k in range(1, ALERTS + 1)}
    assert sorted(good.sequences()) == list(range(1, ALERTS + 1)) and not bench.good.outbox.items
    bad.close()


def test_up_after_an_hour(good: Receiver) -> None:
    """Down for an hour of the clock: everything arrives within eleven minutes of its return, under the same ids."""
    bad = Receiver(answer(503))

    async def run() -> float:
        async with Bench(bad.url, good) as bench:
            await bench.pass_time(HOUR_S, 30)
            assert len(bench.bad.outbox.items) == ALERTS and bench.bad.outbox.breaker.open
            bad.answers, back = answer(200), bench.clock.now()
            await bench.pass_time(HOUR_S, 30)
            assert not bench.bad.outbox.items and bench.bad.outbox.counts.delivered == ALERTS
            return bench.clock.now() - back

    took = asyncio.run(run())
    assert took <= 11 * 60
    last = {call.sequence: call.id for call in bad.calls[-ALERTS:]}
    assert last == {k: make_alert(k)["id"] for k in range(1, ALERTS + 1)}
    assert len(bad.calls) < 40
    bad.close()


def test_gone_ends_all_calls(good: Receiver) -> None:
    """410: what is owed is given up at once, with the reason, and nothing more is sent."""
    bad = Receiver(answer(410))

    async def run() -> Bench:
        async with Bench(bad.url, good) as bench:
            await bench.pass_time(HOUR_S, 60)
            calls = len(bad.calls)
            bench.bad.take([item(9, bench.clock.now())], 10)
            await bench.pass_time(HOUR_S, 60)
            assert len(bad.calls) == calls
            return bench

    given_up = asyncio.run(run()).bad.outbox.given_up
    assert sorted(each.item.first for each in given_up) == [1, 2, 3, 4, 5, 9]
    assert all("410" in each.reason for each in given_up)
    bad.close()


def test_too_many_requests_is_waited_out(good: Receiver) -> None:
    """429 with Retry-After: no call before the time it names, then everything; the breaker stays closed."""
    bad = Receiver(answer(429, retry_after="600"), port=0)

    async def run() -> None:
        async with Bench(bad.url, good, parallel=1) as bench:
            await bench.settle(bench.bad)
            assert len(bad.calls) == 1
            bad.answers = answer(200)
            await bench.pass_time(595, 5)
            assert len(bad.calls) == 1 and not bench.bad.outbox.breaker.open
            await bench.pass_time(60, 5)
            assert len(bad.calls) == 1 + ALERTS and not bench.bad.outbox.items

    asyncio.run(run())
    bad.close()


def test_a_name_that_turns_private_is_refused_and_given_up(good: Receiver) -> None:
    """DNS that changes: the address is judged at every call; when it is good again, the alerts arrive."""
    bad = Receiver()
    addresses = ["10.9.8.7"]

    def resolve(host: str, port: int, *_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (addresses[0], port))]

    async def run() -> None:
        url = f"http://changing.example:{bad.port}/hook"
        async with Bench(url, good) as bench:
            await bench.bad.sender.close()  # type: ignore[attr-defined]
            bench.bad.sender = Sender(bench.bad.outbox.webhook, resolve)
            await bench.pass_time(HOUR_S, 60)
            assert not bad.calls and len(bench.bad.outbox.items) == ALERTS
            assert all("10.9.8.7 is refused: it is private" in each.problem for each in bench.bad.outbox.items.values())
            addresses[0] = "127.0.0.1"
            await bench.pass_time(HOUR_S, 60)
            assert len(bad.calls) == ALERTS and not bench.bad.outbox.items

    asyncio.run(run())
    bad.close()


@pytest.mark.parametrize("right", [False, True])
def test_certificates_are_verified(right: bool, good: Receiver, tmp_path: Path) -> None:
    """A certificate of an unknown authority, or of another name, is no receiver; with the bank's own CA and a client
    certificate it is one. The host's name is what is verified, though an address is connected to."""
    authority, stranger = trustme.CA(), trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(tls)
    authority.issue_cert("cases.bank.example" if right else "other.bank.example").configure_cert(tls)
    bad = Receiver(tls=tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client = (authority if right else stranger).issue_cert("sekisho@bank.example")
    client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")

    def resolve(host: str, port: int, *_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def run() -> str:
        hook = webhook(
            f"https://cases.bank.example:{bad.port}/hook", allow=LOOPBACK, ca=tmp_path / "ca.pem",
            certificate=tmp_path / "client.pem",
        )  # fmt: skip
        sender = Sender(hook, resolve)
        try:
            return str(await sender.send(message_of("case-tool", "internal", 1, [make_alert(1)]), 1_790_000_000))
        finally:
            await sender.close()

    told = asyncio.run(run())
    assert (told == "status 200") == right and bool(bad.calls) == right
    assert right or told.startswith("TLS: Hostname mismatch")
    bad.close()
