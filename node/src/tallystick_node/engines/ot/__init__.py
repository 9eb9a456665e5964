"""Oblivious transfer: 128 base transfers from elliptic curves, extended to as many as are needed from AES."""
