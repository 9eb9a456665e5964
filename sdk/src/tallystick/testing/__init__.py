"""Test helpers for people who build on Tallystick: a local chain, throw-away certificates, a network in one call."""
