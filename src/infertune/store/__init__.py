"""The study's append-only record on disk."""
