"""Products of activations and weights: the sums of the matrices, in blocks for any registers, folded or not."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rhoscale.models.inference import has_bfloat16
from rhoscale.models.inference.product import (
    FOLD,
    LANES,
    NARROW,
    ROWS,
    WIDE,
    fold,
    multiply,
    multiply_avx2,
    multiply_avx512,
    multiply_folded,
    multiply_folded_avx2,
    multiply_folded_avx512,
    pack,
    padded,
    to_bfloat16,
)
from rhoscale.processor import AVX2, AVX512, REGISTERS, registers


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


@settings(max_examples=30, deadline=None)
@given(
    inner=st.integers(1, 70),
    columns=st.integers(1, 150),
    points=st.integers(1, 40),
    low=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_product_is_that_of_the_matrices(inner: int, columns: int, points: int, low: bool, seed: int) -> None:
    low = low and has_bfloat16()
    rng = np.random.default_rng(seed)
    w, start = rng.normal(size=(inner, columns)).astype(np.float32), rng.normal(size=columns).astype(np.float32)
    rows = np.zeros((padded(points, NARROW), padded(inner, 2)), dtype=np.float32)
    rows[:points, :inner] = rng.normal(size=(points, inner))
    matrices = pack([(np.ones((3, 5)), np.ones(5)), (w, start)], bfloat16=low)
    out = np.empty((len(rows), padded(columns, 16)), dtype=np.float32)
    given_rows = to_bfloat16(rows) if low else rows
    multiply(given_rows.reshape(-1), 0, points, matrices, 1, out.reshape(-1))
    a, b = (from_bfloat16(to_bfloat16(x)) if low else x for x in (rows, w))
    expected = a[:points, :inner].astype(np.float64) @ b + start
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(out[:points, :columns], expected, atol=1e-5 * inner**0.5)
    assert (out[:points, columns:] == 0).all()


@settings(max_examples=20, deadline=None)
@given(inner=st.integers(1, 90), columns=st.integers(1, 150), points=st.integers(1, 40), seed=st.integers(0, 99))
def test_blocks_for_other_registers_give_the_same_bits(inner: int, columns: int, points: int, seed: int) -> None:
    """Every sum runs over the same terms in the same order."""
    rng = np.random.default_rng(seed)
    w, start = rng.normal(size=(inner, columns)), rng.normal(size=columns)
    rows = rng.normal(size=(padded(points, NARROW), padded(inner, 2))).astype(np.float32)
    found = []
    for kernel, kind in ((multiply_avx512, AVX512), (multiply_avx2, AVX2)):
        matrices = pack([(np.ones((3, 5)), np.ones(5)), (w, start)], bfloat16=False, registers=kind)
        out = np.zeros((len(rows), padded(columns, 16)), dtype=np.float32)
        kernel(rows.reshape(-1), 0, points, matrices, 1, out.reshape(-1))
        found.append(out[:points])
    assert np.abs(found[0]).max() > 0
    np.testing.assert_array_equal(found[0], found[1])


@settings(max_examples=30, deadline=None)
@given(
    inner=st.integers(1, 90),
    columns=st.integers(1, LANES // FOLD),
    points=st.integers(1, 40),
    low=st.booleans(),
    seed=st.integers(0, 99),
)
def test_parts_of_a_folded_product_add_up_to_it(inner: int, columns: int, points: int, low: bool, seed: int) -> None:
    low = low and has_bfloat16()
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(inner, columns)).astype(np.float32)
    beside = np.full((padded(points, NARROW) + 1, padded(inner, ROWS)), np.nan, dtype=np.float32)
    rows = beside[:-1]  # nothing is read of what follows
    rows[:] = 0
    rows[:points, :inner] = rng.normal(size=(points, inner))
    given_rows = to_bfloat16(beside)[:-1] if low else rows
    kernels = [(multiply_folded, REGISTERS)]
    kernels += [] if low else [(multiply_folded_avx2, AVX2), (multiply_folded_avx512, AVX512)]
    found = []
    for kernel, kind in kernels:
        folded = [(fold(matrix, bfloat16=low), np.zeros(1)) for matrix in (np.ones((3, 5)), w)]
        matrices = pack(folded, bfloat16=low, lengths=[ROWS, rows.shape[1]], registers=kind)
        out = np.full((len(rows), LANES), np.nan, dtype=np.float32)
        kernel(given_rows.reshape(-1), 0, points, matrices, 1, out.reshape(-1))
        assert not np.isnan(out[: padded(points, WIDE)]).any()
        found.append(out[:points])
    a, b = (from_bfloat16(to_bfloat16(x)) if low else x for x in (rows, w))
    expected = a[:points, :inner].astype(np.float64) @ b
    assert np.abs(expected).max() > 0
    sums = found[0].reshape(points, -1, FOLD).sum(axis=2)
    np.testing.assert_allclose(sums[:, :columns], expected, atol=1e-5 * inner**0.5)
    assert (sums[:, columns:] == 0).all()
    assert all((other == found[0]).all() for other in found[1:])


def test_blocks_are_chosen_by_the_registers_of_the_processor() -> None:
    assert registers({"avx2": True, "fma": True}) == AVX2
    assert registers({"avx2": True, "avx512f": True, "avx512bf16": False}) == AVX512
    assert registers({"avx512f": False}) == registers({}) == AVX2
    assert multiply is (multiply_avx512 if REGISTERS == AVX512 else multiply_avx2)
    assert multiply_folded is (multiply_folded_avx512 if REGISTERS == AVX512 else multiply_folded_avx2)
    assert REGISTERS == AVX512 or not has_bfloat16()


@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_bfloat16_is_the_nearest_of_its_kind_ties_to_even(value: float) -> None:
    ours = from_bfloat16(to_bfloat16(np.array([value], dtype=np.float32)))[0]
    assert ours == torch.tensor([value]).bfloat16().float()[0].item()
