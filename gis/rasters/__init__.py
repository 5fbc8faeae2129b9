"""Reads ``rasters/``: product profiles, annual series, archives, and what is the matter with a raster."""
