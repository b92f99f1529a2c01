"""The address guard: which addresses a webhook may be connected to. Judged on the very address that is connected to.

A receiver is somewhere on the internet, or where the settings say. Everything else may be a door into the bank: its
own networks, the machine itself, a cloud's metadata, and the many IPv6 forms that carry an IPv4 address inside.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable

from sekisho.webhook_settings import Network, Webhook

AddressInfo = tuple[int, int, int, str, tuple[object, ...]]
# Forms that carry another address, and public ranges that serve no receiver. The first that holds an address names it.
_REFUSED: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "unspecified"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
    ("168.63.129.16/32", "a cloud's metadata"),
    ("100.100.100.200/32", "a cloud's metadata"),
    ("100.64.0.0/10", "shared between providers"),
    ("10.0.0.0/8", "private"),
    ("172.16.0.0/12", "private"),
    ("192.168.0.0/16", "private"),
    ("192.88.99.0/24", "6to4, which hides another address"),
    ("192.0.0.0/24", "reserved for protocols, where a cloud keeps its metadata"),
    ("192.0.2.0/24", "for documents"),
    ("198.51.100.0/24", "for documents"),
    ("203.0.113.0/24", "for documents"),
    ("198.18.0.0/15", "for benchmarks"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "IPv4-mapped, which hides another address"),
    ("::/96", "IPv4-compatible, which hides another address"),
    ("64:ff9b::/96", "NAT64, which hides another address"),
    ("64:ff9b:1::/48", "NAT64, which hides another address"),
    ("2002::/16", "6to4, which hides another address"),
    ("2001::/32", "Teredo, which hides another address"),
    ("2001::/23", "reserved for protocols"),
    ("2001:db8::/32", "for documents"),
    ("3fff::/20", "for documents"),
    ("fd00:ec2::254/128", "a cloud's metadata"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private"),
    ("ff00::/8", "multicast"),
)
_NETWORKS = tuple((ipaddress.ip_network(network), name) for network, name in _REFUSED)
_INTERNET_V6 = ipaddress.IPv6Network("2000::/3")
_A_NAME = "no numeric address"
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


class AddressRefused(OSError):
    """An address that no call is made to."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(f"the address {address} is refused: it is {why}; list it in `allow` if it is meant")


def why_refused(address: str, allow: Iterable[Network]) -> str:
    """What is wrong with a numeric address, or "" where it may be connected to."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return _A_NAME
    if any(found in network for network in allow):
        return ""
    for network, name in _NETWORKS:
        if found in network:
            return name
    if isinstance(found, ipaddress.IPv6Address):
        if (int(found) >> 32) & 0xFFFF_FFFF in _ISATAP:
            return "ISATAP, which hides another address"
        if found not in _INTERNET_V6:
            return "not on the internet"
    return "" if found.is_global else "reserved"


def refused_hosts(webhooks: Iterable[Webhook]) -> list[str]:
    """Subscribers whose URL holds a numeric address that will be refused, a sentence each."""
    reasons = [(each, why_refused(each.host, each.allow)) for each in webhooks]
    return [f"webhook {each.id}: {AddressRefused(each.host, why)}" for each, why in reasons if why not in ("", _A_NAME)]


def guarded_socket(
    allow: Iterable[Network],
) -> Callable[[AddressInfo], socket.socket]:
    """Makes the socket for an address that is about to be connected to, or raises AddressRefused."""
    allowed = tuple(allow)

    def make(info: AddressInfo) -> socket.socket:
        family, type, protocol, _, (address, *_rest) = info
        if why := why_refused(str(address), allowed):
            raise AddressRefused(str(address), why)
        return socket.socket(family, type, protocol)

    return make
