"""The tokens of JSON (RFC 8259), one kernel each. Each takes where it stands and gives where it stops."""

from __future__ import annotations

import numpy as np

from features.kernel import inlined, inner
from features.sheet import Bytes
from features.shims import Int
from sekisho.wire.reasons import CONTROL, ESCAPE, NUL, OK, SYNTAX, TRUNCATED, UTF8

QUOTE, BACKSLASH, COMMA, COLON, MINUS = 34, 92, 44, 58, 45
OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY = 123, 125, 91, 93
LETTER_T, LETTER_F, LETTER_N = 116, 102, 110

_PLAIN = np.ones(256, np.uint8)  # 1 for ASCII that stands for itself in a string
_PLAIN[:32] = _PLAIN[128:] = _PLAIN[QUOTE] = _PLAIN[BACKSLASH] = 0
_ESCAPED = np.zeros(256, np.uint8)  # what a letter after a backslash stands for
for _letter, _byte in zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True):
    _ESCAPED[_letter] = _byte
_TRUE, _FALSE, _NULL = (np.frombuffer(word, np.uint8) for word in (b"true", b"false", b"null"))


@inlined
def skip_space(data: Bytes, at: Int, end: Int) -> Int:
    """The first byte from `at` that is no white space, or `end`."""
    while at < end and data[at] <= 32 and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


@inner
def utf8_width(data: Bytes, at: Int, end: Int) -> Int:
    """How many bytes the character at `at` has, or 0 if they are not valid UTF-8 (Unicode 15, table 3-7)."""
    lead = data[at]
    if lead < 0x80:
        return 1
    if lead < 0xC2 or lead > 0xF4:
        return 0
    width = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
    if at + width > end:
        return 0
    for k in range(1, width):
        if data[at + k] & 0xC0 != 0x80:
            return 0
    second = data[at + 1]
    if (lead == 0xE0 and second < 0xA0) or (lead == 0xED and second > 0x9F):
        return 0
    if (lead == 0xF0 and second < 0x90) or (lead == 0xF4 and second > 0x8F):
        return 0
    return width


@inner
def _hex4(data: Bytes, at: Int, end: Int) -> Int:
    """Four hexadecimal digits, or -1."""
    if at + 4 > end:
        return np.int64(-1)
    value = np.int64(0)
    for k in range(4):
        c = np.int64(data[at + k])
        if 48 <= c <= 57:
            value = value * 16 + c - 48
        elif 97 <= (c | 32) <= 102:
            value = value * 16 + (c | 32) - 87
        else:
            return np.int64(-1)
    return value


@inner
def _escape(data: Bytes, at: Int, end: Int) -> tuple[Int, Int, Int]:
    """The escape whose backslash is at `at`: (width, code point, code)."""
    if at + 1 >= end:
        return 0, 0, TRUNCATED
    if data[at + 1] != 117:
        plain = np.int64(_ESCAPED[data[at + 1]])
        return 2, plain, OK if plain else ESCAPE
    point = _hex4(data, at + 2, end)
    if point == 0:
        return 0, 0, NUL
    if point < 0 or 0xDC00 <= point <= 0xDFFF:
        return 0, 0, ESCAPE
    if point < 0xD800 or point > 0xDFFF:
        return 6, point, OK
    if at + 8 > end or data[at + 6] != BACKSLASH or data[at + 7] != 117:
        return 0, 0, ESCAPE
    low = _hex4(data, at + 8, end)
    if low < 0xDC00 or low > 0xDFFF:
        return 0, 0, ESCAPE
    return 12, 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00), OK


@inner
def scan_string(data: Bytes, at: Int, end: Int) -> tuple[Int, bool, Int]:
    """From behind the opening quote: (where the closing one or the bad byte is, has it escapes, code)."""
    escaped = False
    while True:
        while at < end and _PLAIN[data[at]]:
            at += 1
        if at >= end:
            return end, escaped, TRUNCATED
        c = data[at]
        if c == QUOTE:
            return at, escaped, OK
        if c == BACKSLASH:
            width, _, code = _escape(data, at, end)
            if code != OK:
                return at, escaped, code
            escaped = True
        elif c < 32:
            return at, escaped, CONTROL if c else NUL
        else:
            width = utf8_width(data, at, end)
            if width == 0:
                return at, escaped, UTF8
        at += width


@inner
def unescape(text: Bytes, at: Int, end: Int) -> Int:
    """Rewrite the scanned string text[at : end] in place without its escapes; where it ends now."""
    to = at
    while at < end:
        if text[at] != BACKSLASH:
            text[to] = text[at]
            at += 1
            to += 1
            continue
        width, point, _ = _escape(text, at, end)
        at += width
        if point < 0x80:
            text[to] = point
            to += 1
        elif point < 0x800:
            text[to], text[to + 1] = 0xC0 | point >> 6, 0x80 | point & 63
            to += 2
        elif point < 0x10000:
            text[to], text[to + 1], text[to + 2] = 0xE0 | point >> 12, 0x80 | point >> 6 & 63, 0x80 | point & 63
            to += 3
        else:
            text[to], text[to + 1] = 0xF0 | point >> 18, 0x80 | point >> 12 & 63
            text[to + 2], text[to + 3] = 0x80 | point >> 6 & 63, 0x80 | point & 63
            to += 4
    return to


@inlined
def _skip_digits(data: Bytes, at: Int, end: Int) -> Int:
    while at < end and 48 <= data[at] <= 57:
        at += 1
    return at


@inner
def scan_number(data: Bytes, at: Int, end: Int) -> tuple[Int, bool, Int]:
    """(where it stops or the bad byte is, is it an integer, code)."""
    if data[at] == MINUS:
        at += 1
    stop = _skip_digits(data, at, end)
    if stop == at:
        return at, True, SYNTAX if at < end else TRUNCATED
    if data[at] == 48 and stop > at + 1:
        return at + 1, True, SYNTAX
    at, integer = stop, True
    if at < end and data[at] == 46:
        stop = _skip_digits(data, at + 1, end)
        if stop == at + 1:
            return stop, False, SYNTAX if stop < end else TRUNCATED
        at, integer = stop, False
    if at < end and data[at] | 32 == 101:
        at += 1
        if at < end and (data[at] == 43 or data[at] == MINUS):
            at += 1
        stop = _skip_digits(data, at, end)
        if stop == at:
            return at, False, SYNTAX if at < end else TRUNCATED
        at, integer = stop, False
    return at, integer, OK


@inner
def scan_word(data: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """true, false or null: (where it stops or the bad byte is, code)."""
    c = data[at]
    word = _TRUE if c == LETTER_T else (_FALSE if c == LETTER_F else _NULL)
    for k in range(len(word)):
        if at + k >= end:
            return end, TRUNCATED
        if data[at + k] != word[k]:
            return at + k, SYNTAX
    return at + len(word), OK
