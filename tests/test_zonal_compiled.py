"""The first run of an installation says that it compiles; later ones do not."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow

SCRIPT = textwrap.dedent(
    """
    from gis.zonal import compiled

    said = []
    compiled.compile_ahead(["float32"], lambda *step: said.append(step))
    print(said, compiled.is_compiled())
    """
)


def test_compiling_is_announced_once(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def lines():
        done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    step = "compiling, once per installation"
    assert lines() == f"[('{step}', 0, 1), ('{step}', 1, 1)] True"
    assert lines() == "[] True"


def test_without_anybody_to_tell_nothing_is_compiled_ahead(tmp_path):
    script = SCRIPT.replace("lambda *step: said.append(step)", "None")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "[] False", done.stderr
