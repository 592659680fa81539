"""Many jobs: which are done, which are left, and what came of them."""
