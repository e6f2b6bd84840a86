"""Kinds of errors. Each message says what is wrong with its value, what was expected, what to do."""


class RhoscaleError(Exception):
    """Base of all errors that rhoscale raises on purpose; the command line prints it and exits with code 2."""


class InputError(RhoscaleError, ValueError):
    """A value, option or recipe that cannot be used."""


class StructureError(InputError):
    """A structure that is not a usable periodic arrangement of atoms."""


class FormatError(RhoscaleError, OSError):
    """A file that is missing, empty, truncated or not of the expected format."""


class OutputError(RhoscaleError, OSError):
    """A file or store that cannot be written (exists already, no space left, no permission)."""


class EngineError(RhoscaleError, RuntimeError):
    """A DFT program that is missing, crashed, was killed or did not converge."""


class ModelError(RhoscaleError, ValueError):
    """A model that is damaged, or that does not fit the question (unknown element, other pseudopotential)."""


class HaloError(RhoscaleError, ValueError):
    """Atoms that a descriptor needs lie beyond the atoms that were handed to it."""


class EmptyDensityError(RhoscaleError, ValueError):
    """A density that integrates to zero or less."""


class DatasetError(RhoscaleError, ValueError):
    """A data set whose files and lists contradict each other."""


class TileError(RhoscaleError, RuntimeError):
    """A tile of a prediction that failed again and again for a reason that no other kind names."""
