"""From a table with one column a point to the points' own rows: a transpose of 16 x 16, or 8 x 8, in registers.

Element by element this takes as long as all radial sums together.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rhoscale.descriptors.lanes import WIDTH

_VECTOR = ir.VectorType(ir.FloatType(), WIDTH)


@intrinsic
def store_columns(typingctx: Any, table: Any, row: Any, rows: Any, starts: Any, at: Any) -> Any:  # noqa: ARG001
    """Copy WIDTH rows of a flat table of as many columns: rows[starts[c] + at + i] = table[(row + i) * WIDTH + c]."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source, target, offsets = (context.make_array(sig.args[k])(context, builder, args[k]).data for k in (0, 2, 3))

        def pointer(data: Any, index: Any) -> Any:
            return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())

        vectors = []
        for i in range(WIDTH):
            index = builder.mul(builder.add(args[1], ir.Constant(args[1].type, i)), ir.Constant(args[1].type, WIDTH))
            vectors.append(builder.load(pointer(source, index), align=4))
        for i, vector in enumerate(_transpose(builder, vectors)):
            start = builder.load(builder.gep(offsets, [ir.Constant(ir.IntType(64), i)]))
            builder.store(vector, pointer(target, builder.add(start, args[4])), align=4)
        return context.get_dummy_value()

    return types.void(table, types.intp, rows, starts, types.intp), codegen


def _transpose(builder: Any, vectors: list[Any]) -> list[Any]:
    """Exchange ever larger square blocks across the diagonal (J. O. Eklundh, IEEE Trans. Comput. C-21, 801, 1972)."""
    width = 1
    while width < WIDTH:
        keep = [lane if lane & width == 0 else WIDTH + lane - width for lane in range(WIDTH)]
        swap = [lane + width if lane & width == 0 else WIDTH + lane for lane in range(WIDTH)]
        masks = [ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), lanes) for lanes in (keep, swap)]
        exchanged = list(vectors)
        for i in range(WIDTH):
            if i & width == 0:
                for k, mask in enumerate(masks):
                    exchanged[i + k * width] = builder.shuffle_vector(vectors[i], vectors[i + width], mask)
        vectors = exchanged
        width *= 2
    return vectors
