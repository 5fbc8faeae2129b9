"""Worker processes change no number, and a lost one costs its tasks alone."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest

import gis
from gis.demo import write_demo
from gis.errors import GridMismatch, OptionInvalid
from gis.graph import cluster, run_on_cluster

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two():
    with cluster(workers=2) as client:
        yield client


def double(x):
    return 2 * x


def refuse(x):
    if x == 3:
        raise GridMismatch("grids differ", where="task 3", mend="do not")
    return x


def slow_pid(folder):
    """Leave a trace, then take long enough to be killed."""
    (folder / str(os.getpid())).touch()
    time.sleep(0.3)
    return os.getpid()


def test_results_come_in_the_order_of_the_tasks(two):
    seen = []
    found = run_on_cluster(two, double, list(range(50)), progress=lambda done, n: seen.append((done, n)))
    assert found == [2 * x for x in range(50)]
    assert seen == [(i + 1, 50) for i in range(50)]


def test_no_tasks_no_results(two):
    assert run_on_cluster(two, double, []) == []


def test_a_tasks_error_comes_back_as_it_is(two):
    with pytest.raises(GridMismatch, match="mend:  do not") as caught:
        run_on_cluster(two, refuse, list(range(6)))
    assert caught.value.where == "task 3"


def test_a_killed_worker_costs_only_its_tasks(tmp_path):
    with cluster(workers=2) as client:
        from threading import Thread

        def kill():
            while not (pids := list(tmp_path.iterdir())):
                time.sleep(0.02)
            os.kill(int(pids[0].name), signal.SIGKILL)

        killer = Thread(target=kill)
        killer.start()
        found = run_on_cluster(client, slow_pid, [tmp_path] * 8)
        killer.join()
    assert len(found) == 8
    assert len(list(tmp_path.iterdir())) >= 2


def test_neither_workers_nor_scheduler_means_threads():
    with cluster() as client:
        assert client is None


def test_both_are_refused():
    with pytest.raises(OptionInvalid, match="give --workers N or --scheduler"), cluster(workers=1, scheduler="tcp://x"):
        pass


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    import distributed

    def no_answer(*_args, **_kwargs):
        raise OSError("timed out")

    monkeypatch.setattr(distributed, "Client", no_answer)
    with pytest.raises(OptionInvalid, match="start one: dask scheduler"), cluster(scheduler="tcp://127.0.0.1:1"):
        pass


def test_a_run_on_workers_and_on_a_scheduler_gives_the_same_bytes(tmp_path, two):
    root = write_demo(tmp_path / "demo").root
    gis.run(root)

    def tables():
        return {p.name: p.read_bytes() for p in sorted((root / "out").glob("*.parquet"))}

    expected = tables()
    for where in ({"workers": 2}, {"scheduler": two.scheduler.address}):
        shutil.rmtree(root / ".cache")
        shutil.rmtree(root / "out")
        result = gis.run(root, **where)
        assert "16 read" in result.reuse
        assert tables() == expected
