"""How the parties of a round add their vectors: an interface, and the protocols that keep it."""
