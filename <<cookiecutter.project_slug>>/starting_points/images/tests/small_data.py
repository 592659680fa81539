"""Overrides that make the data of a small run smaller."""

SMALL_DATA = ("data.num_workers=0",)
