"""Spaces whose every figure is known, played to strategies: no device, no build, no launch."""
