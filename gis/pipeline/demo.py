"""The demo's last word: what the engine found beside what is true.

In: a run of a demo workspace. Out: a few lines of text; the truth comes from quadrature over the same polygons and
shares no code with the engine (``gis.demo.truth``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gis.workspace import CONFIG_NAME

if TYPE_CHECKING:
    from gis.pipeline.run import RunResult

TRUTH = Path("truth") / "levels.parquet"


def is_demo(folder: Path) -> bool:
    """Whether a folder holds a demo workspace."""
    return (Path(folder) / CONFIG_NAME).is_file() and (Path(folder) / TRUTH).is_file()


def compare_with_truth(result: RunResult) -> str:
    """Largest and median relative error of the levels, by layer, over unit-years with complete light data."""
    import pandas as pd

    truth = pd.read_parquet(result.workspace.root / TRUTH)
    lines = ["Engine against the known truth (relative error of light per person, units with complete data):"]
    for layer, frame in (("city", result.city_year), ("district", result.district_year)):
        if frame is None:
            continue
        of_layer = truth[(truth["layer"] == layer) & (truth["vintage"].astype(str) == frame["vintage"].iloc[0][:4])]
        keys = [f"{layer}_code", "year"]
        both = frame.merge(of_layer, left_on=keys, right_on=["unit_code", "year"], suffixes=("", "_truth"))
        both = both[both["cov_area"] > 1 - 1e-9]
        for column in ("level_lambert", "level_true"):
            error = np.abs(both[column] / both[f"{column}_truth"] - 1)
            lines.append(
                f"  {layer:8} {column:13} median {np.nanmedian(error):.1e}, largest {np.nanmax(error):.1e}, "
                f"{int(error.notna().sum())} unit-years"
            )
    return "\n".join(lines)


def known_coefficients(folder: Path) -> str:
    """Estimates beside the coefficients they should find, or how to get the libraries that estimate."""
    from gis.estimate.fixed_effects import LibraryMissing
    from gis.pipeline.estimate import demo_table

    try:
        return demo_table(folder)
    except LibraryMissing as error:
        return f"Estimation was left out: {error.what}; {error.mend}"
