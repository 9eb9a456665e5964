"""The cryptosystem of Paillier (EUROCRYPT 1999) with g = n + 1: ciphertexts that anyone can add.

Encryption draws its randomness as Damgard, Jurik and Nielsen do ("A generalization of Paillier's public-key system with
applications to electronic voting", International Journal of Information Security, 2010): a short power of h^n for h = -x^2,
looked up in tables, in place of the n-th power of a fresh number. Keys and ciphertexts are those of ``phe`` (python-paillier),
in both directions.

- ``keys``: generate, check, decrypt
- ``ciphertexts``: encrypt, add, multiply by integers, weighted sums, re-randomise; bytes
- ``packing``: several small numbers in one plaintext
- ``vectors``: sums of float64 vectors over members
- ``numbers``: floats in the encoding of ``phe``

Adversary: semi-honest; see :func:`~tallystick_node.engines.he.paillier.keys.security`.
"""
