"""Datamodules, one file per dataset, and what they share."""
