"""One operation of SPU among processes over loopback (plain TCP), run by the interpreter of SPU's own environment.

``spu_mpc.py PROTOCOL OPERATION SIZE REPEATS`` compiles the operation with JAX, shares random inputs, starts one process for each
party, and prints one line of JSON: seconds of each repetition from the barrier to the end of the last party, user and system
seconds of all parties together, bytes and messages of one repetition by SPU's own link statistics, and the largest error against
NumPy. Inputs and results stay shared. The first repetition, which sets up, is left out. Ring of 64 bits, 18 fraction bits, else
defaults.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

PARTIES = {"ABY3": 3, "SEMI2K": 2, "CHEETAH": 2}
SECONDS = 900
STATISTICS = re.compile(r"total send bytes (\d+), recv bytes \d+, send actions (\d+)")


def configuration(protocol: str) -> Any:
    """What all parties run with."""
    import spu.libspu as spu

    kind = getattr(spu.ProtocolKind, protocol)
    return spu.RuntimeConfig(protocol=kind, field=spu.FieldType.FM64, fxp_fraction_bits=18)


def operation(name: str, size: int) -> tuple[Any, list[Any], Any]:
    """A JAX function, its inputs, and what NumPy makes of them."""
    import jax
    import jax.numpy as jnp

    order = np.random.default_rng(1)

    def real(*shape: int) -> Any:
        return order.uniform(-4, 4, shape).astype(np.float32)

    def whole(*shape: int) -> Any:
        return order.integers(-1000, 1000, shape).astype(np.int32)

    if name == "mul":
        return lambda a, b: a * b, [whole(size), whole(size)], np.multiply
    if name == "fixed-mul":
        return lambda a, b: a * b, [real(size), real(size)], np.multiply
    if name == "matmul":
        return jnp.matmul, [real(size, size) / 4, real(size, size) / 4], np.matmul
    if name == "less":
        return lambda a, b: a < b, [real(size), real(size)], np.less
    if name == "sigmoid":
        return jax.nn.sigmoid, [real(size)], lambda a: 1 / (1 + np.exp(-a))
    if name == "sort":
        return jnp.sort, [real(size)], np.sort
    if name == "lr":
        width, batch, epochs = 100, 1024, 10
        features = (order.normal(size=(size, width)) / 3).astype(np.float32)
        labels = (features @ order.normal(size=width) > 0).astype(np.float32)

        def train(xp: Any, sigmoid: Any, x: Any, y: Any) -> Any:
            weights, bias = xp.zeros(width), 0.0
            for _ in range(epochs):
                for start in range(0, size, batch):
                    part = x[start : start + batch]
                    error = sigmoid(part @ weights + bias) - y[start : start + batch]
                    weights = weights - 0.5 / batch * (part.T @ error)
                    bias = bias - 0.5 / batch * xp.sum(error)
            return weights

        def plain(x: Any, y: Any) -> Any:
            return train(np, lambda z: 1 / (1 + np.exp(-z)), x, y)

        return lambda x, y: train(jnp, jax.nn.sigmoid, x, y), [features, labels], plain
    raise SystemExit(f"there is no operation {name}")


def party(rank: int, protocol: str, folder: Path, repeats: int, ports: list[int]) -> None:
    """One side."""
    import spu.api as api
    import spu.libspu as spu

    executable = spu.Executable()
    executable.ParseFromString((folder / "executable").read_bytes())
    names, shares = pickle.loads((folder / f"shares{rank}").read_bytes())
    description = spu.link.Desc()
    description.recv_timeout_ms = description.http_timeout_ms = SECONDS * 1000
    for number, port in enumerate(ports):
        description.add_party(f"p{number}", f"127.0.0.1:{port}")
    context = spu.link.create_brpc(description, rank)

    settings = configuration(protocol)
    settings.enable_pphlo_profile = True  # writes the statistics of the links
    runtime = api.Runtime(context, settings)
    for name, (meta, chunks) in zip(names, shares, strict=True):
        share = spu.Share()
        share.meta, share.share_chunks = meta, chunks
        runtime.set_var(name, share)
    for number in range(repeats + 1):
        context.barrier()
        time.sleep(0.02)
        begin, cpu = time.perf_counter(), time.process_time()
        runtime.run(executable)
        times = {"number": number, "begin": begin, "end": time.perf_counter(), "cpu": time.process_time() - cpu}
        sys.stdout.write("RESULT " + json.dumps(times) + "\n")
        sys.stdout.flush()
    output = runtime.get_var("out0")
    (folder / f"output{rank}").write_bytes(pickle.dumps((output.meta, list(output.share_chunks))))
    context.barrier()
    context.stop_link()
    os._exit(0)


def main() -> None:
    """All sides."""
    protocol, name, size, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    if len(sys.argv) > 5:
        ports = [int(port) for port in sys.argv[7:]]
        party(int(sys.argv[5]), protocol, Path(sys.argv[6]), repeats, ports)
    os.environ["JAX_PLATFORMS"] = "cpu"
    import spu.api as api
    import spu.libspu as spu
    import spu.utils.frontend as frontend

    function, inputs, reference = operation(name, size)
    names = [f"in{number}" for number in range(len(inputs))]
    secret = spu.Visibility.VIS_SECRET
    executable, _ = frontend.compile(
        frontend.Kind.JAX, function, inputs, {}, names, [secret] * len(inputs), lambda found: [f"out{n}" for n in range(len(found))]
    )
    parties = PARTIES[protocol]
    shared = api.Io(parties, configuration(protocol))
    shares = [shared.make_shares(each, secret) for each in inputs]
    sockets = [socket.socket() for _ in range(parties)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "executable").write_bytes(executable.SerializeToString())
        for rank in range(parties):
            mine = [(each[rank].meta, list(each[rank].share_chunks)) for each in shares]
            (folder / f"shares{rank}").write_bytes(pickle.dumps((names, mine)))
        command = [sys.executable, __file__, protocol, name, str(size), str(repeats)]
        logs = [(folder / f"log{rank}").open("w+") for rank in range(parties)]
        sides = [
            subprocess.Popen([*command, str(rank), str(folder), *ports], stdout=logs[rank], stderr=subprocess.STDOUT)
            for rank in range(parties)
        ]
        _wait(sides)
        texts = []
        for log in logs:
            log.seek(0)
            texts.append(log.read())
        if any(side.returncode for side in sides):
            sys.exit("SPU did not finish:\n" + "\n".join(text[-1500:] for text in texts))
        outputs = []
        for rank in range(parties):
            share = spu.Share()
            share.meta, share.share_chunks = pickle.loads((folder / f"output{rank}").read_bytes())
            outputs.append(share)
    error = np.max(np.abs(shared.reconstruct(outputs).astype(float) - np.asarray(reference(*inputs)).astype(float)))
    sys.stdout.write(json.dumps({**_summary(texts, repeats), "error": float(error)}) + "\n")


def _wait(sides: list[subprocess.Popen[bytes]]) -> None:
    """Return when all sides are done, or one has failed: the others would wait for it."""
    give_up = time.monotonic() + SECONDS
    states = [side.poll() for side in sides]
    while None in states and not any(states) and time.monotonic() < give_up:
        time.sleep(0.05)
        states = [side.poll() for side in sides]
    for side in sides:
        side.kill()
        side.wait()


def _summary(texts: list[str], repeats: int) -> dict[str, Any]:
    runs: list[list[dict[str, Any]]] = [[] for _ in range(repeats + 1)]
    for text in texts:
        for line in text.splitlines():
            if line.startswith("RESULT "):
                found = json.loads(line.removeprefix("RESULT "))
                runs[found["number"]].append(found)
    links = [STATISTICS.findall(text)[-1] for text in texts]
    return {
        "seconds": [max(each["end"] for each in run) - min(each["begin"] for each in run) for run in runs[1:]],
        "cpu": [sum(each["cpu"] for each in run) for run in runs[1:]],
        "bytes": sum(int(size) for size, _ in links),
        "messages": max(int(number) for _, number in links),
    }


if __name__ == "__main__":
    main()
