"""Overrides that make the data of a small run smaller, and need no download."""

SMALL_DATA = ("data=digits",)
