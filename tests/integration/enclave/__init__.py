"""Tests that share one network of processes: a package, so that the network ends with the last of them."""
