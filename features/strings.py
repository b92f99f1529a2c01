"""Text as kernels see it: a handle (see features.sheet.text_handle) into UTF-8 bytes."""

from __future__ import annotations

from features.kernel import inner
from features.sheet import HANDLE_BITS, Bytes

_LENGTH = (1 << HANDLE_BITS) - 1
_PERCENT, _UNDERSCORE = ord("%"), ord("_")


@inner
def span(handle: int) -> tuple[int, int]:
    """Where the text's bytes begin and end."""
    start = handle >> HANDLE_BITS
    return start, start + (handle & _LENGTH)


@inner
def same_text(text: Bytes, a: int, b: int) -> bool:
    """True when both texts are the same bytes."""
    length = a & _LENGTH
    if length != b & _LENGTH:
        return False
    if a == b:
        return True
    p, q = a >> HANDLE_BITS, b >> HANDLE_BITS
    for k in range(length):  # noqa: SIM110 - a kernel has no generators
        if text[p + k] != text[q + k]:
            return False
    return True


@inner
def compare_text(text: Bytes, a: int, b: int) -> int:
    """-1, 0 or 1 as a's bytes sort before, equal or after b's."""
    p, p_end = span(a)
    q, q_end = span(b)
    while p < p_end and q < q_end:
        if text[p] != text[q]:
            return -1 if text[p] < text[q] else 1
        p += 1
        q += 1
    return (1 if p < p_end else 0) - (1 if q < q_end else 0)


@inner
def code_points(text: Bytes, handle: int) -> int:
    """How many Unicode code points the text has."""
    start, end = span(handle)
    count = 0
    for k in range(start, end):
        count += (text[k] & 0xC0) != 0x80
    return count


@inner
def _next_code_point(text: Bytes, at: int, end: int) -> int:
    at += 1
    while at < end and (text[at] & 0xC0) == 0x80:
        at += 1
    return at


@inner
def like(text: Bytes, handle: int, pattern: int) -> bool:
    """SQL LIKE without escapes: % is any text, _ one code point. Goes back to the last % only, so it is never slow."""
    s, s_end = span(handle)
    p, p_end = span(pattern)
    after_percent, retry = -1, 0
    while s < s_end:
        if p < p_end and text[p] == _PERCENT:
            p += 1
            after_percent, retry = p, s
        elif p < p_end and text[p] == _UNDERSCORE:
            p += 1
            s = _next_code_point(text, s, s_end)
        elif p < p_end and text[p] == text[s]:
            p += 1
            s += 1
        elif after_percent >= 0:
            retry = _next_code_point(text, retry, s_end)
            p, s = after_percent, retry
        else:
            return False
    while p < p_end and text[p] == _PERCENT:
        p += 1
    return p == p_end
