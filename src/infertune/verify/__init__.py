"""Verifying: how near a point's outputs are to the fp32 reference."""
