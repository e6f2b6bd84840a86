"""The promolecule: tables of atomic densities and their periodic sum,

rho_0(r) = sum_a sum_T rho_a(|r - r_a - T|)    over atoms a and lattice vectors T.
"""

from rhoscale.promolecule.fitted import fit_promolecule
from rhoscale.promolecule.fourier import promolecule_fourier
from rhoscale.promolecule.real_space import Promolecule, promolecule, promolecule_of_cluster, promolecule_on_grid
from rhoscale.promolecule.table import AtomicDensityTable, require_tables

__all__ = [
    "AtomicDensityTable",
    "Promolecule",
    "fit_promolecule",
    "promolecule",
    "promolecule_fourier",
    "promolecule_of_cluster",
    "promolecule_on_grid",
    "require_tables",
]
