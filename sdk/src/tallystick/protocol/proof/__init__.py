"""Kinds of proof: what each puts into ``Result.inputs``, ``Result.output`` and the proof bytes, and how it is checked.

One module for each kind; :mod:`.kinds` is the table of them.
"""
