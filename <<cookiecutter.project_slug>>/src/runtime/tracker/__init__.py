"""What trackers are told about a run, and how it reaches them whatever happens."""
