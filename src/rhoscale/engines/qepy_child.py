"""The child process of the QEpy engine: ``python -m rhoscale.engines.qepy_child -in pw.in``.

It imports nothing of rhoscale, so that it starts at once.
"""

from __future__ import annotations

import sys


def run_input_file(path: str) -> None:
    """Run one ``pw.x`` input file to its end in this process, as the program itself would."""
    from qepy.driver import Driver  # starts MPI and Fortran state

    driver = Driver(path)
    driver.scf(original=True)  # QEpy's own cycle ignores diago_thr_init
    if driver.check_convergence():
        driver.get_forces()
    driver.stop()


if __name__ == "__main__":
    run_input_file(sys.argv[sys.argv.index("-in") + 1])
