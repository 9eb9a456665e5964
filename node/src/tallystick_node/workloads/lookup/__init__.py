"""Rows of an owner for keys that it does not learn."""
