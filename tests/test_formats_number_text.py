"""Text to numbers: the same doubles as Python's ``float``, however they are written."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhoscale.formats.number_text import CHUNK, parse_numbers
from rhoscale.formats.text_volume import write_numbers

FINITE = st.floats(allow_nan=False, allow_infinity=False)
STYLES = st.sampled_from(["%.17e", "%r", "%.5E", "%.10f", "%g", "%+.3e", "%.0f"])
BLANKS = st.sampled_from([" ", "\n", "  ", "\t", "\r\n", " \n\n "])


def parse(text: bytes, count: int, start: int = 0) -> tuple[np.ndarray, int, bytes]:
    return parse_numbers(np.frombuffer(text, dtype=np.uint8), start, count)


@settings(deadline=None)
@given(st.lists(st.tuples(FINITE, STYLES, BLANKS), min_size=1))
def test_every_number_is_the_double_that_float_gives(numbers: list[tuple[float, str, str]]) -> None:
    words = [style % value for value, style, _ in numbers]
    text = "".join(word + blank for word, (_, _, blank) in zip(words, numbers, strict=True))
    values, end, word = parse(text.encode(), len(words))
    assert word == b""
    assert values.tobytes() == np.array([float(word) for word in words]).tobytes()
    assert text[end:].strip() == ""


@settings(deadline=None)
@given(st.integers(0, 10**20), st.integers(-40, 40), st.integers(0, 20))
def test_digits_at_the_edge_of_exactness_are_rounded_once(mantissa: int, power: int, decimals: int) -> None:
    digits = str(mantissa).rjust(decimals + 1, "0")
    text = f"{digits[: len(digits) - decimals]}.{digits[len(digits) - decimals :]}E{power}"
    assert parse(text.encode(), 1)[0][0] == float(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"0.12345-100", 0.12345e-100),  # Fortran drops the letter where the exponent has three digits
        (b"-1.5+102", -1.5e102),
        (b"1.25D-03", 1.25e-3),
        (b"2.5d+02", 250.0),
        (b".5", 0.5),
        (b"5.", 5.0),
        (b"-0.0", -0.0),
    ],
)
def test_what_fortran_writes_is_read(text: bytes, value: float) -> None:
    values, _, word = parse(text, 1)
    assert word == b""
    assert values.tobytes() == np.array([value]).tobytes()


@pytest.mark.parametrize("bad", [b"**********", b"1.2.3", b"--1", b"1E", b"E5", b".", b"+", b"END_DATAGRID_3D", b"1,5"])
def test_a_word_that_is_no_number_stops_the_reading_where_it_stands(bad: bytes) -> None:
    text = b"1.5 -2.5E+01\n " + bad + b" 7.0"
    values, position, word = parse(text, 4)
    assert values.tolist() == [1.5, -25.0]
    assert word == bad
    assert text[position:].startswith(bad)


def test_reading_goes_on_where_it_stopped_and_over_the_end_of_a_chunk() -> None:
    numbers = np.random.default_rng(1).normal(size=2 * CHUNK + 17) * 1e-3
    numbers[::1000] = np.pi * 1e-30  # too many digits to be exact at once
    file = io.BytesIO()
    write_numbers(file, numbers, " %.16e", 5)
    first, position, _ = parse(file.getvalue(), CHUNK + 5)
    second, _, _ = parse(file.getvalue(), CHUNK + 100, position)
    assert first.tobytes() == numbers[: CHUNK + 5].tobytes()
    assert second.tobytes() == numbers[CHUNK + 5 :].tobytes()  # only as many as there are


@pytest.mark.parametrize(
    ("run", "lines"), [(None, [6, 6, 6, 2]), (10, [6, 4, 6, 4]), (6, [6, 6, 6, 2]), (7, [6, 1, 6, 1, 6])]
)
def test_lines_hold_so_many_numbers_and_runs_begin_on_new_ones(run: int | None, lines: list[int]) -> None:
    file = io.BytesIO()
    write_numbers(file, np.arange(20.0), " %.1f", 6, run=run)
    rows = [line.split() for line in file.getvalue().decode().splitlines()]
    assert [len(row) for row in rows] == lines
    assert [float(word) for row in rows for word in row] == list(range(20))
