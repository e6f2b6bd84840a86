"""Decimal numbers as text to floats, at the speed of reading memory rather than of making Python objects."""

from __future__ import annotations

import re

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
ByteArray = NDArray[np.uint8]

CHUNK = 1 << 16
POWERS_OF_TEN = np.array([float(10**n) for n in range(23)])  # the powers that a double holds exactly
LARGEST_EXACT = np.uint64(2**53)
ZERO, ONE, FOUR, NINE, TEN, EIGHTEEN, ASCII_ZERO = (np.uint64(n) for n in (0, 1, 4, 9, 10, 18, 48))
BLANK, PLUS, MINUS, POINT, SMALL_E, LARGE_E = (np.uint8(ord(c)) for c in " +-.eE")
FORTRAN_EXPONENT = re.compile(rb"^([+-]?[0-9]*\.?[0-9]*)[eEdD]?([+-]?[0-9]+)$")


def parse_numbers(text: ByteArray, start: int, count: int) -> tuple[FloatArray, int, bytes]:
    """Read up to ``count`` numbers that blanks or line ends separate, starting at byte ``start``.

    Every value is the double nearest to its decimal text, as Python's ``float`` gives it: digits that fit 53 bits times
    or over a power of ten up to 10^22 are rounded once (W. D. Clinger, PLDI 1990), other numbers go through ``float``
    itself. Exponents may be written with D, or without a letter as Fortran does beyond E-99.

    Returns:
        The values found; the byte after the last of them; the word that is no number and stopped the reading, or empty.
    """
    values = np.empty(count)
    words = np.empty((min(CHUNK, count), 3), dtype=np.int64)
    found, position = 0, start
    while found < count:
        out = values[found : found + CHUNK]
        n, n_words, position = _parse_chunk(text, position, out, words)
        if n_words:
            bad = _parse_words(text, out, words[:n_words])
            if bad is not None:
                index, begin, word = bad
                return values[: found + index], begin, word
        found += n
        if n < len(out):
            break
    return values[:found], position, b""


def _parse_words(text: ByteArray, out: FloatArray, words: NDArray[np.int64]) -> tuple[int, int, bytes] | None:
    index, begin, end = words.T
    first = int(begin[0])
    piece = text[first : end[-1]].tobytes()
    pieces = [piece[a:b] for a, b in zip((begin - first).tolist(), (end - first).tolist(), strict=True)]
    try:
        out[index] = [float(word) for word in pieces]
    except ValueError:
        for n, word in enumerate(pieces):
            try:
                out[index[n]] = parse_word(word)
            except ValueError:
                return int(index[n]), int(begin[n]), word
    return None


def parse_word(word: bytes) -> float:
    """One number, with the exponent written as E, D or Fortran's bare sign.

    Raises:
        ValueError: The word is no number.
    """
    try:
        return float(word)
    except ValueError:
        match = FORTRAN_EXPONENT.match(word)
        if match is None:
            raise
        return float(match[1] + b"e" + match[2])


@njit(cache=True, nogil=True)
def _parse_chunk(  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    whole, start, out, words
):
    # A view without an owner: numba counts references to an array at each call, which made the whole five times slower.
    text = carray(_pointer(whole.ctypes.data), whole.size, np.uint8)
    # Unsigned positions: a signed index costs a check for counting from the end at every byte.
    end = np.uint64(text.size)
    i = np.uint64(start)
    n_words = 0
    for n in range(out.size):
        while i < end and text[i] <= BLANK:
            i += ONE
        if i == end:
            return n, n_words, np.int64(i)
        begin = i
        negative = text[i] == MINUS
        if negative or text[i] == PLUS:
            i += ONE
        first = i
        mantissa, i = _digits(text, i, end, ZERO)
        digits = i - first
        exponent = 0
        if i < end and text[i] == POINT:
            first = i + ONE
            mantissa, i = _digits(text, first, end, mantissa)
            digits += i - first
            exponent -= np.int64(i - first)
        if i < end and (text[i] == SMALL_E or text[i] == LARGE_E):
            i += ONE
            below = i < end and text[i] == MINUS
            if i < end and (below or text[i] == PLUS):
                i += ONE
            first = i
            power, i = _digits(text, i, end, ZERO)
            if i == first or i - first > FOUR:
                digits = ZERO
            exponent += -np.int64(power) if below else np.int64(power)
        whole_word = i == end or text[i] <= BLANK
        # 18 digits cannot overflow 64 bits, so the comparison of the mantissa means what it says
        if whole_word and ZERO < digits <= EIGHTEEN and mantissa <= LARGEST_EXACT and -22 <= exponent <= 22:
            value = _scaled(float(mantissa), exponent)
            out[n] = -value if negative else value
        else:
            while i < end and text[i] > BLANK:
                i += ONE
            words[n_words] = n, np.int64(begin), np.int64(i)
            n_words += 1
    return out.size, n_words, np.int64(i)


@njit(nogil=True)
def _digits(text, i, end, number):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    """A whole number with the digits at a byte appended to it, and the byte after the last of them."""
    while i < end:
        digit = np.uint64(text[i]) - ASCII_ZERO  # wraps around to something large below "0"
        if digit > NINE:
            break
        number = number * TEN + digit
        i += ONE
    return number, i


@njit(nogil=True)
def _scaled(number, exponent):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    """A number times a power of ten that a double holds exactly: rounded once."""
    if exponent < 0:
        return number / POWERS_OF_TEN[np.uint64(-exponent)]
    return number * POWERS_OF_TEN[np.uint64(exponent)]


@intrinsic
def _pointer(_typing, address):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    """An address as the pointer that ``carray`` takes."""

    def build(context, builder, _signature, args):  # type: ignore[no-untyped-def]
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(address), build
