# ruff: noqa: ARG001  (Numba hands code generators more than most of them use)
"""What is done to the numbers of a row beside products, a vector at a time, in the same order on any processor.

The compiler takes rows of a few vectors for remainders of long loops, and thinks bfloat16 dear: left to itself it takes
one number at a time, or four. Tables are flat; those that products read are float32, or bfloat16 kept as uint16, to
which numbers are rounded (ties to even).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rhoscale.models.inference.product import LANES, BFloat

Code = tuple[Any, Callable[..., Any]]

_INT16, _INT32, _INT64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_FLAGS = ("contract", "nsz")


def _data(context: Any, builder: Any, sig: Any, args: Any, n: int) -> Any:
    return context.make_array(sig.args[n])(context, builder, args[n]).data


def _loaded(builder: Any, data: Any, at: Any) -> Any:
    return builder.load(builder.bitcast(builder.gep(data, [at]), _VECTOR.as_pointer()), align=4)


def _store(builder: Any, data: Any, at: Any, value: Any) -> None:
    """One number or a vector of them, rounded where the table is uint16."""
    if data.type.pointee == _INT16:
        many = isinstance(value.type, ir.VectorType)
        low, bits = (ir.VectorType(t, LANES) if many else t for t in (BFloat(), _INT16))
        value = builder.bitcast(builder.fptrunc(value, low), bits)
    builder.store(value, builder.bitcast(builder.gep(data, [at]), value.type.as_pointer()), align=2)


@intrinsic
def put(typingctx: Any, table: Any, at: Any, value: Any) -> Code:
    """``table[at] = value``, a float32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _store(builder, _data(context, builder, sig, args, 0), args[1], args[2])
        return context.get_dummy_value()

    return types.void(table, types.intp, types.float32), codegen


@intrinsic
def put_vector(typingctx: Any, table: Any, at: Any, source: Any, begin: Any) -> Code:
    """``table[at + i] = source[begin + i]`` for i < LANES, from float32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = _loaded(builder, _data(context, builder, sig, args, 2), args[3])
        _store(builder, _data(context, builder, sig, args, 0), args[1], value)
        return context.get_dummy_value()

    return types.void(table, types.intp, source, types.intp), codegen


@intrinsic
def put_squares(typingctx: Any, table: Any, at: Any, source: Any, begin: Any) -> Code:
    """``table[at + i] = source[begin + i]**2`` for i < LANES, from float32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = _loaded(builder, _data(context, builder, sig, args, 2), args[3])
        _store(builder, _data(context, builder, sig, args, 0), args[1], builder.fmul(value, value))
        return context.get_dummy_value()

    return types.void(table, types.intp, source, types.intp), codegen


@intrinsic
def put_standardised(
    typingctx: Any, table: Any, squares: Any, at: Any, source: Any, begin: Any, centre: Any, factor: Any, k: Any
) -> Code:
    """``table[at + i] = x = (source[begin + i] - centre[k + i]) factor[k + i]``, i < LANES; x**2 to ``squares``."""
    squared = squares != types.none

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = {n: _data(context, builder, sig, args, n) for n in (0, 3, 5, 6)}
        away = builder.fsub(_loaded(builder, data[3], args[4]), _loaded(builder, data[5], args[7]))
        value = builder.fmul(away, _loaded(builder, data[6], args[7]))
        _store(builder, data[0], args[2], value)
        if squared:
            _store(builder, _data(context, builder, sig, args, 1), args[2], builder.fmul(value, value))
        return context.get_dummy_value()

    i = types.intp
    return types.void(table, squares, i, source, i, centre, factor, i), codegen


@intrinsic
def dot(typingctx: Any, a: Any, a_at: Any, b: Any, b_at: Any, size: Any) -> Code:
    """Sum of a[a_at + i] b[b_at + i] for i < size, a multiple of LANES and not zero, in float32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        tables = [(_data(context, builder, sig, args, n), args[n + 1]) for n in (0, 2)]
        return _sum_of_products(builder, tables, args[4])

    i = types.intp
    return types.float32(a, i, b, i, i), codegen


@intrinsic
def weighted_squares(typingctx: Any, a: Any, weights: Any, at: Any, size: Any) -> Code:
    """Sum of a[at + i]^2 weights[at + i] for i < size, as :func:`dot`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        squared, factor = ((_data(context, builder, sig, args, n), args[2]) for n in (0, 1))
        return _sum_of_products(builder, [squared, squared, factor], args[3])

    i = types.intp
    return types.float32(a, weights, i, i), codegen


def _sum_of_products(builder: Any, tables: list[tuple[Any, Any]], size: Any) -> Any:
    """Sum of the products of numbers from tables, each (data, where the row begins)."""
    before, body, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
    builder.branch(body)
    builder.position_at_end(body)
    i, total = builder.phi(_INT64), builder.phi(_VECTOR)
    i.add_incoming(ir.Constant(_INT64, 0), before)
    total.add_incoming(ir.Constant(_VECTOR, [0.0] * LANES), before)
    product, *others = (_loaded(builder, data, builder.add(at, i)) for data, at in tables)
    for other in others:
        product = builder.fmul(product, other, flags=_FLAGS)
    following, longer = builder.add(i, ir.Constant(_INT64, LANES)), builder.fadd(total, product, flags=_FLAGS)
    i.add_incoming(following, body)
    total.add_incoming(longer, body)
    builder.cbranch(builder.icmp_signed("<", following, size), body, after)
    builder.position_at_end(after)
    return _added_up(builder, longer)


def _added_up(builder: Any, vector: Any) -> Any:
    """Halves are added until one number is left."""
    count = LANES
    while count > 1:
        count //= 2
        halves = [ir.Constant(ir.VectorType(_INT32, count), [start + i for i in range(count)]) for start in (0, count)]
        low, high = (builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), half) for half in halves)
        vector = builder.fadd(low, high, flags=_FLAGS)
    return builder.extract_element(vector, ir.Constant(_INT32, 0))
