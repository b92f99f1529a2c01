"""Which cluster a worker's state belongs to: offsets and epochs of one cluster mean nothing on another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streams.broker import BrokerError

_FILE = "cluster-id"


class WrongClusterError(BrokerError):
    """The brokers that answer are another cluster's: nothing may be read from them, or written to them."""


@dataclass(frozen=True)
class ClusterCheck:
    """Compares ids. named: what the settings say, "" for nothing.   folder: the state's; it remembers the first id.

    owner: whoever owns the state writes that id down; all others only heed it.
    """

    named: str
    folder: Path
    owner: bool = False

    def __call__(self, found: str | None) -> None:
        """Raise WrongClusterError unless this is the right cluster."""
        if not found:
            return
        if self.named and found != self.named:
            raise WrongClusterError(f"the brokers are of cluster {found}, and [kafka] cluster_id says {self.named}")
        known = self._remembered()
        if known and found != known:
            raise WrongClusterError(
                f"the brokers are of cluster {found}, and {self.folder} holds the state of cluster {known}; "
                "mend [kafka] bootstrap, or use another state folder"
            )
        if self.owner and not known:
            self._remember(found)

    def _remembered(self) -> str:
        try:
            return (self.folder / _FILE).read_text("utf-8").strip()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise BrokerError(f"{self.folder / _FILE}: cannot be read: {error.strerror}") from error

    def _remember(self, found: str) -> None:
        try:
            (self.folder / _FILE).write_text(f"{found}\n", "utf-8")
        except OSError as error:
            raise BrokerError(f"{self.folder / _FILE}: cannot be written: {error.strerror}") from error
