"""The address guard: hostile addresses in every form, none connected to, which a listening socket proves."""

import asyncio
import ipaddress
import socket
import threading

import pytest

from streams.webhooks.addresses import why_refused
from streams.webhooks.message import message_of
from streams.webhooks.sender import Sender
from tests.streams.webhooks.hooks_world import make_alert, webhook

# As hosts of a URL. What resolves does so to a refused address; nothing here may see a byte.
HOSTILE = [
    # loopback, in the many ways in which the C library reads it
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.0.0.2",
    "127.255.255.254", "localhost", "[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "0x7f.0x0.0x0.0x1", "127.0.0.1.",
    # unspecified: the machine itself
    "0.0.0.0", "0", "0x0", "0.1.2.3", "[::]", "[0:0:0:0:0:0:0:0]",
    # private and shared
    "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.254", "192.168.0.1", "192.168.255.255", "100.64.0.1",
    "100.127.255.255", "0x0a000001", "167772161", "[fc00::1]", "[fd12:3456:789a::1]", "[fec0::1]",
    # link-local and metadata
    "169.254.169.254", "169.254.170.2", "0xa9fea9fe", "2852039166", "[fe80::1]", "[fd00:ec2::254]", "168.63.129.16",
    "100.100.100.200", "192.0.0.192",
    # multicast, broadcast, reserved, documentation, benchmarks
    "224.0.0.1", "239.255.255.250", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1",
    "198.18.0.1", "[ff02::1]", "[ff05::2]", "[2001:db8::1]", "[100::1]", "[3fff::1]", "[5f00::1]", "[4000::1]",
    # IPv6 that hides IPv4
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:10.0.0.1]", "[::ffff:169.254.169.254]", "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]", "[::7f00:1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::a00:1]", "[2002:7f00:1::]", "[2002:a00:1::1]", "[2002:a9fe:a9fe::]", "[2001:0:7f00:1::]",
    "[2001::f7f7:f7f7]", "[2600::5efe:127.0.0.1]", "[2600::200:5efe:a00:1]", "192.88.99.1",
]  # fmt: skip


class Trap:
    """Listens on every address of the machine, IPv4 and IPv6, and counts who connects."""

    def __init__(self) -> None:
        self.server = socket.socket(socket.AF_INET6)
        self.server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.server.bind(("::", 0))
        self.server.listen(64)
        self.port, self.visitors = self.server.getsockname()[1], list[object]()
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            try:
                connection, who = self.server.accept()
            except OSError:
                return
            self.visitors.append(who)
            connection.close()


@pytest.fixture
def trap():
    trap = Trap()
    with socket.create_connection(("127.0.0.1", trap.port)):
        pass
    while not trap.visitors:  # it does notice
        pass
    trap.visitors.clear()
    yield trap
    trap.server.close()


def call(url: str, **values: object) -> str:
    """What one call brings, with a resolver that may be made up."""
    resolve = values.pop("resolve", socket.getaddrinfo)

    async def one() -> str:
        sender = Sender(webhook(url, timeout_s=5, **values), resolve)
        try:
            return str(await sender.send(message_of("case-tool", "internal", 1, [make_alert(1)]), 1_790_000_000))
        finally:
            await sender.close()

    return asyncio.run(one())


def test_there_are_more_than_sixty_hostile_addresses() -> None:
    """The table is as long as it claims."""
    assert len(set(HOSTILE)) == len(HOSTILE) >= 60


def test_no_hostile_address_is_connected_to(trap: Trap) -> None:
    """Each is refused with its reason before a packet leaves; the trap, on all of this machine, sees nobody."""
    answers = {host: call(f"http://{host}:{trap.port}/x") for host in HOSTILE}
    unclear = {
        host: told for host, told in answers.items() if "refused: it is" not in told and "not resolved" not in told
    }
    assert not unclear
    refused = [host for host, told in answers.items() if "refused: it is" in told]
    assert len(refused) >= 60, {host: told for host, told in answers.items() if host not in refused}
    assert trap.visitors == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
def test_what_is_listed_is_connected_to(trap: Trap, host: str) -> None:
    """`allow` opens exactly what it names; the mapped form is a name of its own."""
    allow = (ipaddress.ip_network("127.0.0.1/32"), ipaddress.ip_network("::1/128"))
    told = call(f"http://{host}:{trap.port}/x", allow=allow)
    assert ("refused" in told) == host.startswith("[") and bool(trap.visitors) != host.startswith("[")


def test_a_name_that_changes_its_address_is_judged_each_time_it_is_connected_to(trap: Trap) -> None:
    """DNS rebinding: the first look-up says an internet address, the next says loopback. Looked up once a call, and
    what was looked up is what is judged and connected to."""
    asked: list[str] = []
    turns = iter(["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3"])

    def resolve(host: str, port: int, *_: object) -> list[object]:
        asked.append(host)
        address = next(turns)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    for k in range(1, 5):
        told = call(f"http://rebind.example:{trap.port}/x", resolve=resolve)
        assert "refused" in told and len(asked) == k
    assert trap.visitors == []


def test_of_several_addresses_only_the_good_ones_are_tried(trap: Trap) -> None:
    """A name with a private and a listed address: the private one is passed over."""

    def resolve(host: str, port: int, *_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("10.0.0.1", "127.0.0.1")]

    call(f"http://two.example:{trap.port}/x", resolve=resolve, allow=(ipaddress.ip_network("127.0.0.1/32"),))
    assert len(trap.visitors) == 1


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "203.0.114.1", "2606:4700::1111", "2a00:1450::5"])
def test_the_internet_is_open(address: str) -> None:
    """The guard is no wall."""
    assert why_refused(address, ()) == ""


def test_every_address_that_python_calls_private_is_refused() -> None:
    """An independent judge: what the standard library does not call global is refused, in a sweep."""
    for k in range(0, 2**32, 65_521 * 37):
        address = ipaddress.IPv4Address(k)
        if not address.is_global or address.is_multicast:
            assert why_refused(str(address), ()), address
    for k in range(0, 2**128, 2**128 // 1009):
        wide = ipaddress.IPv6Address(k)
        if not wide.is_global or wide.is_multicast:
            assert why_refused(str(wide), ()), wide
