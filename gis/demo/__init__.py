"""A complete synthetic workspace, and every answer it should give.

In: a folder and a seed. Out: ``workspace.toml``, ``rasters/``, ``boundaries/``, ``historical/``, ``flows/`` and
``truth/`` (about 6 MB, 3 s). Nothing is real: places, codes, lights, people.

What there is to learn from it:

==============================================  ========================================================================
in the demo                                     what to look at
==============================================  ========================================================================
a rectangle from 25 to 35 degrees north         ``level_lambert`` and ``level_true`` differ by 12 to 17 %, and may order
                                                two cities differently
lights in an Albers grid without a code         the CRS is read from the file; cells of 1 km2, so ``cells`` = ``true``
city 青崖 (526100) and around: no glow          its level in ``true`` is ``plain_level(year)``, known in closed form
a hole in 青湄市 (526281)                       flag LOWAREA, the level stands: hardly anybody lives there
皓湄县 (446822) unseen in 2015                  LOWCOV: its level and its city's are NaN in 2015; pairs with that city
                                                have no Bal in 2015 and no order in 2016
people on a 30" grid that fits nothing          each raster is summed on its own grid
population of 2012 has fewer rows               grids are matched by place, never by index
population of 2016 in a ``.zip``                archives are read; the coloured picture inside is not data
sea, and land beyond the borders                population rasters hold more people than the units do
岚川 overtakes 砚坞 and others                  Bal above 1 in the year of crossing; hi and lo change places after it
皓陌 (446900) in the boundaries of 2010         abolished and split among three neighbours, one county of it divided
疏浦县                                          moves from one city to another
翎梧                                            a prefecture of 2010 that is a city in 2019: every code new, same ground
澜桐, was 瑶垣                                  a new name alone
疏汀                                            a county that becomes a district: new code, same ground
boundaries of 2010 in GBK, without ``.cpg``     text must be decoded by looking at it
``historical/telegraph_map.png``                a Bonne projection, known to the pixel (``gis.demo.historical``)
``gcps.points``                                 24 control points with a known error, and a wrong one that is disabled
``offices.csv``, ``truth_offices.csv``          hard assignment against probabilities: two stand on a border of cities
霁泽 (526400) without an office                 its instrument is 0 with every other city
``flows.csv``                                   Poisson counts with known exponents (``gis.demo.flows``)
==============================================  ========================================================================
"""

from __future__ import annotations

from gis.demo.truth import truth_table
from gis.demo.workspace import DemoPaths, write_demo

__all__ = ["DemoPaths", "truth_table", "write_demo"]
