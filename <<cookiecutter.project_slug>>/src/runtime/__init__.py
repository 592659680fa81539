"""The machinery of a run: a room for each thing that it does.

Here: what every run passes through, from the command line (`cli`) over `build` to its end (`runs`).
`config` needs no torch: what is right or wrong in a configuration. `checkpoint`, `tracker`,
`sweep`, `process` and `verb` say in their first line what they hold.

Nothing here knows your data, your models or your callbacks: it meets them as `_target_` nodes.
Updating the template replaces this folder whole.
"""
