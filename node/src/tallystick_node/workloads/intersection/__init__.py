"""Which items several owners have in common, with labels or sums, and openings that show how it was found."""
