"""What each party contributed to a model, and the shares by which it can be paid."""
