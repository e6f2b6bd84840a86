"""The promolecule: tables of atomic densities and their periodic sum,

rho_0(r) = sum_a sum_T rho_a(|r - r_a - T|)    over atoms a and lattice vectors T.
"""

from rhoscale.promolecule.fourier import promolecule_fourier
from rhoscale.promolecule.real_space import Promolecule, promolecule, promolecule_on_grid
from rhoscale.promolecule.table import AtomicDensityTable, require_tables

__all__ = [
    "AtomicDensityTable",
    "Promolecule",
    "promolecule",
    "promolecule_fourier",
    "promolecule_on_grid",
    "require_tables",
]
