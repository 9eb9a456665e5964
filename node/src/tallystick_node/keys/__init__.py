"""An institution's key service: a process of its own beside the node, which asks the chain before it gives a data key."""
