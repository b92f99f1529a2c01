"""Prequential validation: train, wait for the labels, test; then the same again at earlier moments.

A. P. Dawid, "Present position and potential developments: the prequential approach" (1984); for card payments with a
delay, A. Dal Pozzolo et al., "Credit card fraud detection and concept-drift adaptation with delayed supervised
information" (2015).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Train on [train_from_us, train_to_us), wait delay_us, test on what follows until test_to_us.

    Times are event times, microseconds UTC.
    """

    train_from_us: int
    train_to_us: int
    delay_us: int
    test_to_us: int

    @property
    def known_us(self) -> int:
        """The moment at which the model is made and the test begins: it knows the labels before it."""
        return self.train_to_us + self.delay_us

    def earlier(self, by_us: int) -> Window:
        """The same window, that much earlier."""
        return Window(self.train_from_us - by_us, self.train_to_us - by_us, self.delay_us, self.test_to_us - by_us)

    def folds(self, count: int, maturity_us: int) -> list[Window]:
        """`count` earlier windows, newest first, whose test payments are mature when this model is made.

        Their tests stand end to end, the newest ending a maturity before this window's test begins.
        """
        step = self.test_to_us - self.known_us
        return [self.earlier(maturity_us + k * step) for k in range(1, count + 1)]
