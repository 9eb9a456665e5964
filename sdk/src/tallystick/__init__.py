"""Tallystick: canonical protocol objects, verification rules, contract wrappers, signers and the ``tally`` command line.

Start with :mod:`tallystick.client` to use a network, :mod:`tallystick.protocol.verify` to check what one did.
"""
