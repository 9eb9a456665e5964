"""Programs in an enclave that one party hosts."""
