"""What is right in a configuration, and what is wrong with it; nothing here needs torch."""
