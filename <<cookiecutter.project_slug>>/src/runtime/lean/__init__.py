"""Lightning's training loop, less what has no effect: small things that add up in a step."""
