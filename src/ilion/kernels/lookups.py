"""Which codes of a list are near enough, by table look-ups in registers: for x86 with AVX-512 VBMI.

A distance is the sum of one table entry for each of four parts of 7 bits of a code. Looked up one after the
other, that is bound by loads; here one instruction looks up 64 parts in a table of 128 bytes, first the upper
bits of their entries and then the lower ones. Sums are exact.
"""

from __future__ import annotations

from typing import Any

from ilion.kernels.jit import compiles

LINE = 16
"""Codes that are looked up at once; as much room must be left behind what is found."""
PARTS, TABLE = 4, 128
"""Parts of a code, and values of each."""
LOW = 3
"""Lower bits of a table entry; the upper ones fill a byte, so entries are less than 2^11."""


def can_compile() -> bool:
    """Say whether the functions of this file can be compiled here."""
    return compiles("avx512f", "avx512bw", "avx512vbmi")


def near_codes(code_at: int, limit: int) -> Any:
    """Return what finds the records whose codes are near enough, compiled.

    Its arguments are arrays and the offsets in them (slices would be counted references in an inner loop):
    ``(tables, tables_at, records, start, stop, pairs, filled, sums)``. ``tables`` are uint8, `PARTS` of upper
    bits and as many of lower ones; ``records`` are uint64, at least `LINE` of them. From ``filled`` on,
    ``pairs`` (uint32) get the lowest bits of each near record between ``start`` and ``stop``, and above them
    its place after ``start``; ``sums`` (uint32) get its distance, from 0 on. Both ascend by place, and `LINE`
    values behind them are overwritten. It returns up to where pairs are filled.

    Args:
        code_at: First bit of the code in a record, and number of lower bits that are returned.
        limit: Distance from which on a code is too far.
    """
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils as untyped
    from numba.extending import intrinsic

    cgutils: Any = untyped
    bit, byte, single, word = (ir.IntType(size) for size in (1, 8, 32, 64))
    bytes_, singles, words = (ir.VectorType(*of) for of in ((byte, 64), (single, LINE), (word, LINE)))
    bits, many = ir.VectorType(bit, LINE), ir.VectorType(bit, 64)
    # the lowest bit of each part, for the two codes in a word; of a byte, 7 bits are looked at
    begins = ir.Constant(bytes_, [32 * (i // 4 % 2) + 7 * (i % 4) for i in range(64)])
    own = [ir.Constant(many, [i % 4 == part for i in range(64)]) for part in range(PARTS)]
    lanes = ir.Constant(singles, list(range(LINE)))

    def number(value: int, kind: Any = word) -> Any:
        return ir.Constant(kind, value)

    def same(value: int, kind: Any = singles) -> Any:
        return ir.Constant(kind, [value] * kind.count)

    def spread(builder: Any, value: Any) -> Any:
        first = builder.insert_element(ir.Constant(singles, ir.Undefined), value, number(0, single))
        return builder.shuffle_vector(first, first, same(0))

    @intrinsic
    def near(
        _: Any, tables: Any, tables_at: Any, records: Any, start: Any, stop: Any, pairs: Any, filled: Any,
        sums: Any,
    ) -> Any:  # fmt: skip
        signature = types.int64(tables, tables_at, records, start, stop, pairs, filled, sums)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            def pointer(argument: int, offset: Any, kind: Any, unit: Any) -> Any:
                array = context.make_array(signature.args[argument])(context, builder, values[argument])
                base = builder.bitcast(array.data, unit.as_pointer())
                return builder.bitcast(builder.gep(base, [offset]), kind.as_pointer())

            def function(name: str, result: Any, *arguments: Any) -> Any:
                kind = ir.FunctionType(result, arguments)
                return cgutils.get_or_insert_function(builder.module, kind, name)

            look_up = function("llvm.x86.avx512.vpermi2var.qi.512", bytes_, bytes_, bytes_, bytes_)
            cut = function("llvm.x86.avx512.pmultishift.qb.512", bytes_, bytes_, bytes_)
            compress = function("llvm.x86.avx512.mask.compress.v16i32", singles, singles, singles, bits)

            def table(part: int, half: int) -> Any:
                offset = builder.add(values[1], number(TABLE * part + TABLE // 2 * half))
                return builder.load(pointer(0, offset, bytes_, byte), align=1)

            held = [(table(part, 0), table(part, 1)) for part in range(2 * PARTS)]
            place = cgutils.alloca_once_value(builder, values[6])

            def look_up_parts(codes: Any, of: Any) -> Any:
                found = None
                for part, (first, second) in enumerate(of):
                    these = builder.call(look_up, [first, codes, second])
                    found = these if found is None else builder.select(own[part], these, found)
                # the sum of four bytes
                found, even = builder.bitcast(found, singles), same(0x00FF00FF)
                two = builder.add(builder.and_(found, even), builder.and_(builder.lshr(found, same(8)), even))
                return builder.and_(builder.add(two, builder.lshr(two, same(16))), same(0xFFFF))

            def take(shown: Any, begin: Any, valid: Any = None) -> None:
                codes = builder.trunc(builder.lshr(shown, same(code_at, words)), singles)
                codes = builder.call(cut, [begins, builder.bitcast(codes, bytes_)])
                upper, lower = look_up_parts(codes, held[:PARTS]), look_up_parts(codes, held[PARTS:])
                distance = builder.add(builder.shl(upper, same(LOW)), lower)
                is_near = builder.icmp_unsigned("<", distance, same(limit))
                if valid is not None:
                    is_near = builder.and_(is_near, valid)
                places = builder.add(spread(builder, builder.trunc(begin, single)), lanes)
                row = builder.and_(builder.trunc(shown, singles), same(2**code_at - 1))
                pair = builder.or_(row, builder.shl(places, same(code_at)))
                now = builder.load(place)
                for value, into, at in ((pair, 5, now), (distance, 7, builder.sub(now, values[6]))):
                    value = builder.call(compress, [value, same(0), is_near])
                    builder.store(value, pointer(into, at, singles, single), align=4)
                count = builder.ctpop(builder.bitcast(is_near, ir.IntType(LINE)))
                builder.store(builder.add(now, builder.zext(count, word)), place)

            length = builder.sub(values[4], values[3])
            whole = builder.and_(length, number(-LINE))
            with cgutils.for_range_slice(builder, number(0), whole, number(LINE)) as (begin, _):
                shown = pointer(2, builder.add(values[3], begin), words, word)
                take(builder.load(shown, align=8), begin)
            with builder.if_then(builder.icmp_unsigned("<", whole, length)):
                # the last ones with whatever lies behind them, or before them at the end of the records
                array = context.make_array(signature.args[2])(context, builder, values[2])
                most = builder.sub(builder.extract_value(array.shape, 0), number(LINE))
                at = builder.add(values[3], whole)
                at = builder.select(builder.icmp_signed("<", at, most), at, most)
                begin = builder.sub(at, values[3])
                places = builder.add(spread(builder, builder.trunc(begin, single)), lanes)
                valid = builder.and_(
                    builder.icmp_signed(">=", places, spread(builder, builder.trunc(whole, single))),
                    builder.icmp_signed("<", places, spread(builder, builder.trunc(length, single))),
                )
                take(builder.load(pointer(2, at, words, word), align=8), begin, valid)
            return builder.load(place)

        return signature, generate

    return near


def fetch_ahead() -> Any:
    """Return what asks for the cache line of a value of an array before it is needed, compiled."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils as untyped
    from numba.extending import intrinsic

    cgutils: Any = untyped
    single, pointer = ir.IntType(32), ir.IntType(8).as_pointer()

    @intrinsic
    def fetch(_: Any, values: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, given[0])
            kind = ir.FunctionType(ir.VoidType(), [pointer, single, single, single])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
            place = builder.bitcast(builder.gep(array.data, [given[1]]), pointer)
            # to read, into all caches, as data
            builder.call(function, [place, *(ir.Constant(single, value) for value in (0, 3, 1))])
            return context.get_dummy_value()

        return types.void(values, at), generate

    return fetch
