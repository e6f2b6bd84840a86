"""Density files, one format a file."""

from rhoscale.formats.density_file import DensityFile

__all__ = ["DensityFile"]
