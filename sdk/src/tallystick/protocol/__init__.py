"""The pure protocol: canonical documents, digests, identity, signatures' digests and the numbered verification rules.

Nothing here reads a file system clock, a network or an environment; bytes and times come in as arguments. Import the
modules by name: :mod:`~tallystick.protocol.task`, :mod:`~tallystick.protocol.verify` and so on.
"""
