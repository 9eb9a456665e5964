"""What a task may ask for: one module per workload, wiring an engine to a TaskSpec, its leakage, its cost and its evidence."""
