"""The project: entry points here, what they are made of in the folders."""
