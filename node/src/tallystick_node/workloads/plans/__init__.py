"""Computations on secret arrays: each derives a plan from its parameters, which every party builds alike."""
