"""Oblivious key-value stores: an array that gives a value for every key, and tells nothing of which keys were put in."""
