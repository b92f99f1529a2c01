"""The ledger against a dict that forgets."""

import numpy as np
import pytest

from features.hashing import KNOWN_KEY, secret_of
from sekisho import ledger as led

SECRET = secret_of(KNOWN_KEY)


def keyed(ledger, key):
    raw = np.frombuffer(key, np.uint8)
    return led.find(SECRET, ledger.heap, ledger.table, ledger.words, raw, 0, len(raw), 0)


def write(ledger, key, stamp, payload):
    raw = np.frombuffer(key, np.uint8)
    ledger.reserve(int(led.record_words(ledger.words, len(raw), 0)), 1)
    at = led.append(SECRET, ledger.heap, ledger.table, ledger.marks, ledger.words, raw, 0, len(raw), 0, stamp, 0)
    ledger.heap[at + led.HEADER] = payload


@pytest.mark.parametrize("seed", range(5))
def test_a_ledger_is_a_dict_that_forgets_the_oldest(seed):
    """Written, found, expired, kept and restored: the ledger always answers as a dict does."""
    draw = np.random.default_rng(seed)
    ledger, truth, now = led.new_ledger(1), {}, 0
    for step in range(3000):
        now += int(draw.integers(0, 4))
        key = b"k%d" % draw.integers(0, 400)
        at = keyed(ledger, key)
        assert (at >= 0) == (key in truth)
        if at >= 0:
            assert ledger.heap[at + led.HEADER] == truth[key][1]
        else:
            write(ledger, key, now, step)
            truth[key] = (now, step)
        if step % 7 == 0:
            led.expire(ledger.heap, ledger.table, ledger.marks, now - 300)
            truth = {k: v for k, v in truth.items() if v[0] >= now - 300}
        if step % 1000 == 999:
            ledger = led.new_ledger(1, ledger.arrays())
        assert ledger.marks[led.COUNT] == len(truth)


def test_a_ledger_of_a_moving_window_stops_growing():
    """Memory follows the records that live, not all that ever were."""
    ledger = led.new_ledger(1)
    for stamp in range(20_000):
        led.expire(ledger.heap, ledger.table, ledger.marks, stamp - 100)
        write(ledger, b"key %d" % stamp, stamp, 0)
    assert ledger.bytes < 40_000
