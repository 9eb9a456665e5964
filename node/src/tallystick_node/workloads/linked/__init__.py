"""Statistics over columns of several owners, of the items that they have in common."""
