"""Overrides that make the data of a small run smaller."""

SMALL_DATA = ("data.dataset.per_package=60",)
