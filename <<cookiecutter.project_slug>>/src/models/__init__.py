"""LightningModules: one file for each way to train."""
