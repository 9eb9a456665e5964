"""Replicated secret sharing over Z_2^64 for three parties, honest majority, semi-honest.

What each step costs, as the meter counts it under the step's name: bytes for an element of the result over all three parties
together, and rounds (the longest chain of messages that wait for one another).

====================  =======  ======
step                    bytes  rounds
====================  =======  ======
share                       8       1
reveal                     24       1
multiply                   24       1
multiply_fixed             36       3
matmul                     24       1
matmul_fixed               36       3
truncate                   20       2
and                        24       1
negative               50.875       7
decompose                 102       8
to_arithmetic              24       2
compose                   138       9
shuffle                    48       3
sigmoid               217.750      13
====================  =======  ======

``reveal`` is to all three: 8 bytes for each receiver; bits are revealed, and multiplied, in an eighth of a byte. ``and`` and
``compose`` are for words of 64 bits; ``compose`` of up to 14 bits takes 8 (width + 3) bytes and two rounds. ``negative`` rounds the
number of elements up to a multiple of 8. ``sigmoid`` takes its rounds for every 2^18 elements anew, products and
``truncate`` take them for every 64 MiB of the result: in between, it flows in pieces. ``accept`` costs 96 bytes and a
round, whatever the array's size; linear operations, ``public`` and ``random`` cost nothing.
"""

from tallystick_node.engines.mpc.replicated.protocol import Replicated

__all__ = ["Replicated"]
