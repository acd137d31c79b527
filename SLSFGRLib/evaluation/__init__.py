"""Measure how good a registration is."""
