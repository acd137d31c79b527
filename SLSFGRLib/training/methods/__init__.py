"""The training methods of the three systems."""
