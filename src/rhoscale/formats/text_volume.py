"""Text files that hold a header and a volume of numbers."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import FormatError, StructureError
from rhoscale.formats.number_text import parse_numbers, parse_word
from rhoscale.grid import Shape
from rhoscale.system import System

FloatArray = NDArray[np.float64]

LONGEST_LINE = 4096
WRITTEN_AT_ONCE = 1 << 16


class TextVolume:
    """A text file read from its beginning: lines first, then numbers.

    Attributes:
        file: Path, for messages.
        format: Name of the format, for messages.
        line_number: Lines read so far.
    """

    def __init__(self, path: str | Path, format: str) -> None:  # noqa: A002 - the field's word
        self.file = Path(path)
        self.format = format
        self.line_number = 0
        if not self.file.is_file():
            raise FormatError(f"no file {self.file}; expected a {format} file; check the path")
        if self.file.stat().st_size == 0:
            raise FormatError(f"{self.file} is empty; expected a {format} file; write or copy it again")
        with self.file.open("rb") as stream:
            self._bytes = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._text = np.frombuffer(self._bytes, dtype=np.uint8)
        self._position = 0

    def line(self, what: str) -> str:
        """The next line, without its end.

        Raises:
            FormatError: The file ends, or a line is too long to be one of a header.
        """
        if self._position >= len(self._bytes):
            raise FormatError(
                f"{self.file} ends after line {self.line_number}; expected {what} of a {self.format} file; "
                f"the file is truncated, copy it again"
            )
        end = self._bytes.find(b"\n", self._position, self._position + LONGEST_LINE)
        if end < 0:
            end = len(self._bytes)
            if end - self._position > LONGEST_LINE:
                raise self.error(f"line {self.line_number + 1} is longer than {LONGEST_LINE} bytes", what)
        text = self._bytes[self._position : end].decode("latin-1")
        self._position = end + 1
        self.line_number += 1
        return text.rstrip("\r")

    def fields(self, what: str, integers: int, numbers: int) -> tuple[list[int], list[float], list[str]]:
        """Split the next line into so many integers, then so many numbers, and the words left over.

        Raises:
            FormatError: The line holds something else.
        """
        text = self.line(what)
        words = text.split()
        try:
            head = [int(word) for word in words[:integers]]
            tail = [parse_word(word.encode()) for word in words[integers : integers + numbers]]
        except ValueError:
            head, tail = [], []
        if (len(head), len(tail)) != (integers, numbers) or not all(map(math.isfinite, tail)):
            raise self.error(f"line {self.line_number} reads {text.strip()!r}", what)
        return head, tail, words[integers + numbers :]

    def volume(self, shape: Shape, what: str) -> FloatArray:
        """The next nx * ny * nz numbers as they come, one-dimensional.

        Raises:
            FormatError: Fewer numbers, a word that is none, or values that are not finite.
        """
        count = int(np.prod(shape))
        per_axis = " x ".join(str(n) for n in shape)
        room = len(self._bytes) - self._position  # a number and its blank take two bytes or more
        values, self._position, word = parse_numbers(self._text, self._position, min(count, room // 2 + 1))
        if word:
            raise self.error(f"value {len(values) + 1} of {what} reads {word[:40].decode('latin-1')!r}", "a number")
        if len(values) < count:
            raise FormatError(
                f"{self.file} is truncated: {what} of {per_axis} points has {count} values, {len(values)} found; "
                f"write or copy the file again"
            )
        if not np.isfinite(values.sum()):
            bad = int(np.count_nonzero(~np.isfinite(values)))
            raise self.error(f"{bad} of {count} values of {what} are not finite", "finite numbers")
        return values

    def rest_contains(self, text: str) -> bool:
        """Whether the part not read yet contains the text."""
        return self._bytes.find(text.encode(), self._position) >= 0

    def more_numbers(self) -> bool:
        """Whether another number follows."""
        values, _, _ = parse_numbers(self._text, self._position, 1)
        return len(values) > 0

    def error(self, wrong: str, expected: str) -> FormatError:
        """The message that the file holds one thing where another was expected."""
        return FormatError(
            f"{self.file}: {wrong}; expected {expected} of a {self.format} file; "
            f"check that the file is whole and of this format"
        )


def third_axis_fastest(volume: FloatArray) -> FloatArray:
    """Turn an array [nz, ny, nx] into one [nx, ny, nz], contiguous."""
    turned = np.empty(volume.shape[::-1])
    for j in range(volume.shape[1]):  # plane by plane, which stays in the cache
        turned[:, j, :] = volume[:, j, :].T
    return turned


def system_of_file(
    file: Path, cell: FloatArray, positions: FloatArray, species: Sequence[str] | NDArray[np.str_]
) -> System:
    """Build the structure that a file describes (Bohr).

    Raises:
        FormatError: It is not a usable cell with atoms.
    """
    try:
        return System(cell, np.asarray(positions, dtype=np.float64).reshape(-1, 3), np.asarray(species, dtype="U2"))
    except StructureError as error:
        raise FormatError(f"{file}: {error}") from error


def write_numbers(
    file: BinaryIO, values: NDArray[np.floating], number: str, per_line: int, run: int | None = None
) -> None:
    """Write numbers (flat), ``per_line`` a line; each run of so many starts on a new line.

    Args:
        file: Where to.
        values: Flat array.
        number: Format of one, blank included, for example ``" %12.5E"``.
        per_line: Numbers on a line.
        run: Numbers after which a line ends early, or None.
    """
    length = per_line if run is None else run
    together = max(1, WRITTEN_AT_ONCE // length) * length
    line = number * per_line + "\n"
    full_run = line * (length // per_line) + (number * (length % per_line) + "\n" if length % per_line else "")
    for start in range(0, values.size, together):
        block = values[start : start + together].tolist()
        runs, left = divmod(len(block), length)
        template = full_run * runs + (number * left + "\n" if left else "")
        file.write((template % tuple(block)).encode("ascii"))
