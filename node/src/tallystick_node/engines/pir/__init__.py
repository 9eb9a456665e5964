"""Private lookup: an owner's rows by key, without the owner learning which keys, nor the asker more than those keys' rows.

:mod:`lwe` hides which column of a matrix is read (SimplePIR), :mod:`oprf` turns a key into what places and opens its row,
:mod:`table` and :mod:`public` are the owner's and the asker's halves of a table, :mod:`lookup` is the protocol between them and
:mod:`kept` keeps both halves on disk.
"""
