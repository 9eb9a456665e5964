"""Operations on arrays of secrets, written once over the abstract protocol, so that they run on every one of them.

Every function is called as ``function(protocol, *arrays, **public attributes)`` by all parties in the same order. A public operand
enters through ``protocol.public``, which costs no message. All elements of an array share the rounds; the costs that docstrings
state count calls of the protocol: a *comparison* is one :meth:`negative`, a *level* one multiplication with truncation, a
*conversion* one :meth:`to_arithmetic`. ``fraction`` is the number of fraction bits, 0 to 24, and an *ulp* is 2^-fraction. A bit is
a :class:`Binary` of width 1.

What a function does outside its domain stands in its docstring: it saturates, or the result is defined in words.
"""
