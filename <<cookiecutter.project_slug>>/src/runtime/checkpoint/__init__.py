"""Checkpoints: what is in them, how they are written, found and gone on from."""
