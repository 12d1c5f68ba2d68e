"""All contact with the world: processes, files, clocks, the host. Thin, no decisions."""
