"""The project: the commands; below, data, models, callbacks and the runtime."""
