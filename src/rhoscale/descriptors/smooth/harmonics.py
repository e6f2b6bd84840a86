"""Real solid harmonics of as many points at once as a register holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from rhoscale.descriptors.lanes import WIDTH, registers, store
from rhoscale.descriptors.smooth.spec import HIGHEST_DEGREE

WRITTEN_OUT = 4  # highest degree without recurrence
_FLAGS = ("contract", "nsz")
_VECTOR = ir.VectorType(ir.FloatType(), WIDTH)

_options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_f = np.float32


def _constant(value: float) -> Any:
    return ir.Constant(_VECTOR, [float(np.float32(value))] * WIDTH)


def _degree(l: int) -> Callable[..., Any]:
    """Make a Numba function that writes the harmonics of degree ``l`` after those of degrees l - 1 and l - 2.

    Written out by the code generator, with factors as constants: a loop over m takes five times as long.
    """

    def generate(typingctx: Any, x: Any, y: Any, z: Any, s: Any, table: Any, row: Any) -> Any:  # noqa: ARG001
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            data = context.make_array(sig.args[4])(context, builder, args[4]).data

            def pointer(degree: int, m: int) -> Any:
                at = builder.add(args[5], ir.Constant(args[5].type, degree * degree - 1 + degree + m))
                place = builder.gep(data, [builder.mul(at, ir.Constant(at.type, WIDTH))])
                return builder.bitcast(place, _VECTOR.as_pointer())

            def times(a: Any, b: Any) -> Any:
                return builder.fmul(a, b, flags=_FLAGS)

            def write(m: int, value: Any, factor: float) -> None:
                builder.store(times(value, _constant(factor)), pointer(l, m), align=4)

            before = {m: builder.load(pointer(l - 1, m), align=4) for m in range(1 - l, l)}
            for m in range(1 - l, l):
                value = times(args[2], before[m])
                if abs(m) < l - 1:
                    ratio = np.sqrt((l - 1) ** 2 - m * m) / (2 * l - 1)
                    down = times(times(args[3], builder.load(pointer(l - 2, m), align=4)), _constant(ratio))
                    value = builder.fsub(value, down, flags=_FLAGS)
                write(m, value, (2 * l - 1) / np.sqrt(l * l - m * m))
            c, d = before[l - 1], before[1 - l]
            ends = (
                builder.fsub(times(args[0], c), times(args[1], d), flags=_FLAGS),
                builder.fadd(times(args[1], c), times(args[0], d), flags=_FLAGS),
            )
            for m, end in zip((l, -l), ends, strict=True):
                write(m, end, np.sqrt((2 * l - 1) / (2 * l)))
            return context.get_dummy_value()

        return types.void(registers, registers, registers, registers, table, types.intp), codegen

    return intrinsic(generate)


_five, _six, _seven, _eight, _nine = (_degree(l) for l in range(WRITTEN_OUT + 1, HIGHEST_DEGREE + 1))


@njit(**_options)
def harmonics(x, y, z, s, degree, table, row):  # type: ignore[no-untyped-def]
    """Write Racah-normalised real solid harmonics, l = 1 ... degree, of (x, y, z) with s = x^2 + y^2 + z^2.

    Row l^2 - 1 + l + m of the table, from ``row``, holds S_lm. To degree 4 they are written out; above it

        S_lm = ((2l - 1) z S_(l-1)m - sqrt((l-1)^2 - m^2) s S_(l-2)m) / sqrt(l^2 - m^2),    |m| < l,
        S_ll, S_l-l = sqrt((2l-1) / 2l) (x S_(l-1)(l-1) - y S_(l-1)-(l-1), y S_(l-1)(l-1) + x S_(l-1)-(l-1))

    (Helgaker, Jorgensen, Olsen, Molecular Electronic-Structure Theory, 2000, section 6.4.8, other normalisation).
    """
    store(table, row, x)
    store(table, row + 1, y)
    store(table, row + 2, z)
    if degree < 2:
        return
    zz = z * z
    xy = x * y
    c = x * x - y * y
    store(table, row + 3, xy * _f(np.sqrt(3)))
    store(table, row + 4, y * z * _f(np.sqrt(3)))
    store(table, row + 5, zz * _f(1.5) - s * _f(0.5))
    store(table, row + 6, x * z * _f(np.sqrt(3)))
    store(table, row + 7, c * _f(np.sqrt(3 / 4)))
    if degree < 3:
        return
    a = (zz * _f(5) - s) * _f(np.sqrt(3 / 8))
    p = (c + x * x * _f(2)) * y
    q = (c - y * y * _f(2)) * x
    store(table, row + 8, p * _f(np.sqrt(5 / 8)))
    store(table, row + 9, xy * z * _f(np.sqrt(15)))
    store(table, row + 10, y * a)
    store(table, row + 11, (zz * _f(2.5) - s * _f(1.5)) * z)
    store(table, row + 12, x * a)
    store(table, row + 13, c * z * _f(np.sqrt(15 / 4)))
    store(table, row + 14, q * _f(np.sqrt(5 / 8)))
    if degree < 4:
        return
    b = zz * _f(7) - s
    d = (b - s * _f(2)) * z * _f(np.sqrt(5 / 8))
    store(table, row + 15, xy * c * _f(np.sqrt(35 / 4)))
    store(table, row + 16, p * z * _f(np.sqrt(35 / 8)))
    store(table, row + 17, xy * b * _f(np.sqrt(5 / 4)))
    store(table, row + 18, y * d)
    store(table, row + 19, (zz * _f(4.375) - s * _f(3.75)) * zz + s * s * _f(0.375))
    store(table, row + 20, x * d)
    store(table, row + 21, c * b * _f(np.sqrt(5 / 16)))
    store(table, row + 22, q * z * _f(np.sqrt(35 / 8)))
    store(table, row + 23, (c * c - xy * xy * _f(4)) * _f(np.sqrt(35 / 64)))
    if degree < 5:
        return
    _five(x, y, z, s, table, row)
    if degree < 6:
        return
    _six(x, y, z, s, table, row)
    if degree < 7:
        return
    _seven(x, y, z, s, table, row)
    if degree < 8:
        return
    _eight(x, y, z, s, table, row)
    if degree < 9:
        return
    _nine(x, y, z, s, table, row)
