"""Features of a smaller descriptor are columns of those of a larger that holds it."""

from __future__ import annotations

import numpy as np
import pytest

from rhoscale.descriptors import ScalarProducts, Smooth, describe
from rhoscale.descriptors.scalar_products.reference import describe_reference
from rhoscale.descriptors.smooth import AngularSet, RadialSet, describe_by_definition
from rhoscale.errors import InputError
from rhoscale.selection import SmoothAxes, columns_within
from rhoscale.system import System
from toy_model import thermal_aluminium

AL = ("Al",)
PERFECT, THERMAL = thermal_aluminium(0, amplitude=1e-30), thermal_aluminium(1, amplitude=0.3)
ALLOY = System(THERMAL.cell, thermal_aluminium(2, amplitude=0.3).positions, ["Ge", "Si", "Si", "Ge"])
ON_LATTICE = np.array([[0.1, 0.2, 0.3], [1.9125, 1.9125, 1.9125], [3.825, 0.0, 0.0], [2.0, 2.0, 0.5]])
SMALL_AND_LARGE = [(20, 5, 2), (12, 0, 1), (30, 10, 1), (13, 7, 4)]


@pytest.mark.parametrize("system", [PERFECT, THERMAL, ALLOY], ids=["perfect", "thermal", "alloy"])
def test_features_of_fewer_atoms_are_columns_of_those_of_more(system: System) -> None:
    large = ScalarProducts(system.elements, 30, 10, 4)
    by_definition = describe_reference(ON_LATTICE, system, large)
    thermal = np.random.default_rng(0).random((300, 3)) * 7.65
    points = np.concatenate([ON_LATTICE, thermal])
    by_kernel = describe(points, system, large)
    assert np.ptp(by_definition, axis=0).max() > 0.5
    for numbers in SMALL_AND_LARGE:
        small = ScalarProducts(system.elements, *numbers)
        columns = columns_within(small, large)
        assert len(set(columns)) == len(columns) == small.size
        np.testing.assert_array_equal(by_definition[:, columns], describe_reference(ON_LATTICE, system, small))
        np.testing.assert_allclose(by_kernel[:, columns], describe(points, system, small), atol=3e-6, rtol=0)


@pytest.mark.parametrize("system", [THERMAL, ALLOY], ids=["one element", "alloy"])
def test_smooth_features_of_fewer_functions_are_columns_of_those_of_more(system: System) -> None:
    large = SmoothAxes((4, 6), (6.0, 8.0), (0, 5), (4.0, 6.0), (0, 2, 3), 2, (5.0, 6.0)).largest(system.elements)
    points = np.random.default_rng(0).random((3, 3)) * 7.65
    many = np.random.default_rng(1).random((300, 3)) * 7.65
    by_definition, by_kernel = describe_by_definition(points, system, large), describe(many, system, large)
    for radial, angular in (
        ((RadialSet(4, 8.0),), ()),
        ((RadialSet(6, 6.0), RadialSet(3, 4.0)), (AngularSet((2, 0, 3), 6.0),)),
        ((RadialSet(5, 8.0), RadialSet(5, 6.0)), (AngularSet((3,), 5.0),)),
    ):
        small = Smooth(system.elements, radial, angular)
        columns = columns_within(small, large)
        assert len(set(columns)) == len(columns) == small.size
        features = describe(many, system, small)
        np.testing.assert_allclose(
            by_definition[:, columns], describe_by_definition(points, system, small), rtol=1e-12, atol=1e-12
        )
        np.testing.assert_allclose(by_kernel[:, columns], features, atol=2e-5 * np.ptp(features), rtol=0)


def test_a_descriptor_that_the_larger_does_not_hold_is_refused() -> None:
    large = ScalarProducts(AL, 20, 5, 2)
    for small in (ScalarProducts(AL, 21, 0), ScalarProducts(AL, 20, 5, 3), ScalarProducts(("Ge",), 5, 0), Smooth(AL)):
        with pytest.raises(InputError, match="not among"):
            columns_within(small, large)
    with pytest.raises(InputError, match="not among"):
        columns_within(Smooth(AL, (RadialSet(4, 7.0),), ()), Smooth(AL))
