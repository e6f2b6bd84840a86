# ruff: noqa: ARG001  (Numba hands code generators more than most of them use)
"""Sixteen points side by side: 16-wide vectors as a Numba type, and vectors as wide as a register.

Left to itself the loop vectoriser does not see that sixteen columns of a table can be compared and exchanged at
once; written with these types the same loop runs seven times faster. The compiler splits sixteen into whatever
registers the processor has. Loops that keep many sums in registers take WIDTH points at a time instead, all sixteen or
eight (:mod:`rhoscale.processor`). Lanes never mix, so results do not depend on the width of the hardware.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

from rhoscale.processor import REGISTERS

LANES = 16
WIDTH = REGISTERS.lanes

# Contraction to fused multiply-add only: reordering sums would make bits depend on the compiler's mood.
_FLAGS = ("contract", "nsz")


class Lanes(types.Type):
    """Numba type of one value for each of sixteen points, or of as many as a register holds."""

    def __init__(self, element: types.Type, count: int = LANES) -> None:
        self.element = element
        self.count = count
        super().__init__(name=f"Lanes({element}, {count})")


def _operation(function: Callable[..., Any]) -> Any:
    """Make a Numba function of a code generator; to a type checker it takes the arguments after the first."""
    return intrinsic(function)


floats = Lanes(types.float32)
words = Lanes(types.uint32)
registers = Lanes(types.float32, WIDTH)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Lanes) -> None:
        element = ir.FloatType() if fe_type.element == types.float32 else ir.IntType(32)
        super().__init__(dmm, fe_type, ir.VectorType(element, fe_type.count))


def _splat(builder: Any, scalar: Any, count: int = LANES) -> Any:
    vector = ir.VectorType(scalar.type, count)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def _define(operation: Callable[..., Any], lanes: Lanes, emit: Callable[[Any, Any, Any], Any]) -> None:
    """Give Numba ``lanes (operation) lanes`` and the two mixtures with a scalar of the same element."""
    scalar = lanes.element

    class Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if not kws and len(args) == 2 and lanes in args and all(a in (lanes, scalar) for a in args):
                return signature(lanes, *args)
            return None

    infer_global(operation)(Template)
    for left, right in ((lanes, lanes), (lanes, scalar), (scalar, lanes)):

        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            a, b = (_splat(builder, v, lanes.count) if t == scalar else v for v, t in zip(args, sig.args, strict=True))
            return emit(builder, a, b)

        lower_builtin(operation, left, right)(lower)


for _kind in {floats, registers}:
    _define(operator.add, _kind, lambda builder, a, b: builder.fadd(a, b, flags=_FLAGS))
    _define(operator.sub, _kind, lambda builder, a, b: builder.fsub(a, b, flags=_FLAGS))
    _define(operator.mul, _kind, lambda builder, a, b: builder.fmul(a, b, flags=_FLAGS))
    _define(operator.truediv, _kind, lambda builder, a, b: builder.fdiv(a, b, flags=_FLAGS))
_define(operator.add, words, lambda builder, a, b: builder.add(a, b))
_define(operator.sub, words, lambda builder, a, b: builder.sub(a, b))
_define(operator.mul, words, lambda builder, a, b: builder.mul(a, b))
_define(operator.and_, words, lambda builder, a, b: builder.and_(a, b))
_define(operator.or_, words, lambda builder, a, b: builder.or_(a, b))
_define(operator.lshift, words, lambda builder, a, b: builder.shl(a, b))
_define(operator.rshift, words, lambda builder, a, b: builder.lshr(a, b))


def _row_pointer(context: Any, builder: Any, array_type: Any, array: Any, row: Any, vector: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    start = builder.gep(data, [builder.mul(row, ir.Constant(row.type, vector.count))])
    return builder.bitcast(start, vector.as_pointer())


@_operation
def load(typingctx: Any, table: Any, row: Any) -> Any:
    """Row ``row`` of a flat table of sixteen columns."""
    lanes = floats if table.dtype == types.float32 else words

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _row_pointer(context, builder, sig.args[0], args[0], args[1], context.get_value_type(lanes))
        return builder.load(pointer, align=4)

    return lanes(table, types.intp), codegen


@_operation
def load_register(typingctx: Any, table: Any, row: Any) -> Any:
    """Row ``row`` of a flat float32 table of WIDTH columns."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _row_pointer(context, builder, sig.args[0], args[0], args[1], context.get_value_type(registers))
        return builder.load(pointer, align=4)

    return registers(table, types.intp), codegen


@_operation
def store(typingctx: Any, table: Any, row: Any, value: Any) -> Any:
    """Write one row of a flat table of as many columns as the value has lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _row_pointer(context, builder, sig.args[0], args[0], args[1], args[2].type)
        builder.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(table, types.intp, value), codegen


@_operation
def gather(typingctx: Any, table: Any, start: Any, index: Any) -> Any:
    """``table[start + index]`` for sixteen indices; the table is flat, float32, and holds them all."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = builder.gep(context.make_array(sig.args[0])(context, builder, args[0]).data, [args[1]])
        value = ir.Constant(context.get_value_type(floats), ir.Undefined)
        for lane in range(LANES):
            position = ir.Constant(ir.IntType(32), lane)
            offset = builder.zext(builder.extract_element(args[2], position), ir.IntType(64))
            value = builder.insert_element(value, builder.load(builder.gep(data, [offset])), position)
        return value

    return floats(table, types.intp, words), codegen


@_operation
def square_root(typingctx: Any, value: Any) -> Any:
    """Correctly rounded square root of each lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = args[0].type
        name = f"llvm.sqrt.v{vector.count}f32"
        function = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(vector, [vector]), name
        )
        return builder.call(function, [args[0]])

    return value(value), codegen


@_operation
def larger(typingctx: Any, a: Any, b: Any) -> Any:
    """The larger of two values, lane by lane; the second may be a scalar."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bound = args[1] if sig.args[1] == a else _splat(builder, args[1], a.count)
        return builder.select(builder.fcmp_ordered(">", args[0], bound), args[0], bound)

    return a(a, b), codegen


@_operation
def any_above(typingctx: Any, value: Any, bound: Any) -> Any:
    """1 if any lane is above a scalar, else 0."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        count = args[0].type.count
        mask = builder.fcmp_ordered(">", args[0], _splat(builder, args[1], count))
        bits = builder.bitcast(mask, ir.IntType(count))
        return builder.zext(builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0)), ir.IntType(64))

    return types.intp(value, bound), codegen


@_operation
def rounded(typingctx: Any, value: Any) -> Any:
    """Each lane rounded to the nearest integer, two's complement."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = args[0].type
        name = f"llvm.rint.v{LANES}f32"
        function = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(vector, [vector]), name
        )
        whole = builder.call(function, [args[0]])
        return builder.fptosi(whole, ir.VectorType(ir.IntType(32), LANES))

    return words(floats), codegen


@_operation
def as_floats(typingctx: Any, value: Any) -> Any:
    """Each lane, as a signed integer, as the nearest float32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sitofp(args[0], ir.VectorType(ir.FloatType(), LANES))

    return floats(words), codegen


@_operation
def any_below(typingctx: Any, value: Any, bound: Any) -> Any:
    """Bit l is set where lane l is below the bound (unsigned)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        mask = builder.icmp_unsigned("<", args[0], _splat(builder, args[1]))
        return builder.zext(builder.bitcast(mask, ir.IntType(LANES)), ir.IntType(32))

    return types.uint32(words, types.uint32), codegen


@_operation
def compare_exchange(typingctx: Any, table: Any, a: Any, b: Any) -> Any:
    """Put the smaller of rows a and b into row a and the larger into row b, lane by lane (unsigned)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = context.get_value_type(words)
        low = _row_pointer(context, builder, sig.args[0], args[0], args[1], vector)
        high = _row_pointer(context, builder, sig.args[0], args[0], args[2], vector)
        x, y = builder.load(low, align=4), builder.load(high, align=4)
        ordered = builder.icmp_unsigned("<", x, y)
        builder.store(builder.select(ordered, x, y), low, align=4)
        builder.store(builder.select(ordered, y, x), high, align=4)
        return context.get_dummy_value()

    return types.void(table, types.intp, types.intp), codegen
