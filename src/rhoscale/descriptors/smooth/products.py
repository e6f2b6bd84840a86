"""Loops whose sums of products fill the registers, written out by the code generator.

They become functions of the machine that take pointers, which leaves all registers to the sums; left to itself the
compiler keeps addresses of the whole kernel in mind and spills. Tables are flat; one row is WIDTH float32, one for
each point (:mod:`rhoscale.descriptors.lanes`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rhoscale.descriptors.lanes import WIDTH
from rhoscale.processor import AVX512, REGISTERS

LONGEST = 12 if REGISTERS == AVX512 else 6
"""Radial functions whose products with two harmonics are summed together, half as many as with one: 24 or 12 sums."""
TILE = 4 if REGISTERS == AVX512 else 3
"""Radial functions on either side of a tile of a power spectrum: 16 or 9 sums."""

_FLAGS = ("contract", "nsz")
_VECTOR = ir.VectorType(ir.FloatType(), WIDTH)
_TABLE = _VECTOR.as_pointer()
_INDEX = ir.IntType(64)


def _index(value: int) -> Any:
    return ir.Constant(_INDEX, value)


def _load(builder: Any, table: Any, row: Any) -> Any:
    return builder.load(builder.gep(table, [row]), align=4)


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return builder.fadd(c, builder.fmul(a, b, flags=_FLAGS), flags=_FLAGS)


def _function(module: Any, name: str, arguments: list[Any], write: Callable[..., None]) -> Any:
    """The function of a module with this name, written by ``write(builder, *arguments)`` if it is not there."""
    if name not in module.globals:
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        builder = ir.IRBuilder(function.append_basic_block("start"))
        write(builder, *function.args)
        builder.ret_void()
    return module.globals[name]


def _loop(builder: Any, count: Any, steps: list[Any], sums: list[Any], body: Callable[..., list[Any]]) -> list[Any]:
    """Repeat ``sums = body(tables, sums)`` at least once; ``steps`` holds tables and their rows between turns."""
    start = builder.block
    turn, end = builder.append_basic_block("turn"), builder.append_basic_block("end")
    builder.branch(turn)
    builder.position_at_end(turn)
    left = builder.phi(_INDEX)
    tables = [builder.phi(_TABLE) for _ in steps]
    before = [builder.phi(_VECTOR) for _ in sums]
    after = body(tables, before)
    less = builder.sub(left, _index(1))
    nodes = [(left, count, less)]
    nodes += [(node, table, builder.gep(node, [step])) for node, (table, step) in zip(tables, steps, strict=True)]
    nodes += zip(before, sums, after, strict=True)
    for node, at_first, then in nodes:
        node.add_incoming(at_first, start)
        node.add_incoming(then, turn)
    builder.cbranch(builder.icmp_signed("!=", less, _index(0)), turn, end)
    builder.position_at_end(end)
    return after


def _adder(module: Any, harmonics: int, count: int) -> Any:
    def write(builder, size, phi, phi_step, y, y_step, first, second, rows):  # type: ignore[no-untyped-def]
        places = [
            builder.gep(start, [builder.mul(rows, _index(n))])
            for n in range(count)
            for start in (first, second)[:harmonics]
        ]

        def body(tables: list[Any], sums: list[Any]) -> list[Any]:
            ys = [_load(builder, tables[1], _index(i)) for i in range(harmonics)]
            functions = (_load(builder, tables[0], _index(n)) for n in range(count))
            products = ((function, y) for function in functions for y in ys)
            return [_multiply_add(builder, *two, old) for two, old in zip(products, sums, strict=True)]

        old = [builder.load(place, align=4) for place in places]
        new = _loop(builder, size, [(phi, phi_step), (y, y_step)], old, body)
        for place, value in zip(places, new, strict=True):
            builder.store(value, place, align=4)

    arguments = [_INDEX, _TABLE, _INDEX, _TABLE, _INDEX, _TABLE, _TABLE, _INDEX]
    return _function(module, f"rhoscale_add_{count}_by_{harmonics}", arguments, write)


def _choose(builder: Any, value: Any, functions: dict[int, Any], arguments: list[Any]) -> None:
    """Call the function that belongs to a value."""
    end = builder.append_basic_block("chosen")
    switch = builder.switch(value, end)
    for key, function in functions.items():
        block = builder.append_basic_block("choice")
        switch.add_case(ir.Constant(value.type, key), block)
        builder.position_at_end(block)
        builder.call(function, arguments)
        builder.branch(end)
    builder.position_at_end(end)


def _pointer(context: Any, builder: Any, sig: Any, args: Any, table: int, row: int) -> Any:
    data = context.make_array(sig.args[table])(context, builder, args[table]).data
    return builder.gep(builder.bitcast(data, _TABLE), [args[row]])


def _adders(harmonics: int) -> Callable[..., Any]:
    """Make a Numba function that adds sum_a phi_n(a) y_i(a) to sums, for ``count`` successive n and one or two y.

    Its arguments: count; atoms; table of phi, its first row and rows of an atom; the same of y; table of sums, first
    row of either y, and rows from one n to the next.
    """

    def generate(  # type: ignore[no-untyped-def]
        typingctx,  # noqa: ARG001
        count,  # noqa: ARG001
        size,  # noqa: ARG001
        phi,
        phi_row,  # noqa: ARG001
        phi_step,  # noqa: ARG001
        y,
        y_row,  # noqa: ARG001
        y_step,  # noqa: ARG001
        sums,
        first,  # noqa: ARG001
        second,  # noqa: ARG001
        rows,  # noqa: ARG001
    ):
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            tables = [_pointer(context, builder, sig, args, *where) for where in ((2, 3), (5, 6), (8, 9), (8, 10))]
            functions = {
                count: _adder(builder.module, harmonics, count) for count in range(1, 2 * LONGEST // harmonics + 1)
            }
            arguments = [args[1], tables[0], args[4], tables[1], args[7], tables[2], tables[3], args[11]]
            _choose(builder, args[0], functions, arguments)
            return context.get_dummy_value()

        i = types.intp
        return types.void(i, i, phi, i, i, y, i, i, sums, i, i, i), codegen

    return intrinsic(generate)


add_rows = _adders(1)
add_pairs = _adders(2)


def _tile(module: Any, size: int, diagonal: bool, symmetric: bool) -> Any:
    pairs = [(n, k) for n in range(size if diagonal else TILE) for k in range(size) if n <= k or not diagonal]

    def write(builder, rows, a, b, c, d, features, later):  # type: ignore[no-untyped-def]
        def body(tables: list[Any], sums: list[Any]) -> list[Any]:
            def side(table: int, count: int) -> list[Any]:
                return [_load(builder, tables[table], builder.mul(rows, _index(n))) for n in range(count)]

            left, right = side(0, size if diagonal else TILE), side(1, size)
            new = [_multiply_add(builder, left[n], right[k], old) for (n, k), old in zip(pairs, sums, strict=True)]
            if symmetric:
                left, right = side(2, size if diagonal else TILE), side(3, size)
                new = [_multiply_add(builder, left[n], right[k], old) for (n, k), old in zip(pairs, new, strict=True)]
            return new

        steps = [(table, _index(1)) for table in ((a, b, c, d) if symmetric else (a, b))]
        zero = ir.Constant(_VECTOR, [0.0] * WIDTH)
        for (n, k), value in zip(pairs, _loop(builder, rows, steps, [zero] * len(pairs), body), strict=True):
            half = builder.fmul(value, ir.Constant(_VECTOR, [0.5] * WIDTH)) if symmetric else value
            row = builder.add(builder.mul(later, _index(n)), _index(k - n * (n - 1) // 2))
            builder.store(half, builder.gep(features, [row]), align=4)

    name = f"rhoscale_{'symmetric_' if symmetric else ''}{'triangle' if diagonal else 'tile'}_{size}"
    return _function(module, name, [_INDEX, *[_TABLE] * 5, _INDEX], write)


def _tiles(symmetric: bool) -> Callable[..., Any]:
    """Make a Numba function that writes sum_m a_nm b_km of up to TILE n and k, or 1/2 sum_m (a_nm b_km + b_nm a_km).

    Its arguments: how many k; whether n and k are the same, so that only n <= k are written; how many m; tables a and
    b; rows of the first n and of the first k in both; table of features, row of the first n and k, and rows from the
    first n to the second at the same k.
    """

    def generate(  # type: ignore[no-untyped-def]
        typingctx,  # noqa: ARG001
        size,  # noqa: ARG001
        diagonal,  # noqa: ARG001
        rows,  # noqa: ARG001
        a,
        b,
        n,  # noqa: ARG001
        k,  # noqa: ARG001
        features,
        at,  # noqa: ARG001
        later,  # noqa: ARG001
    ):
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            tables = [
                _pointer(context, builder, sig, args, *where) for where in ((3, 5), (4, 6), (4, 5), (3, 6), (7, 8))
            ]
            functions = {
                2 * size + same: _tile(builder.module, size, bool(same), symmetric)
                for size in range(1, TILE + 1)
                for same in (0, 1)
            }
            key = builder.add(builder.mul(args[0], _index(2)), builder.zext(args[1], _INDEX))
            _choose(builder, key, functions, [args[2], *tables, args[9]])
            return context.get_dummy_value()

        i = types.intp
        return types.void(i, types.boolean, i, a, b, i, i, features, i, i), codegen

    return intrinsic(generate)


write_products = _tiles(symmetric=False)
write_symmetric_products = _tiles(symmetric=True)
