"""Curves and sample pictures of a training run."""
