"""Containers: which commands start one, and how the recorder goes in with them."""
