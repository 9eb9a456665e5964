"""Chain writes that must happen exactly once, and the anchoring of the audit log."""
