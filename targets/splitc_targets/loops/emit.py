# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Loops as rules write them: a small builder over TVM's tensor IR.

Rules say which loops run and which values sit in registers; TVM lowers and LLVM allocates
registers. Arrays are flat: an index counts elements from the tensor's first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import tvm
from tvm import tirx

from splitc_targets.graph.graph import NARROW
from splitc_targets.loops import bfloat16
from splitc_targets.loops.bfloat16 import BF16
from splitc_targets.loops.tir_pipeline import NAME as PIPELINE
from splitc_targets.loops.tir_pipeline import WRITTEN

if TYPE_CHECKING:
    from splitc_targets.machine.core import MultiplyAdd

Index = Any
"""An `int` or an integer expression."""
Value = Any
"""A vector or scalar expression."""

_SERIAL, _PARALLEL = 0, 1

BOOL = "bool"

_ON_STACK = 128
"""Elements up to which TVM puts an array on the stack, where LLVM turns it into registers.

TVM's own limit is below 1024 bytes in the scope "global"; what is larger or in the scope "local"
comes from its pool of workspaces: memory that is written even where registers hold it.
"""


@lru_cache(4096)
def const(value: int) -> Any:
    """An integer constant."""
    return tirx.IntImm("int32", value)


def index(value: Index) -> Any:
    """An index as an expression."""
    return const(value) if isinstance(value, int) else value


def div(a: Index, b: int) -> Index:
    """Integer quotient of non-negative numbers."""
    if b == 1:
        return a
    return a // b if isinstance(a, int) else tirx.indexdiv(a, const(b))


def mod(a: Index, b: int) -> Index:
    """Integer remainder of non-negative numbers."""
    if b == 1:
        return 0
    return a % b if isinstance(a, int) else tirx.indexmod(a, const(b))


def least(a: Index, b: Index) -> Index:
    """The smaller index."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return tirx.min(index(a), index(b))


def most(a: Index, b: Index) -> Index:
    """The larger index."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return tirx.max(index(a), index(b))


def typed(dtype: str, lanes: int) -> str:
    """The vector type of so many lanes."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def number(value: float, lanes: int, dtype: str = "float32") -> Value:
    """A constant in every lane."""
    one = tirx.const(value, dtype)
    return one if lanes == 1 else tirx.Broadcast(one, const(lanes))


def polynomial(x: Value, coefficients: Sequence[float], lanes: int) -> Value:
    """Horner's scheme in float32, highest power first."""
    result = number(coefficients[0], lanes)
    for coefficient in coefficients[1:]:
        result = result * x + number(coefficient, lanes)
    return result


def copysign(size: Value, sign: Value) -> Value:
    """A float with the sign of another."""
    return tirx.call_llvm_pure_intrin(str(size.ty.dtype), "llvm.copysign", size, sign)


def splat(value: Value, lanes: int) -> Value:
    """A scalar in every lane."""
    return value if lanes == 1 else tirx.Broadcast(value, const(lanes))


def lane(value: Value, position: int, lanes: int) -> Value:
    """One lane of a vector, in every lane of a vector of `lanes`."""
    return tirx.Shuffle([value], [const(position)] * lanes)


def shuffle(values: Sequence[Value], positions: Sequence[int]) -> Value:
    """Lanes picked from the concatenation of vectors."""
    return tirx.Shuffle(list(values), [const(p) for p in positions])


def transposed(code: Code, rows: Sequence[Value]) -> list[Value]:
    """The columns of a square of vectors, as many as each has lanes: a power of two."""
    lanes = len(rows)
    found, half = list(rows), 1
    while half < lanes:
        # Blocks of that side change places across the diagonal, in all blocks twice as large.
        low = [j if not j & half else lanes + j - half for j in range(lanes)]
        high = [j + half if not j & half else lanes + j for j in range(lanes)]
        for i in range(lanes):
            if not i & half:
                pair = found[i], found[i + half]
                found[i] = code.bind(shuffle(pair, low), "low")
                found[i + half] = code.bind(shuffle(pair, high), "high")
        half *= 2
    return found


def first(
    value: Value, used: int, rest: float, lanes: int, dtype: str = "float32"
) -> Value:  # fmt: skip
    """The first lanes of a vector; the others are `rest`."""
    if used >= lanes:
        return value
    count = tirx.Ramp(const(0), const(1), const(lanes))
    kept = tirx.LT(count, tirx.Broadcast(const(used), const(lanes)))
    return tirx.Select(kept, value, number(rest, lanes, dtype))


def across(code: Code, value: Value, lanes: int, combine: Callable[[Value, Value], Value]) -> Value:
    """A vector's lanes combined into a scalar, by halves."""
    while lanes > 1:
        lanes //= 2
        low, high = shuffle([value], range(lanes)), shuffle([value], range(lanes, 2 * lanes))
        value = code.bind(combine(low, high), "half")
    return value


def fma(a: Value, b: Value, c: Value, dtype: str, *, fused: bool = True) -> Value:
    """a * b + c, as one instruction where the target has it."""
    return tirx.call_llvm_pure_intrin(dtype, "llvm.fma", a, b, c) if fused else a * b + c


def fence(value: Value) -> Value:
    """The value, which what is computed of it is not simplified or contracted with."""
    return tirx.call_llvm_pure_intrin(str(value.ty.dtype), "llvm.arithmetic.fence", value)


def stored(dtype: str) -> str:
    """The element type that kernels know an array's memory by.

    Of bfloat16 TVM has no arithmetic; truth values are bytes, and go into vectors as such.
    """
    return {BF16: "uint16", BOOL: "uint8"}.get(dtype, dtype)


def multiply_add(row: MultiplyAdd, reads: Value, weights: Value, sums: Value) -> Value:
    """sums + reads * weights by one instruction.

    Args:
        row: The instruction. Where a lane's sum takes several products, the lanes of both
            factors are int32, each of so many elements.
        reads: Activations.
        weights: Weights.
        sums: What is added to.
    """
    values = {"reads": reads, "weights": weights, "sums": sums}
    if row.reads == BF16:
        name = bfloat16.multiply_add_name(row)
        given = [values[operand] for operand in row.operands]
        return tirx.call_pure_extern(typed(row.sums, row.lanes), name, *given)
    if row.group > 1:
        wide = typed("int8", row.group * row.lanes)  # LLVM's have no sign.
        values |= {name: tirx.reinterpret(wide, values[name]) for name in ("reads", "weights")}
    return tirx.call_llvm_pure_intrin(
        typed(row.sums, row.lanes), row.intrinsic, *(values[name] for name in row.operands)
    )


def converted(value: Value, source: str, dtype: str, lanes: int) -> Value:
    """A value in another type; a float for a narrow integer by way of 32 bits, so that it wraps."""
    if source == dtype:
        return value
    if dtype == BOOL:
        zero = number(0, lanes, stored(source))
        one, none = (number(truth, lanes, stored(BOOL)) for truth in (1, 0))
        return tirx.Select(tirx.EQ(value, zero), none, one)
    if source == BF16:
        high = tirx.Cast(typed("uint32", lanes), value) << _all(16, lanes)
        return converted(tirx.reinterpret(typed("float32", lanes), high), "float32", dtype, lanes)
    if dtype == BF16:
        value = converted(value, source, "float32", lanes)
        name = bfloat16.rounding_name(lanes)
        return tirx.call_pure_extern(typed(stored(BF16), lanes), name, value)
    if source.startswith("float") and dtype in ("int8", "uint8", "int16", "uint16"):
        value = tirx.Cast(typed("int32", lanes), value)
    return tirx.Cast(typed(dtype, lanes), value)


def _all(value: int, lanes: int) -> Value:
    return splat(tirx.const(value, "uint32"), lanes)


def maximum(a: Value, b: Value) -> Value:
    """The larger; not-a-number where the second is, and for the first as the target has it."""
    return _bound("llvm.maximum", tirx.max, a, b)


def minimum(a: Value, b: Value) -> Value:
    """The smaller; not-a-number where the second is, and for the first as the target has it."""
    return _bound("llvm.minimum", tirx.min, a, b)


def largest(a: Value, b: Value) -> Value:
    """The larger; a where b is not a number."""
    return _bound("llvm.maxnum", tirx.max, b, a)


def larger(a: Value, b: Value) -> Value:
    """The larger; not-a-number where either is."""
    return tirx.call_llvm_pure_intrin(str(b.ty.dtype), "llvm.maximum", a, b)


def smaller(a: Value, b: Value) -> Value:
    """The smaller; not-a-number where either is."""
    return tirx.call_llvm_pure_intrin(str(b.ty.dtype), "llvm.minimum", a, b)


def _bound(intrinsic: str, usual: Callable[[Value, Value], Value], a: Value, b: Value) -> Value:
    """One instruction where the target in scope is AArch64, which LLVM would not find by itself.

    A comparison and a choice, as TVM writes it, is one instruction on x86-64 only.
    """
    dtype = str(b.ty.dtype)
    if not on_aarch64() or not dtype.startswith("float32"):
        return usual(a, b)
    return tirx.call_llvm_pure_intrin(dtype, intrinsic, a, b)


def on_aarch64() -> bool:
    """Whether the target in scope is AArch64."""
    target = tvm.target.Target.current(allow_none=True)
    return target is not None and str(target.attrs.get("mtriple", "")).startswith("aarch64")


class Array:
    """A flat tensor that a kernel reads or writes."""

    def __init__(self, buffer: Any, dtype: str = "") -> None:
        self.buffer = buffer
        self.dtype = dtype or str(buffer.dtype)

    def piece(self, i: Index) -> tuple[Any, Index]:
        """The buffer that holds an element, and where in it."""
        return self.buffer, i

    def at(self, i: Index, lanes: int = 1, used: int | None = None) -> Value:
        """Elements from `i` on, `lanes` of them; of the last ones only `used` are read."""
        buffer, i = self.piece(i)
        if used is not None and used < lanes:
            where, mask = _masked(i, lanes, used)
            return tirx.op.masked_load(typed(stored(self.dtype), lanes), buffer, where, mask)
        where = index(i) if lanes == 1 else tirx.Ramp(index(i), const(1), const(lanes))
        return tirx.BufferLoad(buffer, [where])

    def number(self, i: Index, lanes: int = 1, used: int | None = None) -> Value:
        """Elements as `at` gives them, as floats."""
        return converted(self.at(i, lanes, used), self.dtype, "float32", lanes)

    def numbers(self, i: Index, lanes: int, count: int) -> Value:
        """So many vectors from `i` on, as one of floats."""
        vectors = [self.number(i + k * lanes, lanes) for k in range(count)]
        return vectors[0] if count == 1 else shuffle(vectors, range(count * lanes))

    def everywhere(self, i: Index, lanes: int) -> Value:
        """Element `i` in every lane."""
        buffer, i = self.piece(i)
        return splat(tirx.BufferLoad(buffer, [index(i)]), lanes)

    def address(self, i: Index) -> Value:
        """Where element `i` lies."""
        buffer, i = self.piece(i)
        return tirx.address_of(tirx.BufferLoad(buffer, [index(i)]))

    def spaced(self, i: Index, step: Index, lanes: int) -> Value:
        """`lanes` elements from `i` on, `step` apart."""
        if lanes == 1:
            return self.at(i)
        return tirx.BufferLoad(self.buffer, [tirx.Ramp(index(i), index(step), const(lanes))])


class From(Array):
    """What of an array follows an element, numbered from there on."""

    def __init__(self, whole: Array, first: Index) -> None:
        super().__init__(whole.buffer, whole.dtype)
        self.whole, self.first = whole, first

    def piece(self, i: Index) -> tuple[Any, Index]:
        """The buffer that holds an element, and where in it."""
        return self.whole.piece(self.first + i)


class Words(Array):
    """An array of bytes in elements of four, or of 16 bits in elements of two, each an int32."""

    def __init__(self, array: Array, count: int) -> None:
        super().__init__(array.buffer, "int32")
        self.count = count

    def at(self, i: Index, lanes: int = 1, used: int | None = None) -> Value:
        """Elements from `i` on, `lanes` of them."""
        where = tirx.Ramp(index(i * self.count), const(1), const(self.count * lanes))
        return tirx.reinterpret(typed("int32", lanes), tirx.BufferLoad(self.buffer, [where]))

    def piece(self, i: Index) -> tuple[Any, Index]:
        """The buffer that holds an element, and where in it that begins."""
        return self.buffer, i * self.count

    def everywhere(self, i: Index, lanes: int) -> Value:
        """Element `i` in every lane."""
        return splat(self.at(i), lanes)


class Registers(Array):
    """An array in pieces small enough for the stack; elements are named by constants.

    A vector that starts at a multiple of its lanes lies in one piece.
    """

    def __init__(self, pieces: Sequence[Any]) -> None:
        super().__init__(pieces[0])
        self.pieces = pieces

    def piece(self, i: Index) -> tuple[Any, Index]:
        """The buffer that holds an element, and where in it."""
        if len(self.pieces) == 1:
            return self.buffer, i
        number, i = divmod(i, _ON_STACK)
        return self.pieces[number], i


_BYTES_OR_HALVES = {*NARROW, BOOL}


def _masked(i: Index, lanes: int, used: int) -> tuple[Any, Any]:
    where = tirx.Ramp(index(i), const(1), const(lanes))
    count = tirx.Ramp(const(0), const(1), const(lanes))
    return where, tirx.LT(count, tirx.Broadcast(const(used), const(lanes)))


class Code:
    """Statements in the order they run; loops are `with` blocks."""

    def __init__(self) -> None:
        self._open: list[list[Any]] = [[]]
        self._names = 0

    def add(self, statement: Any) -> None:
        """Append a statement."""
        self._open[-1].append(statement)

    def include(self, text: str) -> None:
        """Have functions, as LLVM's assembly has them, at hand for calls by name.

        They are written where they are called, and nowhere else.
        """
        zero, nothing = const(0), tirx.Evaluate(const(0))
        self.add(tirx.AttrStmt(zero, "pragma_import_llvm", tvm.ir.StringImm(text), nothing))

    def call(self, name: str, *arguments: Value | int) -> None:
        """Call a function that gives nothing, by its name; numbers are of 64 bits."""
        given = [tirx.IntImm("int64", a) if isinstance(a, int) else a for a in arguments]
        self.add(tirx.Evaluate(tirx.call_extern("void", name, *given)))

    def stretches(self, count: int, step: int, write: Callable[[Index, int], None]) -> None:
        """`write` code for (first, how many) of so many things: `step` at a time, then the rest."""
        whole = count // step
        with self.loop("c", whole) as c:
            write(self.bind(c * step), step)
        if count % step:
            write(whole * step, count % step)

    def prefetch(self, address: Value) -> None:
        """Have L2 fetch a line that is read later; no address is wrong, the last ones or beyond."""
        read, to_l2, data = const(0), const(2), const(1)
        fetched = tirx.call_intrin("void", "tirx.prefetch", address, read, to_l2, data)
        self.add(tirx.Evaluate(fetched))

    def bind(self, value: Value, name: str = "v") -> Value:
        """Name a value, so that using it again does not compute it again."""
        if isinstance(value, int):
            return value
        self._names += 1
        var = tirx.Var(f"{name}{self._names}", value.ty)
        self.add(tirx.Bind(var, value))
        return var

    def store(
        self, array: Array, i: Index, value: Value, lanes: int = 1, used: int | None = None
    ) -> None:
        """Write a value's lanes from element `i` on; of the last ones only `used`."""
        buffer, i = array.piece(i)
        if used is not None and used < lanes and array.dtype in _BYTES_OR_HALVES:
            self._store_pieces(array, i, value, used)
            return
        if used is not None and used < lanes:
            where, mask = _masked(i, lanes, used)
            self.add(tirx.Evaluate(tirx.op.masked_store(buffer, value, where, mask)))
            return
        where = index(i) if lanes == 1 else tirx.Ramp(index(i), const(1), const(lanes))
        self.add(tirx.BufferStore(buffer, value, [where]))

    def _store_pieces(self, array: Array, i: Index, value: Value, used: int) -> None:
        """Write a vector's first lanes in powers of two.

        A masked store of one byte writes four, where LLVM merges it with the narrowing before.
        """
        value, first = self.bind(value, "bytes"), 0
        while first < used:
            count = 1 << ((used - first).bit_length() - 1)
            self.store(array, i + first, shuffle([value], range(first, first + count)), count)
            first += count

    @contextlib.contextmanager
    def loop(
        self, name: str, count: Index, *, start: Index = 0, parallel: bool = False
    ) -> Iterator[Index]:
        """A loop over `start … start + count - 1`; no loop where count is 1, nothing where 0."""
        if isinstance(count, int) and count == 1:
            yield start
            return
        if isinstance(count, int) and count == 0:
            self._open.append([])
            yield start
            self._open.pop()
            return
        self._names += 1
        var = tirx.Var(f"{name}{self._names}", "int32")
        self._open.append([])
        yield var
        body = _sequence(self._open.pop())
        kind = tirx.ForKind(_PARALLEL if parallel else _SERIAL)
        self.add(tirx.For(var, index(start), index(count), kind, body))

    @contextlib.contextmanager
    def when(self, condition: Any) -> Iterator[None]:
        """Statements that run where a condition holds."""
        self._open.append([])
        yield
        body = _sequence(self._open.pop())
        self.add(tirx.IfThenElse(condition, body, None))

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Statements of their own, for values that must not outlive them."""
        self._open.append([])
        yield
        self.add(_sequence(self._open.pop()))

    def local(self, count: int, dtype: str = "float32", name: str = "acc") -> Array:
        """A small array of this thread that LLVM keeps in registers; indices are constants."""
        pieces: list[Any] = []
        for size in [_ON_STACK] * (count // _ON_STACK) + [count % _ON_STACK]:
            if size:
                self._names += 1
                pieces.append(tirx.decl_buffer((size,), dtype, name=f"{name}{self._names}"))
                self.add(tirx.AllocBuffer(pieces[-1]))
        return Registers(pieces)

    def scratch(self, count: int, dtype: str = "float32", name: str = "scratch") -> Array:
        """An array in memory, this thread's own."""
        self._names += 1
        buffer = tirx.decl_buffer((count,), dtype, name=f"{name}{self._names}", scope="global")
        self.add(tirx.AllocBuffer(buffer))
        return Array(buffer)

    def body(self) -> Any:
        """Everything added so far."""
        (statements,) = self._open
        return _sequence(statements)


def _sequence(statements: list[Any]) -> Any:
    if not statements:
        return tirx.Evaluate(const(0))
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(statements)


@dataclass(frozen=True)
class Argument:
    """A kernel's parameter: shape as the caller hands it over, and element type."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


def function(name: str, arguments: Sequence[Argument], write: Any) -> Any:
    """A kernel: `write(code, *arrays)` adds its statements.

    Arguments may lie anywhere in an arena (any element offset), and none overlaps another
    in what is written.
    """
    buffers, arrays, views = [], [], []
    for argument in arguments:
        offset = tirx.Var(f"{argument.name}_at", "int32")
        buffer = tirx.decl_buffer(
            argument.shape, stored(argument.dtype), name=argument.name,
            elem_offset=offset, offset_factor=1,
        )  # fmt: skip
        count = 1
        for size in argument.shape:
            count *= size
        if len(argument.shape) == 1:
            flat = buffer
        else:
            flat = tirx.decl_buffer(
                (count,), stored(argument.dtype), name=f"{argument.name}_flat",
                data=buffer.data, elem_offset=offset,
            )  # fmt: skip
            views.append(tirx.DeclBuffer(flat, data=buffer.data))
        buffers.append(buffer)
        arrays.append(Array(flat, argument.dtype))
    code = Code()
    if any(argument.dtype == BF16 for argument in arguments):
        code.include(bfloat16.ROUNDING)
    for view in views:
        code.add(view)
    write(code, *arrays)
    made = tirx.PrimFunc(buffers, code.body())
    return made.with_attr({"global_symbol": name, "tirx.noalias": True, WRITTEN: True})


def compile_alone(made: Any, target: Any) -> Any:
    """One kernel as a module that can be called and whose assembly can be read."""
    with target:
        module = tvm.IRModule({"main": made.with_attr("global_symbol", "main")})
        return tvm.tirx.build(module, target=target, pipeline=PIPELINE)
