"""What the smaller entry points do: explain, export, new, predict."""
