"""Lightning modules; their networks are in `components`."""
