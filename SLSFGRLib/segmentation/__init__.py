"""Segment a brain image and estimate its tissue probability maps."""
