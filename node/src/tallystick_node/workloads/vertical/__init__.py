"""Models over different columns of the same people, and what they say of new ones."""
