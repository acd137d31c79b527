"""Voxel grids, displacement fields and resampling."""
