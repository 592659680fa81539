"""Callbacks: what happens around training."""
