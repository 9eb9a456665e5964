"""The command line `tally`: one module for each noun, all of them thin."""
