"""Data files as Arrow tables, and the commitment to their rows."""
