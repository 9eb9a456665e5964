"""Learners: models in NumPy, and adapters to scikit-learn and PyTorch, which are imported by whoever uses them."""
