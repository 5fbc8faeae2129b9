"""The examples of the documentation run, in order, on the demo workspace."""

from __future__ import annotations

import re

import pytest

from gis.demo import write_demo


@pytest.mark.parametrize("page", ["docs/python.md"])
def test_every_block_of_the_page_runs(page, checkout, workdir):
    write_demo(workdir / "demo")
    blocks = re.findall(r"```python\n(.*?)```", (checkout / page).read_text(encoding="utf-8"), re.S)
    assert len(blocks) >= 4
    names: dict = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)  # an assertion in a block is the claim of its sentence
    assert names["row"]["bal"] > 1 and len(names["table"]) == 12
