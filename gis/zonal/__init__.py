"""Exact zonal statistics: coverage of cells by polygons, and sums over it.

In: rasters (`gis.raster_io.RasterInfo`) and `gis.grid.Zones`. Out: totals and statistics per zone.
"""
