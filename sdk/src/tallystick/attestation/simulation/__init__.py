"""Evidence in genuine DCAP format from a local authority: SIMULATION ONLY.

Where there is no trusted hardware, a provisioning authority of one's own certifies platforms, and quotes have the bytes of
Intel's. The mark stands in every certificate's subject; the root is no vendor's; a verifier accepts it only by a policy that names
the root, and calls the result *simulated*. Nothing protects a simulated enclave from the operator of its machine.
"""
