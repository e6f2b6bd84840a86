"""Density files, one format a file."""

from rhoscale.formats.density_file import DensityFile
from rhoscale.formats.dispatch import READABLE, WRITABLE, read_density_file, write_density_file

__all__ = ["READABLE", "WRITABLE", "DensityFile", "read_density_file", "write_density_file"]
