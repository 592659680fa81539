"""The machinery of a run: one module for each concern."""

__version__ = "0.2.0"
