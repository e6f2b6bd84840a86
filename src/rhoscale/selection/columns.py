"""The features of a small specification as columns of a larger one's, so that points are described once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rhoscale.descriptors import DescriptorSpec, ScalarProducts, Smooth
from rhoscale.descriptors.smooth import AngularSet, RadialSet
from rhoscale.errors import InputError

Columns = NDArray[np.int64]


def columns_within(small: DescriptorSpec, large: DescriptorSpec) -> Columns:
    """Find the columns [small.size] of a larger descriptor that are a smaller one's features, in its order.

    Sorted distances and cosines of fewer atoms are the first of those of more, ties included; radial functions of one
    cutoff do not depend on how many of them there are. The kernels give them equal within the rounding of float32.

    Raises:
        InputError: The larger specification does not hold the smaller.
    """
    if small.elements == large.elements:
        if isinstance(small, ScalarProducts) and isinstance(large, ScalarProducts):
            return _scalar_products(small, large)
        if isinstance(small, Smooth) and isinstance(large, Smooth) and small.softening == large.softening:
            return _smooth(small, large)
    raise _not_held(small, large)


def _scalar_products(small: ScalarProducts, large: ScalarProducts) -> Columns:
    neighbours = small.neighbours if small.angle_atoms else 0
    if small.distances > large.distances or small.angle_atoms > large.angle_atoms or (neighbours > large.neighbours):
        raise _not_held(small, large)
    block = np.arange(small.angle_atoms)[:, None] * large.neighbours + np.arange(neighbours)
    columns = np.empty(small.size, dtype=np.int64)
    for kind in range(len(small.elements)):
        start = small.distance_column(kind)
        columns[start : start + small.distances] = large.distance_column(kind) + np.arange(small.distances)
    for pair in range(len(small.pairs)):
        start = small.cosine_column(pair)
        columns[start : start + small.cosines] = large.cosine_column(pair) + block.ravel()
    return columns


def _smooth(small: Smooth, large: Smooth) -> Columns:
    kinds = len(small.elements)
    parts: list[Columns] = []
    starts = _starts([s.count for s in large.radial], kinds, 0)
    for one in small.radial:
        i = _radial_home(one, small, large)
        parts += [starts[i] + e * large.radial[i].count + np.arange(one.count) for e in range(kinds)]
    starts = _starts([s.size for s in large.angular], kinds, large.two_body_size)
    for group in small.angular:
        i = _angular_home(group, small, large)
        inside = _spectrum_columns(group.counts, large.angular[i].counts)
        parts += [starts[i] + e * large.angular[i].size + inside for e in range(kinds)]
    return np.concatenate(parts)


def _starts(sizes: Sequence[int], kinds: int, first: int) -> Columns:
    return first + np.concatenate([[0], np.cumsum(kinds * np.asarray(sizes, dtype=np.int64))])


def _radial_home(one: RadialSet, small: Smooth, large: Smooth) -> int:
    for i, home in enumerate(large.radial):
        if home.cutoff == one.cutoff and home.count >= one.count:
            return i
    raise _not_held(small, large)


def _angular_home(one: AngularSet, small: Smooth, large: Smooth) -> int:
    for i, home in enumerate(large.angular):
        enough = len(home.counts) >= len(one.counts) and all(
            have >= want for have, want in zip(home.counts, one.counts, strict=False)
        )
        if home.cutoff == one.cutoff and enough:
            return i
    raise _not_held(small, large)


def _spectrum_columns(counts: Sequence[int], home: Sequence[int]) -> Columns:
    """Places of p_nn'l, n <= n' < counts[l], within the power spectrum of larger counts."""
    columns, start = [], 0
    for wanted, held in zip(counts, home, strict=False):
        _, second = np.triu_indices(held)
        columns.append(start + np.flatnonzero(second < wanted))
        start += len(second)
    return np.concatenate(columns).astype(np.int64)


def _not_held(small: DescriptorSpec, large: DescriptorSpec) -> InputError:
    return InputError(
        f"the features of {small} are not among those of {large}; expected the same family and elements, and at least "
        f"as many of everything; describe the points with a larger descriptor"
    )
