"""Instructions of the processor that the kernels of exact search need: intrinsics of LLVM for numba.

For x86 with AVX2 and conversion of float16; see `ilion.kernels.tiles`.
"""

from __future__ import annotations

from typing import Any

ROWS, QUERIES = 3, 16
"""Rows and queries of a tile, whose sums of 16 and of 32 bits fit the registers."""
GROUP = 8
"""Queries whose sums of 32 bits fill a register."""
LINE = 8
"""Values of float32 in a register."""
PARTS = (8, 4, 2)
"""Numbers of parts of a row that can be mixed at once: powers of two."""
WIDENED = 2
"""Sums of 16 bits that are added before they are widened to 32."""
DIMS = 4 * WIDENED
"""Multiple to which dimensions are filled up."""


def widen_half() -> Any:
    """Return what reads 16 bits as a float16 and widens it; numba has no such type on processors."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def widen(_: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.fpext(builder.bitcast(values[0], ir.HalfType()), ir.FloatType())

        return types.float32(types.uint16), generate

    return widen


def mix_registers(parts: int) -> Any:
    """Return what replaces ``parts`` registers of an array by sums and differences: a Hadamard transform.

    They are ``stride`` values apart; ``parts`` is a power of two.
    """
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    line = ir.VectorType(ir.FloatType(), LINE)

    @intrinsic
    def butterfly(_: Any, values: Any, at: Any, stride: Any) -> Any:
        signature = types.void(values, at, stride)

        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, given[0])
            offsets = [builder.mul(given[2], ir.Constant(ir.IntType(64), part)) for part in range(parts)]
            places = [builder.gep(array.data, [builder.add(given[1], offset)]) for offset in offsets]
            places = [builder.bitcast(place, line.as_pointer()) for place in places]
            held = [builder.load(place, align=4) for place in places]
            half = parts // 2
            while half:
                for first in (part for part in range(parts) if not part & half):
                    a, b = held[first], held[first + half]
                    held[first], held[first + half] = builder.fadd(a, b), builder.fsub(a, b)
                half //= 2
            for place, value in zip(places, held, strict=True):
                builder.store(value, place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return butterfly


def compare_tile() -> Any:
    """Return what compares the products of `ROWS` rows and `QUERIES` queries with limits.

    Arguments are arrays and the offsets in them: slices would be counted references in the inner loop.

    A multiplication takes four bytes of a row with four of each of 8 queries, and adds neighbours: two sums
    of 16 bits for each query. They are not cut off: 2 * 127 * 63 * `WIDENED` is less than 2^15.
    """
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils as untyped
    from numba.extending import intrinsic

    cgutils: Any = untyped
    byte, half, single, word = (ir.IntType(size) for size in (8, 16, 32, 64))
    bytes_, halves, singles = (ir.VectorType(*of) for of in ((byte, 32), (half, 16), (single, 8)))
    groups = range(QUERIES // GROUP)

    @intrinsic
    def compare(
        _: Any, codes: Any, codes_at: Any, dim: Any, tiles: Any, tiles_at: Any, size: Any,
        limits: Any, limits_at: Any, bits: Any, bits_at: Any, width: Any, rounds: Any,
    ) -> Any:  # fmt: skip
        signature = types.void(
            codes, codes_at, dim, tiles, tiles_at, size, limits, limits_at, bits, bits_at, width, rounds
        )

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            def number(value: int) -> Any:
                return ir.Constant(word, value)

            def place(argument: int, *offsets: Any) -> Any:
                array = context.make_array(signature.args[argument])(context, builder, values[argument])
                base = builder.bitcast(array.data, byte.as_pointer())
                for offset in offsets:
                    base = builder.gep(base, [offset])
                return base

            def load(base: Any, offset: Any, kind: Any) -> Any:
                return builder.load(builder.bitcast(builder.gep(base, [offset]), kind.as_pointer()), align=1)

            def function(name: str, result: Any, *arguments: Any) -> Any:
                kind = ir.FunctionType(result, arguments)
                return cgutils.get_or_insert_function(builder.module, kind, name)

            multiply = function("llvm.x86.avx2.pmadd.ub.sw", halves, bytes_, bytes_)
            add_up = function("llvm.x86.avx2.pmadd.wd", singles, halves, halves)
            ones, none = ir.Constant(halves, [1] * 16), ir.Constant(singles, ir.Undefined)
            rows = [place(0, values[1], builder.mul(values[2], number(r))) for r in range(ROWS)]
            own = [place(3, values[4], builder.mul(values[5], number(group))) for group in groups]
            zero = ir.Constant(singles, [0] * 8)
            sums = [[cgutils.alloca_once_value(builder, zero) for _ in groups] for _ in rows]
            with cgutils.for_range(builder, values[11]) as loop:
                # sums of 16 bits take half the registers; they are widened before they could overflow
                short: list[list[Any]] = [[None for _ in groups] for _ in rows]
                for step in range(WIDENED):
                    four = builder.add(builder.mul(loop.index, number(WIDENED)), number(step))
                    others = [load(base, builder.mul(four, number(4 * GROUP)), bytes_) for base in own]
                    for r, base in enumerate(rows):
                        shown = load(base, builder.mul(four, number(4)), single)
                        shown = builder.insert_element(none, shown, ir.Constant(single, 0))
                        shown = builder.bitcast(builder.shuffle_vector(shown, none, zero), bytes_)
                        for group in groups:
                            product = builder.call(multiply, [shown, others[group]])
                            before = short[r][group]
                            short[r][group] = product if before is None else builder.add(before, product)
                for r in range(ROWS):
                    for group in groups:
                        whole = builder.call(add_up, [short[r][group], ones])
                        builder.store(builder.add(builder.load(sums[r][group]), whole), sums[r][group])
            for group in groups:
                limit = load(
                    place(6), builder.mul(builder.add(values[7], number(group * GROUP)), number(4)), singles
                )
                for r in range(ROWS):
                    above = builder.icmp_signed(">", builder.load(sums[r][group]), limit)
                    into = place(8, values[9], builder.mul(values[10], number(r)), number(group))
                    builder.store(builder.bitcast(above, byte), into)
            return context.get_dummy_value()

        return signature, generate

    return compare
