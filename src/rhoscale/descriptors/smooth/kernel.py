"""Neighbour densities and power spectra in blocks that suit the registers of this processor."""

from __future__ import annotations

from rhoscale.processor import AVX512, REGISTERS

if REGISTERS == AVX512:
    from rhoscale.descriptors.smooth import many_registers as kernel
else:
    from rhoscale.descriptors.smooth import few_registers as kernel  # type: ignore[no-redef]

CHUNK = kernel.CHUNK
angular_rows = kernel.angular_rows
density_rows = kernel.density_rows
neighbour_density = kernel.neighbour_density
power_spectrum = kernel.power_spectrum
own_power_spectrum = kernel.own_power_spectrum
