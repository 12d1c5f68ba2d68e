"""Building artifacts once: the content-addressed cache and the parallel pool."""
