"""Text files of atoms: a short header, then a table with one atom a line, millions of lines long."""

from __future__ import annotations

import bz2
import gzip
import lzma
import mmap
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.errors import FormatError
from rhoscale.formats.number_text import parse_numbers

FloatArray = NDArray[np.float64]
Column = Literal["number", "label", "skip"]

LONGEST_LABEL = 8
MOST_LABELS = 256
BUFFER = 1 << 22
NO_COMMENT = 0
_KINDS = {"skip": 0, "number": 1, "label": 2}
_COMPLETE, _TOO_FEW_WORDS, _LABEL_TOO_LONG, _NUMBERS_TOO_LONG = range(4)
OPENERS: dict[str, Callable[[Path], gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}


@dataclass(frozen=True)
class Table:
    """What was read of a table.

    Attributes:
        numbers: The number columns [rows, columns].
        labels: The distinct words of the label column.
        codes: Which of them each row has [rows].
    """

    numbers: FloatArray
    labels: tuple[str, ...]
    codes: NDArray[np.uint8]


class StructureText:
    """A text file, compressed or not, read from its beginning: lines, then tables.

    Attributes:
        file: Path, for messages.
        format: Name of the format, for messages.
        position: Byte that is read next.
        line_number: Lines read so far.
    """

    def __init__(self, path: str | Path, format: str) -> None:  # noqa: A002 - the field's word
        self.file = Path(path)
        self.format = format
        self.position = 0
        self.line_number = 0
        self.bytes: bytes | mmap.mmap = _whole(self.file)
        self._text = np.frombuffer(self.bytes, dtype=np.uint8)

    def line(self, what: str) -> str:
        """The next line, without its end.

        Raises:
            FormatError: The file ends.
        """
        if self.position >= len(self.bytes):
            raise FormatError(
                f"{self.file} ends after line {self.line_number}; expected {what} (read as {self.format}); "
                f"the file is truncated, copy it again"
            )
        end = self.bytes.find(b"\n", self.position)
        end = len(self.bytes) if end < 0 else end
        text = self.bytes[self.position : end].decode("latin-1")
        self.position = end + 1
        self.line_number += 1
        return text.rstrip("\r")

    def only_blanks_follow(self) -> bool:
        """Whether nothing but blanks and line ends is left."""
        return bool(_first_word(self._text, self.position) >= len(self.bytes))

    def skip_lines(self, count: int, what: str) -> None:
        """Go past so many lines.

        Raises:
            FormatError: There are fewer.
        """
        position, found = _after_lines(self._text, self.position, count)
        if found < count:
            raise self._truncated(found, count, what)
        self.position = int(position)
        self.line_number += count

    def table(self, rows: int, columns: Sequence[Column], what: str, *, comment: str = "") -> Table:
        """Read the first words of each of the next lines; further words on a line are left out.

        Args:
            rows: Lines.
            columns: What the words are; at most one is a label.
            what: Name of the rows, for messages.
            comment: Character that ends a line early, or none.

        Raises:
            FormatError: Too few lines or words, or a word that should be a finite number and is none.
        """
        kinds = np.array([_KINDS[c] for c in columns], dtype=np.uint8)
        n_numbers, first_line = sum(c == "number" for c in columns), self.line_number + 1
        most = (len(self.bytes) - self.position) // 2 + 1  # a row takes a character and a line end, or more
        if rows > most:
            raise self._truncated(int(_after_lines(self._text, self.position, rows)[1]), rows, what)
        numbers = np.empty((rows, n_numbers))
        packed = np.zeros(rows, dtype=np.uint64)
        buffer = np.empty(min(BUFFER, len(self.bytes) - self.position + n_numbers + 1), dtype=np.uint8)
        done, byte = 0, ord(comment) if comment else NO_COMMENT
        while done < rows:
            n, used, position, status = _gather(self._text, self.position, kinds, byte, buffer, packed[done:])
            self._parse(buffer[:used], numbers[done : done + n], done, first_line, what)
            done, self.position = done + n, int(position)
            if status != _COMPLETE:
                raise self._bad_row(status, done, rows, len(columns), first_line, what)
        self.line_number += rows
        bad = np.flatnonzero(~np.isfinite(numbers).all(axis=1)) if n_numbers else np.empty(0, dtype=int)
        if bad.size:
            first = first_line + bad[0]
            raise self.error(
                f"{bad.size} of {rows} {what} have values that are not finite numbers (first: line {first})",
                "finite ones",
            )
        return Table(numbers, *self._distinct(packed, what)) if "label" in columns else Table(numbers, (), _no_codes())

    def error(self, wrong: str, expected: str) -> FormatError:
        """The message that the file holds one thing where another was expected."""
        return FormatError(
            f"{self.file}: {wrong}; expected {expected} (read as {self.format}); "
            f"check that the file is whole and of this format"
        )

    def _parse(self, text: NDArray[np.uint8], out: FloatArray, done: int, first_line: int, what: str) -> None:
        values, _, word = parse_numbers(text, 0, out.size)
        if word:
            line = first_line + done + len(values) // out.shape[1]
            raise self.error(f"line {line} of the {what} reads {word[:40].decode('latin-1')!r}", "a number")
        out[:] = values.reshape(out.shape)

    def _bad_row(self, status: int, done: int, rows: int, words: int, first_line: int, what: str) -> FormatError:
        if _first_word(self._text, self.position) >= len(self.bytes):
            return self._truncated(done, rows, what)
        text = self.line(what).strip()[:80]
        line = first_line + done
        if status == _TOO_FEW_WORDS:
            return self.error(f"line {line} reads {text!r}", f"{words} words on each of the {rows} lines of {what}")
        if status == _LABEL_TOO_LONG:
            return self.error(f"line {line} reads {text!r}", f"a name of at most {LONGEST_LABEL} characters")
        return self.error(f"line {line} begins {text!r} and is longer than {BUFFER} characters", "numbers")

    def _truncated(self, found: int, rows: int, what: str) -> FormatError:
        return FormatError(
            f"{self.file} is truncated: {rows} {what} announced, {found} found; write or copy the file again"
        )

    def _distinct(self, packed: NDArray[np.uint64], what: str) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
        known = np.zeros(MOST_LABELS, dtype=np.uint64)
        codes = np.empty(len(packed), dtype=np.uint8)
        count = _encode(packed, known, codes)
        if count < 0:
            raise self.error(f"more than {MOST_LABELS} kinds of {what}", "a few kinds")
        words = [int(word).to_bytes(LONGEST_LABEL, "little").rstrip(b"\0") for word in known[:count]]
        return tuple(word.decode("latin-1") for word in words), codes


def _no_codes() -> NDArray[np.uint8]:
    return np.empty(0, dtype=np.uint8)


def _whole(file: Path) -> bytes | mmap.mmap:
    opener = OPENERS.get(file.suffix.lower())
    if opener is None:
        with file.open("rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        with opener(file) as packed:
            return packed.read()
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise FormatError(
            f"{file} could not be unpacked ({error}); expected a whole {file.suffix} file; copy it again"
        ) from error


def first_bytes(file: Path, count: int) -> bytes:
    """The beginning of a file, unpacked if its name ends in .gz, .bz2 or .xz; empty where that fails."""
    opener = OPENERS.get(file.suffix.lower())
    try:
        with opener(file) if opener else file.open("rb") as stream:
            return stream.read(count)
    except (OSError, EOFError, lzma.LZMAError, zlib.error):
        return b""


@njit(cache=True, nogil=True)
def _first_word(text, start):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    i = start
    while i < text.size and text[i] <= 32:
        i += 1
    return i


@njit(cache=True, nogil=True)
def _after_lines(text, start, count):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    """Byte after ``count`` lines, and how many there were; a last line needs no end."""
    i, found = start, 0
    while found < count and i < text.size:
        while i < text.size and text[i] != 10:
            i += 1
        i += 1
        found += 1
    return min(i, text.size), found


@njit(cache=True, nogil=True)
def _gather(  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    text, start, kinds, comment, buffer, packed
):
    """Copy the number words of each line into ``buffer``, a blank after each, and pack the label into 8 bytes.

    The buffer holds numbers only, so that one parser does for all layouts. Stops when the rows or the buffer are full.
    """
    end, room = np.uint64(text.size), np.uint64(buffer.size)
    line, used, one = np.uint64(start), np.uint64(0), np.uint64(1)
    for row in range(packed.size):
        i, fill = line, used
        for column in range(kinds.size):
            while i < end and text[i] <= 32 and text[i] != 10:
                i += one
            if i == end or text[i] == 10 or text[i] == comment:
                return row, used, line, _TOO_FEW_WORDS
            begin = i
            if kinds[column] == 1:
                while i < end and text[i] > 32 and fill < room:
                    buffer[fill] = text[i]
                    fill += one
                    i += one
                if fill == room:
                    return row, used, line, _COMPLETE if row > 0 else _NUMBERS_TOO_LONG
                buffer[fill] = 32
                fill += one
            elif kinds[column] == 2:
                word, shift = np.uint64(0), np.uint64(0)
                while i < end and text[i] > 32:
                    word |= np.uint64(text[i]) << shift
                    shift += np.uint64(8)
                    i += one
                if i - begin > np.uint64(LONGEST_LABEL):
                    return row, used, line, _LABEL_TOO_LONG
                packed[row] = word
            else:
                while i < end and text[i] > 32:
                    i += one
        while i < end and text[i] != 10:
            i += one
        line, used = min(i + one, end), fill
    return packed.size, used, line, _COMPLETE


@njit(cache=True, nogil=True)
def _encode(packed, known, codes):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    """Number the distinct words in the order of their appearance; -1 if there are too many."""
    count = 0
    for row in range(packed.size):
        code = 0
        while code < count and known[code] != packed[row]:
            code += 1
        if code == count:
            if count == known.size:
                return -1
            known[count] = packed[row]
            count += 1
        codes[row] = code
    return count
