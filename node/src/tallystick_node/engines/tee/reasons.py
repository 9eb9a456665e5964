"""Why a query, a module or a fit gave no result: all that leaves an enclave of it is one of these names.

Imported inside of enclaves: the standard library only, and part of the measurement.
"""

from __future__ import annotations


class NoResult(Exception):  # noqa: N818 - a verdict
    """The class of what ends the computation of a query, a module or a fit; the message stays inside."""


class AlgorithmRefused(NoResult):
    """The text, the module or the description is not one that may run here."""


class AlgorithmFailed(NoResult):
    """It was stopped by an error of its own: a trap, a division, an overflow."""


class OutOfFuel(NoResult):
    """It executed as many instructions as its task allows, and was not at its end."""


class OutOfHeap(NoResult):
    """It needs more memory than its task allows."""


class OutputTooLarge(NoResult):
    """Its output is longer than its task allows."""


class TooFewRows(NoResult):
    """An input, or what a model is fitted to or judged by, has fewer rows than the minimum group."""


class NoGroupSize(NoResult):
    """A query's result does not say how large its groups are."""


class MalformedInput(NoResult):
    """What was sealed for a place is no table."""


class KeyTwice(NoResult):
    """A table has one key in two rows, so its rows cannot be joined."""


class NotConverged(NoResult):
    """The fit of a model did not come to an end within its iterations."""


class NoSealingKey(NoResult):
    """It keeps a state, and the environment gives no key to seal one under."""


class OtherInputs(NoResult):
    """The inputs are not, together, those that their owners sealed them for."""


NAMES = {kind.__name__: kind for kind in NoResult.__subclasses__()}
"""Every one by its name."""
