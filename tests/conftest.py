"""What holds for every test."""

from hypothesis import settings

# No deadlines: a slow machine, or a kernel that compiles at its first call, is no failure. Timings belong in benchmarks.
settings.register_profile("tallystick", deadline=None)
settings.load_profile("tallystick")
