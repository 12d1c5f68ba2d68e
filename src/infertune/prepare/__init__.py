"""Models and their inputs before any target sees them: checked, described, inspected, edited."""
