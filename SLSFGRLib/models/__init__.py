"""Trained networks with all that is needed to use them."""
