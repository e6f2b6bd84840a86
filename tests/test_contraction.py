"""Functions about atoms that are made of more primitives, as structures want it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from rhoscale.descriptors import spec_from_dict
from rhoscale.descriptors.smooth import Smooth, SurroundingsSet, contracted, describe_by_definition, smooth_describer
from rhoscale.errors import InputError, ModelError
from rhoscale.system import System

FloatArray = NDArray[np.float64]

SET = SurroundingsSet(3, 5.0, 2, 6.0, 3, primitives=5)


def cell(seed: int, atoms: int = 9, elements: tuple[str, ...] = ("Ge", "Si")) -> System:
    rng = np.random.default_rng(seed)
    vectors = np.array([[7.0, 0.4, -0.2], [2.5, 6.5, 0.3], [-1.0, 1.5, 8.0]])
    species = np.array(elements)[np.arange(atoms) % len(elements)]
    return System(vectors, rng.uniform(0, 1, (atoms, 3)) @ vectors, species)


def by_definition(points: FloatArray, system: System, spec: Smooth) -> FloatArray:
    """Surroundings [points, lists, n, n', l]."""
    assert spec.surroundings is not None
    made = spec.surroundings
    found = describe_by_definition(points, system, spec)
    return found.reshape(len(points), -1, made.count, made.neighbours, made.degree + 1)


@pytest.mark.parametrize("elements", [("Al",), ("Ge", "Si")])
def test_kernel_and_definition_agree_and_are_combinations_of_the_primitives(elements: tuple[str, ...]) -> None:
    system = cell(1, elements=elements)
    spec = contracted(Smooth(elements, (), (), SET), [cell(2, elements=elements), cell(3, elements=elements)])
    assert spec.surroundings is not None
    points = np.random.default_rng(4).uniform(-1, 9, (20, 3))
    expected = by_definition(points, system, spec)
    found = smooth_describer(system, spec)(points).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
    primitive = Smooth(elements, (), (), replace(SET, neighbours=SET.primitives, primitives=0))
    combined = np.einsum("lkp,xsnpl->xsnkl", spec.surroundings.contraction, by_definition(points, system, primitive))
    np.testing.assert_allclose(expected, combined, atol=1e-9 * np.abs(combined).max())


def test_as_many_functions_as_primitives_span_what_the_primitives_do() -> None:
    """All components together are a rotation: sums of squares over n' stay, unlike with fewer."""
    system, points = cell(1), np.random.default_rng(4).uniform(-1, 9, (5, 3))
    plain = Smooth(("Ge", "Si"), (), (), SurroundingsSet(3, 5.0, 3, 6.0, 3))
    made = contracted(replace(plain, surroundings=SurroundingsSet(3, 5.0, 3, 6.0, 3, primitives=3)), [cell(2)])
    squares = [(by_definition(points, system, spec) ** 2).sum(axis=3) for spec in (plain, made)]
    np.testing.assert_allclose(*squares, atol=1e-9 * squares[0].max())
    assert np.abs(by_definition(points, system, plain) - by_definition(points, system, made)).max() > 0.1


def test_no_other_two_functions_hold_more_of_the_variance() -> None:
    """Of l = 1 (no mean to subtract), summed over m by the invariance of what a point sees from all directions."""
    atoms = [cell(seed, elements=("Al",)) for seed in range(2)]
    spec = contracted(Smooth(("Al",), (), (), SET), atoms)
    assert spec.surroundings is not None
    assert spec.surroundings.contraction is not None
    directions = Rotation.random(40, random_state=5).as_matrix()[:, 0]
    seen = []
    primitive = Smooth(("Al",), (), (), SurroundingsSet(1, 1.0, SET.primitives, 6.0, 1))
    for system in atoms:
        places = system.positions[:, None] + 0.3 * directions
        seen += [by_definition(around, system, primitive)[:, 0, 0, :, 1] for around in places]
    moments = np.cov(np.concatenate(seen).T)
    chosen = np.array(spec.surroundings.contraction[1])
    np.testing.assert_allclose(chosen @ chosen.T, np.eye(2), atol=1e-12)
    held = np.trace(chosen @ moments @ chosen.T) / np.trace(moments)
    rng = np.random.default_rng(6)
    others = [np.linalg.qr(rng.normal(size=(SET.primitives, 2)))[0] for _ in range(2000)]
    assert held > max(np.trace(other.T @ moments @ other) for other in others) / np.trace(moments)
    assert held > 1.02 * np.trace(moments[:2, :2]) / np.trace(moments)  # the first two primitives themselves


def test_turned_structures_want_the_same_functions() -> None:
    system, turn = cell(7), Rotation.random(random_state=8).as_matrix()
    turned = System(system.cell @ turn.T, system.positions @ turn.T + 3.0, system.species)
    spec = Smooth(("Ge", "Si"), (), (), SET)
    one, other = (contracted(spec, [s]).surroundings for s in (system, turned))
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one.contraction, other.contraction, atol=1e-4)


def test_specifications_survive_plain_values_and_old_ones_say_nothing_new() -> None:
    spec = contracted(Smooth(("Ge", "Si"), (), (), SET), [cell(1)])
    assert spec_from_dict(spec.to_dict()) == spec
    assert spec_from_dict(Smooth(("Al",), (), (), SET).to_dict()).to_dict()["surroundings"]["primitives"] == 5
    plain = Smooth(("Al",), (), (), SurroundingsSet(3, 5.0, 2, 6.0)).to_dict()["surroundings"]
    assert set(plain) == {"count", "cutoff", "neighbours", "neighbour_cutoff", "degree"}


def test_what_needs_no_structures_is_returned_as_it_is() -> None:
    plain, made = Smooth(("Al",)), contracted(Smooth(("Ge", "Si"), (), (), SET), [cell(1)])
    assert contracted(plain, []) is plain
    assert contracted(made, [cell(2)]) is made


def test_what_cannot_be_made_is_refused() -> None:
    spec = Smooth(("Ge", "Si"), (), (), SET)
    with pytest.raises(InputError, match="5 primitives and no contraction"):
        smooth_describer(cell(1), spec)
    with pytest.raises(InputError, match="needs structures; got none"):
        contracted(spec, [])
    with pytest.raises(ModelError, match="know Al; the structure also holds Ge, Si"):
        contracted(Smooth(("Al",), (), (), SET), [cell(1)])
    with pytest.raises(InputError, match="primitives=1 cannot make neighbours=2"):
        SurroundingsSet(3, 5.0, 2, 6.0, primitives=1)
    with pytest.raises(InputError, match=r"shape \(1, 1, 2\); expected \(5, 2, 3\)"):
        SurroundingsSet(3, 5.0, 2, 6.0, primitives=3, contraction=(((1.0, 0.0),),))
