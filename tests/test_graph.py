"""The door to Dask adds nothing: results in the order of the tasks, errors as they are, no task looked into."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gis.errors import GisError, YearMissing
from gis.graph import default_threads, run_tasks


@given(st.lists(st.integers()), st.integers(1, 4))
@settings(max_examples=30)
def test_results_come_in_the_order_of_the_tasks(tasks, threads):
    assert run_tasks(lambda task: task * 2 + 1, tasks, threads=threads) == [task * 2 + 1 for task in tasks]


def test_order_holds_when_the_first_task_ends_last():
    last_started = threading.Event()

    def work(task):
        if task == 0:
            assert last_started.wait(30)  # not a timing: task 0 cannot end before task 3 has begun
        if task == 3:
            last_started.set()
        return task

    assert run_tasks(work, [0, 1, 2, 3], threads=2) == [0, 1, 2, 3]


def test_two_threads_work_at_one_time():
    both = threading.Barrier(2, timeout=30)
    assert len(set(run_tasks(lambda _: both.wait(), [1, 2], threads=2))) == 2


def test_one_thread_works_alone():
    names = run_tasks(lambda _: threading.current_thread().name, list(range(8)), threads=1)
    assert len(set(names)) == 1


def test_no_tasks_give_no_results():
    def never(_):
        raise AssertionError("called without a task")

    assert run_tasks(never, [], progress=lambda done, n: never(None)) == []


KEYLIKE = [("task", 0), "('task', 0)", ("task", 1), ["task", 1], (len, "abc"), {"task": ("task", 0)}, "task", 0, None]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_task_that_looks_like_a_key_is_left_alone(threads):
    assert run_tasks(lambda task: task, KEYLIKE, threads=threads) == KEYLIKE
    assert all(a is b for a, b in zip(run_tasks(lambda task: task, KEYLIKE, threads=threads), KEYLIKE, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_passes_unchanged(threads):
    error = YearMissing("no raster for 2013", where="rasters", mend="add 2013")

    def work(task):
        if task == 3:
            raise error
        return task

    with pytest.raises(YearMissing, match="mend:  add 2013") as caught:
        run_tasks(work, list(range(6)), threads=threads)
    assert isinstance(caught.value, GisError)
    assert (caught.value.where, caught.value.mend) == ("rasters", "add 2013")


def test_the_next_run_after_an_error_is_whole():
    with pytest.raises(ZeroDivisionError):
        run_tasks(lambda task: 1 // task, [1, 0, 2], threads=2)
    assert run_tasks(lambda task: 2 // task, [1, 2], threads=2) == [2, 1]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_progress_counts_every_task_once(threads):
    seen = []
    run_tasks(lambda task: task, list(range(17)), threads=threads, progress=lambda done, n: seen.append((done, n)))
    assert seen == [(done, 17) for done in range(1, 18)]


def test_progress_stops_at_the_error():
    seen = []
    with pytest.raises(ZeroDivisionError):
        run_tasks(lambda task: 1 // task, [1, 1, 0], threads=1, progress=lambda done, n: seen.append(done))
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) < 3


def test_two_runs_at_one_time_count_their_own_tasks():
    seen = {"a": [], "b": []}
    both = threading.Barrier(2, timeout=30)

    def run(name, n):
        def work(task):
            if task == 0:
                both.wait()  # both runs are under way
            return task

        run_tasks(work, list(range(n)), threads=2, progress=lambda done, of: seen[name].append((done, of)))

    runs = [threading.Thread(target=run, args=item) for item in (("a", 7), ("b", 11))]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join(60)
    assert seen["a"] == [(done, 7) for done in range(1, 8)]
    assert seen["b"] == [(done, 11) for done in range(1, 12)]


def test_a_task_may_run_tasks():
    def outer(task):
        return run_tasks(lambda inner: (task, inner), ["a", "b"], threads=2, progress=lambda done, n: None)

    assert run_tasks(outer, [1, 2, 3], threads=2) == [[(task, "a"), (task, "b")] for task in (1, 2, 3)]


def test_default_threads_are_the_cores_this_process_may_use():
    assert 1 <= default_threads() <= (os.cpu_count() or 1)
    if hasattr(os, "sched_getaffinity"):
        assert default_threads() == len(os.sched_getaffinity(0))
