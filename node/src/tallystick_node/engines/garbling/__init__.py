"""Garbled circuits for two parties: circuits, half-gates garbling, Yao's protocol and its conversions to shares."""
