# ruff: noqa: ARG001  (Numba hands code generators more than most of them use)
"""Products of activations and weights, some points times some vectors of neurons at a time, in registers.

    out[p, c] = start[c] + sum_k a[p, k] w[k, c]

Every point is summed on its own and in the same order, so its bits do not depend on which points share a batch with
it: matrix libraries give no such promise. Activations are float32, or bfloat16 kept as uint16, whose pairs the
processor multiplies and adds to float32 (AVX512-BF16).

A block of sums fills the registers of the processor: with AVX-512 those of 6 points and 4 vectors of 16 neurons (12
points where 2 vectors or one are left), with AVX2 those of 6 points and 2 vectors of 8 (:mod:`rhoscale.processor`).
Weights are packed in the same order. A matrix of 8 columns or fewer is folded: even and odd terms of a sum, or pairs of
terms, are summed side by side and left so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from rhoscale.processor import AVX512, REGISTERS, Registers

LANES = 16  # rows of tables are a multiple of it, on any processor
PANEL = 4  # vectors of neurons; times WIDE points: 24 sums, 4 weights and a factor, in 32 registers
WIDE = 6
PAIR = 2  # vectors of neurons where fewer than PANEL are left
NARROW = 12  # points at a time with PAIR vectors or one
HALVES = 2  # vectors of 8 neurons; times WIDE points: 12 sums, 2 weights and a factor, in 16 registers
ROWS = 4  # of a matrix to be folded are a multiple of it: pairs of bfloat16, folded
FOLD = 2  # sums side by side of each of the columns of a folded matrix

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INT32 = ir.IntType(32)
_INT64 = ir.IntType(64)
_EXACT = ("contract", "nsz")


class BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not name."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)

    def _to_string(self) -> str:
        return "bfloat"


_PAIRS = ir.VectorType(BFloat(), 2 * LANES)


@cache
def has_bfloat16() -> bool:
    """Whether this processor multiplies pairs of bfloat16."""
    return bool(binding.get_host_cpu_features().get("avx512bf16", False))


def _repeated(builder: Any, place: Any, count: int, lanes: int) -> Any:
    """``count`` numbers from memory, again and again in the lanes of a vector."""
    few = builder.load(builder.bitcast(place, ir.VectorType(place.type.pointee, count).as_pointer()), align=4)
    order = ir.Constant(ir.VectorType(_INT32, lanes), [lane % count for lane in range(lanes)])
    return builder.shuffle_vector(few, ir.Constant(few.type, ir.Undefined), order)


def _declared(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    return builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def _add_pair_products(builder: Any, total: Any, factor: Any, weights: Any) -> Any:
    function = _declared(builder, "llvm.x86.avx512bf16.dpbf16ps.512", _VECTOR, [_VECTOR, _PAIRS, _PAIRS])
    a, b = (builder.bitcast(v, _PAIRS) for v in (factor, weights))
    return builder.call(function, [total, a, b])


def _add_products(builder: Any, total: Any, factor: Any, weights: Any) -> Any:
    return builder.fadd(total, builder.fmul(factor, weights, flags=_EXACT), flags=_EXACT)


def _place(builder: Any, base: Any, index: Any, kind: Any) -> Any:
    """Where values of the given kind begin, ``index`` numbers after ``base``."""
    return builder.bitcast(builder.gep(base, [index]), kind.as_pointer())


def _long(value: int) -> Any:
    return ir.Constant(_INT64, value)


def _term(
    builder: Any, pairs: bool, fold: int, k: Any, rows: list[Any], a: Any, w: Any, totals: list[Any]
) -> list[Any]:
    """Add term ``k`` to every sum: a row's factor, or ``fold`` of them in turns, times each vector of weights."""
    lanes = totals[0].type.count
    loaded = ir.VectorType(_INT32, lanes) if pairs else totals[0].type
    add = _add_pair_products if pairs else _add_products
    vectors = len(totals) // len(rows)
    begin, first = builder.mul(k, _long(fold)), builder.mul(k, _long(vectors * lanes))
    weights = [
        builder.load(_place(builder, w, builder.add(first, _long(v * lanes)), loaded), align=4) for v in range(vectors)
    ]
    sums = []
    for p, row in enumerate(rows):
        factor = _repeated(builder, builder.gep(a, [builder.add(row, begin)]), fold, lanes)
        sums += [add(builder, totals[p * vectors + v], factor, weights[v]) for v in range(vectors)]
    return sums


def _loop(
    builder: Any, pairs: bool, fold: int, steps: Any, rows: list[Any], a: Any, w: Any, starts: list[Any]
) -> list[Any]:
    """All terms of every sum, which stay in registers."""
    before, body, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
    builder.branch(body)
    builder.position_at_end(body)
    k = builder.phi(_INT64)
    k.add_incoming(_long(0), before)
    totals = [builder.phi(start.type) for start in starts]
    for total, start in zip(totals, starts, strict=True):
        total.add_incoming(start, before)
    sums = _term(builder, pairs, fold, k, rows, a, w, totals)
    following = builder.add(k, _long(1))
    k.add_incoming(following, body)
    for total, value in zip(totals, sums, strict=True):
        total.add_incoming(value, body)
    builder.cbranch(builder.icmp_unsigned("<", following, steps), body, after)
    builder.position_at_end(after)
    return sums


def _tile(points: int, vectors: int, lanes: int, fold: int = 1) -> Callable[..., Any]:
    """Make a Numba function for so many rows and ``vectors`` times ``lanes`` columns, folded or not."""
    vector = ir.VectorType(ir.FloatType(), lanes)

    def multiply(
        typingctx: Any, a: Any, at: Any, stride: Any, steps: Any, w: Any, w_at: Any, start: Any, s_at: Any,
        out: Any, o_at: Any, o_stride: Any,
    ) -> Any:  # fmt: skip
        pairs = a.dtype == types.uint16

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            data = [context.make_array(sig.args[i])(context, builder, args[i]).data for i in (0, 4, 6, 8)]
            element = _INT32 if pairs else ir.FloatType()
            a_base = _place(builder, data[0], args[1], element)
            w_base = _place(builder, data[1], args[5], element)
            stride = builder.udiv(args[2], _long(2)) if pairs else args[2]
            rows = [builder.mul(stride, _long(p)) for p in range(points)]
            starts = [
                builder.load(_place(builder, data[2], builder.add(args[7], _long(v * lanes)), vector), align=4)
                for v in range(vectors)
            ]
            for i, value in enumerate(_loop(builder, pairs, fold, args[3], rows, a_base, w_base, starts * points)):
                line = builder.add(args[9], builder.mul(args[10], _long(i // vectors)))
                place = _place(builder, data[3], builder.add(line, _long(i % vectors * lanes)), vector)
                builder.store(value, place, align=4)
            return context.get_dummy_value()

        i = types.intp
        return types.void(a, i, i, i, w, i, start, i, out, i, i), codegen

    return intrinsic(multiply)


_wide = _tile(WIDE, PANEL, LANES)
_pair = _tile(NARROW, PAIR, LANES)
_narrow = _tile(NARROW, 1, LANES)
_halves = _tile(WIDE, HALVES, LANES // HALVES)
_folded = _tile(NARROW, 1, LANES, FOLD)
_folded_halves = _tile(WIDE, HALVES, LANES // HALVES, FOLD)


class Matrices(NamedTuple):
    """Packed matrices one after the other.

    Attributes:
        weights: Of all, flat; float32, or bfloat16 as uint16.
        places: Where each begins in ``weights``.
        inner: Their rows, padded; half as many in folded ones.
        lengths: From one row of activations to the next, numbers.
        columns: Their columns, padded to a multiple of LANES.
        starts: What the sums start from, float32, flat.
        start_places: Where those of each matrix begin in ``starts``.
    """

    weights: NDArray[np.generic]
    places: NDArray[np.int64]
    inner: NDArray[np.int64]
    lengths: NDArray[np.int64]
    columns: NDArray[np.int64]
    starts: NDArray[np.float32]
    start_places: NDArray[np.int64]


@njit(nogil=True, cache=True)
def multiply_avx512(a, at, points, matrices, m, out):  # type: ignore[no-untyped-def]
    """Write the product of the first ``points`` rows, rounded up to NARROW, with matrix ``m``.

    Args:
        a: Activations, flat, rows of ``matrices.lengths[m]``; of the same kind of numbers as the weights.
        at: Where their first row begins in ``a``.
        points: Rows that matter; ``a`` and ``out`` hold a multiple of NARROW.
        matrices: From :func:`pack`, for the same registers.
        m: Which of them.
        out: Result, flat, a row as long as the matrix has padded columns, float32.
    """
    inner, columns, w, s = matrices.inner[m], matrices.columns[m], matrices.places[m], matrices.start_places[m]
    length = matrices.lengths[m]
    steps = inner // 2 if a.itemsize == 2 else inner
    wide = columns // (PANEL * LANES) * (PANEL * LANES)
    for c in range(0, wide, PANEL * LANES):
        for p in range(0, points, WIDE):
            _wide(
                a, at + p * length, length, steps, matrices.weights, w + c * inner, matrices.starts, s + c,
                out, p * columns + c, columns,
            )  # fmt: skip
    paired = wide + (columns - wide) // (PAIR * LANES) * (PAIR * LANES)
    for c in range(wide, paired, PAIR * LANES):
        for p in range(0, points, NARROW):
            _pair(
                a, at + p * length, length, steps, matrices.weights, w + c * inner, matrices.starts, s + c,
                out, p * columns + c, columns,
            )  # fmt: skip
    for c in range(paired, columns, LANES):
        for p in range(0, points, NARROW):
            _narrow(
                a, at + p * length, length, steps, matrices.weights, w + c * inner, matrices.starts, s + c,
                out, p * columns + c, columns,
            )  # fmt: skip


@njit(nogil=True, cache=True)
def multiply_avx2(a, at, points, matrices, m, out):  # type: ignore[no-untyped-def]
    """:func:`multiply_avx512` for registers half as wide and half as many."""
    inner, columns, w, s = matrices.inner[m], matrices.columns[m], matrices.places[m], matrices.start_places[m]
    length = matrices.lengths[m]
    for c in range(0, columns, LANES):
        for p in range(0, points, WIDE):
            _halves(
                a, at + p * length, length, inner, matrices.weights, w + c * inner, matrices.starts, s + c,
                out, p * columns + c, columns,
            )  # fmt: skip


@njit(nogil=True, cache=True)
def multiply_folded_avx512(a, at, points, matrices, m, out):  # type: ignore[no-untyped-def]
    """:func:`multiply_avx512` with a folded matrix: ``out`` has FOLD parts of each sum side by side, LANES a row."""
    inner, length = matrices.inner[m], matrices.lengths[m]
    steps = inner // 2 if a.itemsize == 2 else inner
    for p in range(0, points, NARROW):
        _folded(
            a, at + p * length, length, steps, matrices.weights, matrices.places[m], matrices.starts,
            matrices.start_places[m], out, p * LANES, LANES,
        )  # fmt: skip


@njit(nogil=True, cache=True)
def multiply_folded_avx2(a, at, points, matrices, m, out):  # type: ignore[no-untyped-def]
    """:func:`multiply_folded_avx512` for registers half as wide and half as many."""
    inner, length = matrices.inner[m], matrices.lengths[m]
    for p in range(0, points, WIDE):
        _folded_halves(
            a, at + p * length, length, inner, matrices.weights, matrices.places[m], matrices.starts,
            matrices.start_places[m], out, p * LANES, LANES,
        )  # fmt: skip


multiply, multiply_folded = (
    (multiply_avx512, multiply_folded_avx512) if REGISTERS == AVX512 else (multiply_avx2, multiply_folded_avx2)
)


def padded(size: int, multiple: int) -> int:
    """The size rounded up."""
    return -(-size // multiple) * multiple


def pack(
    matrices: Sequence[tuple[NDArray[np.floating], NDArray[np.floating]]],
    *,
    bfloat16: bool,
    lengths: Sequence[int] | None = None,
    registers: Registers = REGISTERS,
) -> Matrices:
    """Order matrices [inner, columns] with their starts [columns] for :func:`multiply`, padded with zeros.

    Rows of activations are as long as a column of their matrix, padded to an even number, if ``lengths`` does not say
    otherwise.
    """
    whole = [_padded_with_zeros(weights, 2) for weights, _ in matrices]
    columns = [weights.shape[1] for weights in whole]
    starts = [np.pad(start, (0, c - len(start))) for (_, start), c in zip(matrices, columns, strict=True)]
    panels = (PANEL * LANES, PAIR * LANES, LANES) if bfloat16 or registers == AVX512 else (LANES,)
    packed = [_pack(weights, panels, bfloat16) for weights in whole]
    inner = np.array([len(weights) for weights in whole])
    return Matrices(
        weights=np.concatenate(packed),
        places=np.cumsum([0, *(len(p) for p in packed)])[:-1],
        inner=inner,
        lengths=inner if lengths is None else np.array(lengths),
        columns=np.array(columns),
        starts=np.concatenate(starts).astype(np.float32),
        start_places=np.cumsum([0, *columns])[:-1],
    )


def fold(weights: NDArray[np.floating], *, bfloat16: bool) -> NDArray[np.float32]:
    """A matrix [inner, at most LANES / FOLD] as :func:`multiply_folded` reads it, [inner / FOLD, LANES]."""
    width, unit = LANES // FOLD, 2 if bfloat16 else 1  # terms that are multiplied together
    whole = _padded_with_zeros(weights, ROWS)[:, :width].reshape(-1, FOLD, unit, width)
    return np.ascontiguousarray(whole.transpose(0, 2, 3, 1)).reshape(-1, LANES)


def _padded_with_zeros(weights: NDArray[np.floating], rows: int) -> NDArray[np.float32]:
    inner, columns = weights.shape
    whole = np.zeros((padded(inner, rows), padded(columns, LANES)), dtype=np.float32)
    whole[:inner, :columns] = weights
    return whole


def _pack(weights: NDArray[np.float32], panels: Sequence[int], bfloat16: bool) -> NDArray[np.generic]:
    """Panels of columns one after the other, in each the rows, or pairs of rows, in the order of the loop."""
    inner, columns = weights.shape
    ends = [0]
    for panel in panels:
        ends += range(ends[-1] + panel, columns + 1, panel)
    cut = np.split(weights, ends[1:-1], axis=1)
    if not bfloat16:
        return np.concatenate([np.ascontiguousarray(panel).reshape(-1) for panel in cut])
    pairs = [panel.reshape(inner // 2, 2, panel.shape[1]).transpose(0, 2, 1).reshape(-1) for panel in cut]
    return to_bfloat16(np.concatenate(pairs))


def to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round float32 to bfloat16, ties to even, kept as uint16."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)
