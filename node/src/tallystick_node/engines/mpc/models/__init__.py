"""Models trained and applied on secret arrays: programs over the array API, the same at once in one process and as plans."""
