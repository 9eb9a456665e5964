"""What a software enclave is made of, and its measurement.

The measurement covers the bytes that are sent to the fresh interpreter (loader, confinement, worker), the algorithm, the
interpreter with every module and every library of a package that it loads, and the limits. One changed byte of any is another
enclave.
What it does not cover: the kernel, the dynamic linker and the C libraries of the host, which a simulation has to trust.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tallystick.attestation import runs

from tallystick_node.engines.tee import confinement
from tallystick_node.engines.tee.worker import KINDS

_HERE = Path(__file__).parent
_DOMAIN = b"tallystick/tee/measurement/v1"
_CONFIGURATION = b"tallystick/tee/configuration/v1"
_CONDITIONS = b"tallystick/tee/conditions/v1"
_FRESH = b"tallystick/tee/fresh/v1"

# Isolated, and from sources alone: a compiled copy beside a source would be loaded and not measured.
INTERPRETER = (sys.executable, "-I", "-S", "-B", "-X", f"pycache_prefix={os.devnull}")
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # confined code can start no thread
LOADER = """
import json, os, sys
sys.path += json.loads(sys.argv[3])["paths"]
def exactly(n):
    parts = b""
    while len(parts) < n:
        part = os.read(int(sys.argv[1]), n - len(parts))
        if not part: os._exit(3)
        parts += part
    return parts
space = {"__name__": "enclave"}
for _ in range(2):
    source = exactly(int.from_bytes(exactly(4), "big"))
    exec(compile(source, "enclave", "exec", dont_inherit=True), space)
"""

MODULES = (
    "bisect", "collections", "csv", "datetime", "decimal", "fractions", "functools", "hashlib", "heapq", "io", "itertools", "json",
    "math", "operator", "re", "statistics", "string", "struct", "tallystick_node.engines.tee.tables", "typing",
)  # fmt: skip
_OWN_MODULES = (
    "tallystick_node.engines.tee.locked",
    "tallystick_node.engines.tee.reasons",
    "tallystick_node.engines.tee.tables",
    "collections.abc", "contextlib", "ctypes", "importlib", "json", "os", "resource", "select", "struct", "sys", "typing",
    "tallystick.attestation.runs",
)  # fmt: skip
_LIST_FILES = """
import importlib, json, os, sys
sys.path += json.loads(sys.argv[2])
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
files = {(name, getattr(module, "__file__", None)) for name, module in sys.modules.items()}
files.add(("sys.executable", os.path.realpath(sys.executable)))
for line in open("/proc/self/maps"):
    path = line.split(maxsplit=5)[5].strip() if line.count("/") else ""
    for place in json.loads(sys.argv[2]):
        if path.startswith(place + "/"):
            files.add(("mapped " + path[len(place) + 1:], path))
print(json.dumps([[name, path] for name, path in files if path]))
"""
LISTING = 180.0  # seconds: of what training loads five alone, as sources alone are read, and many times that beside other work
# Where installed packages are, and the SDK and this package, which may be installed in place.
PATHS = sorted(
    {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(Path(runs.__file__).parents[2]), str(_HERE.parents[2])}
)
REQUIRED = frozenset(
    {confinement.NO_NEW_PRIVILEGES, confinement.NON_DUMPABLE, confinement.LIMITS, confinement.SECCOMP, confinement.UNPRIVILEGED}
)


@dataclass(frozen=True)
class Limits:
    """``memory`` in bytes of address space, ``seconds`` of processor time, ``frame`` in bytes of one sealed input or output.

    For all kinds but Python also: ``heap`` in bytes that they work in, ``fuel`` in WebAssembly instructions, ``output`` in bytes,
    and ``minimum_group``, the fewest rows of an input, and the smallest group of a query's result or that a model is fitted to.
    """

    memory: int = 1 << 30
    seconds: int = 60
    frame: int = 64 << 20
    heap: int = 0
    fuel: int = 0
    output: int = 64 << 20
    minimum_group: int = 0


@dataclass(frozen=True)
class EnclaveManifest:
    """One algorithm in its enclave, of a ``kind`` of :data:`~tallystick_node.engines.tee.worker.KINDS`. ``publisher`` is SHA-256 of
    the publisher's public key; ``features`` are what confinement is tried, ``required`` what must be in force or the enclave does
    not start."""

    algorithm: bytes
    publisher: bytes
    kind: str = "python"
    product: int = 0
    version: int = 0
    limits: Limits = Limits()
    modules: tuple[str, ...] = MODULES
    features: tuple[str, ...] = confinement.FEATURES
    required: frozenset[str] = REQUIRED

    def __post_init__(self) -> None:
        if len(self.publisher) != 32:
            raise ValueError("a publisher is named by 32 bytes")
        if not self.required <= set(self.features) or not set(self.features) <= set(confinement.FEATURES):
            raise ValueError("features are those of confinement, and what is required must be tried")
        if self.kind not in KINDS:
            raise ValueError(f"an algorithm is of kind {', '.join(KINDS)}")

    @property
    def loaded(self) -> tuple[str, ...]:
        """The modules that are imported before confinement: those that an algorithm may use, and the one that runs its kind."""
        return (*self.modules, KINDS[self.kind]) if KINDS[self.kind] else self.modules

    @property
    def conditions(self) -> bytes:
        """What stands for the algorithm and its limits in evidence before a run: there is evidence that does not measure them, as
        that of a confidential VM, which measures the launcher."""
        value = {"algorithm": hashlib.sha256(self.algorithm).hexdigest(), "kind": self.kind, "limits": vars(self.limits)}
        return hashlib.sha256(_CONDITIONS + json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).digest()

    @property
    def measurement(self) -> bytes:
        """The 32 bytes that stand for MRENCLAVE."""
        value = {
            "algorithm": hashlib.sha256(self.algorithm).hexdigest(),
            "environment": ENVIRONMENT,
            "features": sorted(self.features),
            "interpreter": interpreter_digest(self.loaded).hex(),
            "kind": self.kind,
            "limits": vars(self.limits),
            "modules": list(self.loaded),
            "required": sorted(self.required),
            "sources": [hashlib.sha256(source).hexdigest() for source in (LOADER.encode(), *sources())],
        }
        return hashlib.sha256(_DOMAIN + json.dumps(value, sort_keys=True).encode()).digest()

    def configuration(self, in_force: tuple[str, ...]) -> bytes:
        """The 64 bytes that stand for CONFIGID: which confinement is in force."""
        return hashlib.sha256(_CONFIGURATION + json.dumps(sorted(in_force)).encode()).digest() + bytes(32)


def fresh(conditions: bytes, nonce: bytes) -> bytes:
    """The second half of the report data of evidence before a run: a relying party's nonce, for code under these conditions."""
    return hashlib.sha256(_FRESH + conditions + nonce).digest()


@functools.cache
def sources() -> tuple[bytes, bytes]:
    """The bytes that are sent to the interpreter, read once: confinement and worker."""
    return tuple((_HERE / name).read_bytes() for name in ("confinement.py", "worker.py"))  # type: ignore[return-value]


@functools.cache
def interpreter_digest(modules: tuple[str, ...]) -> bytes:
    """Digest of the interpreter's executable and of every file that it loads for ``modules`` and for the worker itself.

    Nothing else can be loaded once an enclave is confined. Files are read once for each launcher, which has to start anew when they
    are upgraded.
    """
    return files_digest(sorted({*modules, *_OWN_MODULES}), PATHS)


def files_digest(names: Sequence[str], places: Sequence[str]) -> bytes:
    """Digest of the interpreter's executable and of every file that it loads for the modules ``names``, of which those that are not
    its own are in the folders ``places``.

    The list comes from a fresh interpreter with the same options. A file counts by its module or by its path in its folder: two
    libraries may have one file name, and the kernel maps them in an order that changes.
    """
    command = [*INTERPRETER, "-c", _LIST_FILES, json.dumps(names), json.dumps(places)]
    listing = subprocess.run(command, capture_output=True, check=True, timeout=LISTING, env=ENVIRONMENT)
    found = {(name, hashlib.sha256(Path(path).read_bytes()).hexdigest()) for name, path in json.loads(listing.stdout)}
    digest = hashlib.sha256(sys.version.encode())
    for name, content in sorted(found):
        digest.update(f"{name}\0{content}\n".encode())
    return digest.digest()
