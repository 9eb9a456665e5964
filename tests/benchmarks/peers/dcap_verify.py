"""dcap-qvl (Rust) on one quote, run by the interpreter of its own environment.

Reads one JSON object from standard input: ``quote`` and ``root`` in hexadecimal, ``collateral`` with the members of dcap-qvl's own,
``now``, ``times``. Prints one line of JSON: milliseconds of processor time for each verification, the best of three times.
"""

from __future__ import annotations

import json
import sys
import time

import dcap_qvl

BYTES = ("root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature")


def main() -> None:
    """Verify the quote often."""
    given = json.load(sys.stdin)
    members = {name: bytes.fromhex(text) if name in BYTES else text for name, text in given["collateral"].items()}
    collateral = dcap_qvl.QuoteCollateralV3(**members)
    quote, root, now, times = bytes.fromhex(given["quote"]), bytes.fromhex(given["root"]), given["now"], given["times"]
    if dcap_qvl.verify_with_root_ca(quote, collateral, root, now).status != "UpToDate":
        sys.exit("dcap-qvl does not accept the quote")
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for _ in range(times):
            dcap_qvl.verify_with_root_ca(quote, collateral, root, now)
        best = min(best, time.process_time() - began)
    sys.stdout.write(json.dumps({"milliseconds": 1000 * best / times}) + "\n")


if __name__ == "__main__":
    main()
