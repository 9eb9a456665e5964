"""Products of two parties' private numbers by encryption over a ring lattice, with nobody else."""
