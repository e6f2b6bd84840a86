"""Kohn-Sham electron densities of bulk materials at any scale, with a map of how far each value can be trusted."""

__version__ = "0.1.0"
