"""Silent correlations: few transfers and a short exchange are expanded, under learning parity with noise, into millions.

:mod:`vole` has oblivious linear evaluations over GF(2^64), :mod:`checked` those over GF(2^128) against malicious parties. Roles as
everywhere in this package: the *sender* holds delta.
"""
