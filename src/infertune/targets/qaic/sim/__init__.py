"""A simulated Cloud AI 100 card: a model of its speed, and programs that stand in for the vendor's tools."""
