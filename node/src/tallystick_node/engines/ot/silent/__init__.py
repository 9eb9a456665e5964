"""Silent correlations: few transfers and a short exchange are expanded, under learning parity with noise, into millions.

:mod:`vole` has oblivious linear evaluations over GF(2^64), :mod:`checked` those over GF(2^128) against malicious parties,
:mod:`supply` correlations over GF(2) and GF(2^4) in any number, and :mod:`pads` what makes random transfers of them. Roles as
everywhere in this package: the *sender* holds delta.
"""
