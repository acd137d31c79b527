"""Devices, memory, process settings and progress."""
