"""Modules of WebAssembly inside of an enclave: a user's function over the owners' tables, under fuel and a limit of memory.

Imported before confinement; part of the measurement. The module runs in Wasmtime's interpreter (Pulley), as confined memory can
never be made executable: about fifteen times slower than compiled code, and with the same results. It imports nothing, so that all
it can do is compute. Every result is a function of its input: NaNs are made canonical; threads, shared memory and relaxed SIMD are
off.

A module exports ``memory``, ``allocate(size: i32) -> i32``, which gives a place for the input, and ``run(place: i32, size: i32) ->
i64``, which gives the output's place in the upper and its length in the lower 32 bits. The input is all tables
(:mod:`~tallystick_node.engines.tee.tables`), one after the other in the order of the task's inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wasmtime import Config, Engine, Func, Instance, Memory, Module, Store, Trap, TrapCode, WasmtimeError

from tallystick_node.engines.tee.reasons import (
    AlgorithmFailed,
    AlgorithmRefused,
    OutOfFuel,
    OutOfHeap,
    OutputTooLarge,
    TooFewRows,
)
from tallystick_node.engines.tee.tables import decode

_WORD = 0xFFFFFFFF


def _engine() -> Engine:
    config = Config()
    config.target = "pulley64"
    config.consume_fuel = True
    config.cranelift_nan_canonicalization = True
    config.parallel_compilation = False
    config.signals_based_traps = False
    config.memory_init_cow = False
    config.memory_reservation = config.memory_guard_size = config.memory_reservation_for_growth = 0
    config.shared_memory = config.wasm_threads = config.wasm_relaxed_simd = config.wasm_memory64 = False
    config.wasm_multi_memory = config.wasm_gc = config.wasm_exceptions = config.wasm_component_model = False
    return Engine(config)


_ENGINE = _engine()


def run(algorithm: bytes, inputs: Sequence[bytes], limits: Mapping[str, int]) -> bytes:
    """What the module gives for the tables. Raises a :class:`~tallystick_node.engines.tee.reasons.NoResult`."""
    if any(decode(data).rows < limits["minimum_group"] for data in inputs):
        raise TooFewRows
    module = loaded(algorithm)
    store = Store(_ENGINE)
    store.set_fuel(limits["fuel"])
    store.set_limits(memory_size=limits["heap"], table_elements=1 << 20, instances=1, tables=16, memories=1)
    try:
        exports = Instance(store, module, []).exports(store)
    except Trap as trap:
        raise _named(trap) from None
    except WasmtimeError:
        raise OutOfHeap from None  # all that is left to fail: its first memory or table is beyond the limits
    memory, allocate, function = exports["memory"], exports["allocate"], exports["run"]
    assert isinstance(memory, Memory) and isinstance(allocate, Func) and isinstance(function, Func)
    data = b"".join(inputs)
    try:
        place = allocate(store, len(data)) & _WORD
        if place + len(data) > memory.data_len(store):
            raise OutOfHeap
        memory.write(store, data, place)
        given = function(store, place, len(data))
    except Trap as trap:
        raise _named(trap) from None
    start, size = given >> 32 & _WORD, given & _WORD
    if size > limits["output"]:
        raise OutputTooLarge
    if start + size > memory.data_len(store):
        raise AlgorithmFailed("the output is not in the module's memory")
    return bytes(memory.read(store, start, start + size))


def loaded(algorithm: bytes) -> Module:
    """The module, if it is one that may run. Raises :class:`AlgorithmRefused`."""
    if not algorithm.startswith(b"\0asm"):
        raise AlgorithmRefused("not a module of WebAssembly")
    try:
        module = Module(_ENGINE, algorithm)
    except WasmtimeError as error:
        raise AlgorithmRefused(str(error)) from None
    if module.imports:
        raise AlgorithmRefused("the module imports something, and there is nothing to import")
    found = {each.name: str(each.type) for each in module.exports}
    wanted = {"allocate": (["i32"], ["i32"]), "run": (["i32", "i32"], ["i64"])}
    for name, (parameters, results) in wanted.items():
        kind = next((each.type for each in module.exports if each.name == name), None)
        if [str(each) for each in getattr(kind, "params", ["?"])] != parameters or [
            str(each) for each in getattr(kind, "results", ["?"])
        ] != results:
            raise AlgorithmRefused(f"the module exports no function {name} from {parameters} to {results}")
    if "memory" not in found:
        raise AlgorithmRefused("the module exports no memory")
    return module


def _named(trap: Trap) -> AlgorithmFailed | OutOfFuel:
    return OutOfFuel() if trap.trap_code == TrapCode.OUT_OF_FUEL else AlgorithmFailed(str(trap))
