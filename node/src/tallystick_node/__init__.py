"""The node of one institution: it holds the data and computes with its peers under grants that the chain enforces."""
