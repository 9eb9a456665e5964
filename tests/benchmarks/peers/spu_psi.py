"""SPU's PSI between two processes over loopback (plain TCP), run by the interpreter of SPU's own environment.

``spu_psi.py PROTOCOL FOLDER`` reads ``FOLDER/{0,1}.csv`` with one column ``id``, and prints one line of JSON: seconds from the
barrier to the end (the later party) and the size of the intersection.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 600


def party(rank: int, protocol: str, folder: Path, ports: list[int]) -> None:
    """One side."""
    import spu.libspu.link as link
    from spu import psi

    description = link.Desc()
    description.recv_timeout_ms = description.http_timeout_ms = SECONDS * 1000
    for number, port in enumerate(ports):
        description.add_party(f"p{number}", f"127.0.0.1:{port}")
    context = link.create_brpc(description, rank)
    chosen = {
        "ecdh": {
            "protocol": psi.PsiProtocol.PROTOCOL_ECDH,
            "ecdh_params": psi.EcdhParams(curve=psi.EllipticCurveType.CURVE_25519),
        },
        "rr22": {"protocol": psi.PsiProtocol.PROTOCOL_RR22, "rr22_params": psi.Rr22Rarams(low_comm_mode=False)},
    }[protocol]
    csv = psi.SourceType.SOURCE_TYPE_FILE_CSV
    config = psi.PsiExecuteConfig(
        protocol_conf=psi.PsiProtocolConfig(receiver_rank=0, broadcast_result=False, **chosen),
        input_params=psi.InputParams(type=csv, path=str(folder / f"{rank}.csv"), selected_keys=["id"], keys_unique=True),
        output_params=psi.OutputParams(type=csv, path=str(folder / f"out{rank}.csv"), disable_alignment=True),
    )
    context.barrier()
    began = time.perf_counter()
    report = psi.psi_execute(config, context)
    seconds = time.perf_counter() - began
    sys.stdout.write("RESULT " + json.dumps({"seconds": seconds, "intersection": report.intersection_count}) + "\n")
    sys.stdout.flush()
    context.stop_link()


def main() -> None:
    """Both sides."""
    protocol, folder = sys.argv[1], Path(sys.argv[2])
    if len(sys.argv) > 3:
        party(int(sys.argv[3]), protocol, folder, [int(port) for port in sys.argv[4:]])
        return
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    command = [sys.executable, __file__, protocol, str(folder)]
    sides = [
        subprocess.Popen([*command, str(rank), *ports], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for rank in (0, 1)
    ]
    results = []
    for side in sides:
        text, _ = side.communicate(timeout=SECONDS)
        results += [json.loads(line.removeprefix("RESULT ")) for line in text.splitlines() if line.startswith("RESULT ")]
    if len(results) != 2:
        sys.exit("SPU did not finish")
    found = max(result["intersection"] for result in results)
    sys.stdout.write(json.dumps({"seconds": max(result["seconds"] for result in results), "intersection": found}) + "\n")


if __name__ == "__main__":
    main()
