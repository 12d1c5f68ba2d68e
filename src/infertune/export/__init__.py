"""Exporting: the folder that deploys a winner, and reading it back."""
