"""Generate the wire code from ``node.proto``; ``--check`` fails when the committed code is stale. Needs grpcio-tools."""

from __future__ import annotations

import sys
import tempfile
from importlib import resources
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = ("node_pb2.py", "node_pb2.pyi", "node_pb2_grpc.py")


def generate(target: Path) -> None:
    """Write the generated files to ``target``."""
    from grpc_tools import protoc

    include = str(resources.files("grpc_tools") / "_proto")
    base = [f"-I{HERE}", f"-I{include}", f"--python_out={target}", f"--pyi_out={target}", f"--grpc_python_out={target}"]
    if protoc.main(["protoc", *base, str(HERE / "node.proto")]) != 0:
        raise SystemExit("protoc failed")
    stub = target / "node_pb2_grpc.py"
    # protoc writes for a flat layout; ours is a package
    stub.write_text(stub.read_text().replace("import node_pb2 as", "from tallystick.wire import node_pb2 as"))


def main() -> None:
    """Command line."""
    if "--check" not in sys.argv:
        generate(HERE)
        return
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = [name for name in FILES if (Path(folder) / name).read_bytes() != (HERE / name).read_bytes()]
    if stale:
        raise SystemExit(f"stale wire code: {', '.join(stale)}. Run `make generate`.")


if __name__ == "__main__":
    main()
