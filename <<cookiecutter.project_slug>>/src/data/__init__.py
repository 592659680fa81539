"""Datamodules: one file for each dataset."""
