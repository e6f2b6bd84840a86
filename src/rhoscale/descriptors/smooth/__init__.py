"""Smooth body-ordered features: radial sums and power spectra of the atoms around a point."""

from __future__ import annotations

from rhoscale.descriptors.smooth.contraction import contracted
from rhoscale.descriptors.smooth.fast import cluster_describer, smooth_describer
from rhoscale.descriptors.smooth.reference import describe_by_definition
from rhoscale.descriptors.smooth.spec import AngularSet, RadialSet, Smooth, SurroundingsSet

__all__ = [
    "AngularSet",
    "RadialSet",
    "Smooth",
    "SurroundingsSet",
    "cluster_describer",
    "contracted",
    "describe_by_definition",
    "smooth_describer",
]
