"""The machinery of a run: one module for each thing that it does.

Nothing here knows your data, your models or your callbacks: it meets them as `_target_` nodes.
Updating the template replaces this folder whole.
"""
