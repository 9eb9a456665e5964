"""Which cells of a table of secret counts may be shown, decided before anything is.

A cell below the minimum is hidden. Where the hidden cells of a line hold fewer rows together than the minimum, its smallest other
cell is hidden too: who knows the totals of such lines would else find them by subtraction (complementary suppression: Willenborg
and de Waal, *Elements of Statistical Disclosure Control*, chapter 6). That the hidden cells of a line are all empty is not hidden.
The rule is against somebody who knows the totals along one axis, as the owner of that column does: who knows those along two axes
together may still find a cell.
"""

from __future__ import annotations

from tallystick_node.engines.mpc.array import where
from tallystick_node.engines.mpc.array.secret import SecretArray

NONE = 1 << 40  # above every count


def shown_cells(counts: SecretArray, minimum: int, total: int | None = None) -> SecretArray:
    """Bits of the shape of ``counts``, of integers, one for each cell that may be shown.

    Afterwards every line along every axis has no row or at least ``minimum`` rows in hidden cells, or is hidden as a whole.
    ``total``, for one axis, counts rows that are in no cell as hidden. One axis after the other: a cell that is hidden later has
    the minimum and more, and so spoils no line.
    """
    shown = counts >= minimum
    for axis in range(counts.ndim):
        lines = [1 if each == axis else length for each, length in enumerate(counts.shape)]
        visible = where(shown, counts, 0)
        hidden = ((counts.sum(axis) if total is None else total) - visible.sum(axis)).reshape(*lines)
        bare = (hidden > 0) & (hidden < minimum)
        least = where(shown, counts, NONE).min(axis).reshape(*lines)
        shown = shown & ~((counts == least) & bare)
    return shown
