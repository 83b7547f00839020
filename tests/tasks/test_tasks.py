"""Tasks: retried, listed, seen from outside, and never left behind by a killed driver."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.networks import tiny_network
from tests.work import perform

from ilion import api, cli
from ilion.config import ExperimentConfig, from_dict
from ilion.errors import ArtifactError, ConfigError, ImageError
from ilion.tasks import Failure, InlinePool, Pool, RunRecord, Task, read_status, run_tasks
from ilion.tasks.local import LocalPool
from ilion.tasks.worker import function_name


def inline(claims: str) -> Pool:
    return InlinePool(perform, claims)


def local(claims: str) -> Pool:
    return LocalPool(perform, claims, 2)


POOLS = pytest.mark.parametrize("start", [inline, local])
WORKERS = pytest.mark.parametrize("start", [local])


def task(folder: Path, name: str, work: str = "write", size: int = 3, **values: Any) -> Task:
    return Task(name, work, {"folder": str(folder), **values}, size)


def do(run: Path, start: Callable[[str], Pool], tasks: list[Task], **options: Any) -> list[Failure]:
    with RunRecord(run).stage("work", [task.size for task in tasks]) as log:
        return run_tasks(tasks, start(log.claims), log, **options)


def written(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in folder.glob("*.out")}


@pytest.mark.slow
@POOLS
def test_all_tasks_are_done(tmp_path: Path, start: Callable[[str], Pool]) -> None:
    seen = []
    tasks = [task(tmp_path, f"t{i}", size=i % 3) for i in range(8)]
    assert do(tmp_path, start, tasks, progress=lambda done, total: seen.append((done, total))) == []
    assert written(tmp_path) == {f"t{i}": f"t{i} {i % 3}" for i in range(8)}
    # three tasks did not say their size before, and turned out to hold seven
    assert seen[-1] == (5 * 0 + 3 * 7 + 3 * 1 + 2 * 2, 28)
    [status] = read_status(tmp_path)
    assert (status.state, status.tasks, status.done, status.left, status.running) == ("done", 8, 8, 0, ())
    assert status.units_done == status.units == 28


@pytest.mark.slow
@POOLS
def test_what_may_pass_is_tried_again(tmp_path: Path, start: Callable[[str], Pool]) -> None:
    tasks = [task(tmp_path, "a", "flaky", times=2), task(tmp_path, "b")]
    assert do(tmp_path, start, tasks, retries=2) == []
    assert written(tmp_path) == {"a": "a 3", "b": "b 3"}
    assert (tmp_path / "a.tries").read_text() == "xxx"


@pytest.mark.slow
@POOLS
def test_what_fails_to_the_end_is_listed_and_the_others_are_done(
    tmp_path: Path, start: Callable[[str], Pool]
) -> None:
    tasks = [task(tmp_path, "a", "flaky", times=9), task(tmp_path, "b"), task(tmp_path, "c", "bug")]
    failures = {failure.name: failure for failure in do(tmp_path, start, tasks, retries=1)}
    assert set(failures) == {"a", "c"}
    assert failures["a"].attempts == 2
    assert "input/output error" in failures["a"].error
    assert "ValueError: never right" in failures["c"].error
    assert "work.py" in failures["c"].error
    assert written(tmp_path) == {"b": "b 3"}
    [status] = read_status(tmp_path)
    assert (status.state, status.done, status.failed, status.left) == ("failed", 1, 2, 0)
    assert {f["task"]: f["attempts"] for f in status.failures} == {"a": 2, "c": 2}


@pytest.mark.slow
@POOLS
def test_bad_data_is_not_tried_again_unless_the_disk_is_to_blame(
    tmp_path: Path, start: Callable[[str], Pool]
) -> None:
    tasks = [task(tmp_path, "a", "bad image"), task(tmp_path, "b", "bad disk")]
    failures = {failure.name: failure for failure in do(tmp_path, start, tasks, retries=2)}
    assert (failures["a"].attempts, failures["b"].attempts) == (1, 3)
    assert failures["a"].error == "a.jpg: broken"


def test_in_this_process_the_first_error_can_be_raised_as_it_is(tmp_path: Path) -> None:
    tasks = [task(tmp_path, "a", "bad image"), task(tmp_path, "b")]
    with pytest.raises(ImageError, match="broken"):
        do(tmp_path, inline, tasks, stop_at_first=True)
    assert written(tmp_path) == {}
    assert read_status(tmp_path)[0].state == "stopped"


@pytest.mark.slow
@WORKERS
def test_a_worker_that_is_killed_costs_nothing_but_time(tmp_path: Path, start: Callable[[str], Pool]) -> None:
    tasks = [task(tmp_path, f"t{i}", "dies", times=i % 2) for i in range(6)]
    # not even an attempt: the machine may be to blame
    assert do(tmp_path, start, tasks, retries=0) == []
    assert len(written(tmp_path)) == 6
    assert (tmp_path / "t1.tries").read_text() == "xx"


@pytest.mark.slow
@WORKERS
def test_a_task_that_kills_every_worker_is_given_up(tmp_path: Path, start: Callable[[str], Pool]) -> None:
    [failure] = do(tmp_path, start, [task(tmp_path, "a", "dies", times=99), task(tmp_path, "b")], retries=0)
    assert (failure.name, failure.attempts) == ("a", 4)
    assert "signal 9; perhaps the memory ran out" in failure.error
    assert written(tmp_path) == {"b": "b 3"}


def test_only_functions_of_modules_go_to_other_processes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can only run a function of a module"):
        LocalPool(lambda task, advance: None, str(tmp_path), 1)
    assert function_name(perform) == "tests.work:perform"


DRIVER = """
import sys
from pathlib import Path
from tests.tasks.test_tasks import do, local, task
folder = Path(sys.argv[1])
do(folder, local, [task(folder, f"t{i}", "slow", 100, seconds=0.05) for i in range(6)])
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def started(folder: Path) -> bool:
    try:
        [status] = read_status(folder)
    except ArtifactError:
        return False
    return len(status.running) == 2 and status.units_done > 0


@pytest.mark.slow
def test_status_of_another_process_alive_and_killed(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path)], cwd=root)
    try:
        assert until(lambda: started(tmp_path))
        [status] = read_status(tmp_path)
        assert (status.state, status.tasks, status.done, status.left) == ("running", 6, 0, 4)
        assert status.pid == driver.pid
        assert status.units == 600
        assert status.rate > 0
        assert status.left_seconds is not None
        workers = [running.pid for running in status.running]
        assert driver.pid not in workers
        assert all(running.alive for running in status.running)
    finally:
        driver.kill()
        driver.wait()
    # nobody is left behind, and what they noted is recognised as stale
    assert until(lambda: not any(alive(pid) for pid in workers))
    [status] = read_status(tmp_path)
    assert status.state == "dead"
    assert status.left_seconds is None
    assert not any(running.alive for running in status.running)
    assert status.left == 6


def test_silence_of_another_machine_counts_as_death(tmp_path: Path) -> None:
    with RunRecord(tmp_path).stage("work", [1]) as log:
        path = Path(log.claims).parent / "stage.json"
        note = {**json.loads(path.read_text()), "host": "elsewhere", "pid": 1}
        path.write_text(json.dumps(note))
        assert read_status(tmp_path)[0].state == "running"
        os.utime(path, (time.time() - 120, time.time() - 120))
        assert read_status(tmp_path)[0].state == "dead"


def test_stages_without_tasks_are_seen_too(tmp_path: Path) -> None:
    record = RunRecord(tmp_path)
    record.passed("query expansion", 1, 4)
    [status] = read_status(tmp_path)
    assert (status.stage, status.state, status.tasks) == ("query expansion", "running", 0)
    record.passed("query expansion", 4, 4)
    record.passed("search", 2, 2)
    assert [(s.stage, s.state, s.units_done) for s in read_status(tmp_path)] == [
        ("query expansion", "done", 4),
        ("search", "done", 2),
    ]
    # the next run begins a new record
    record = RunRecord(tmp_path)
    record.begin()
    record.passed("search", 1, 2)
    record.begin()
    assert [s.stage for s in read_status(tmp_path)] == ["search"]
    record.close(whole=False)
    assert read_status(tmp_path)[0].state == "stopped"


def test_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no record of a run"):
        read_status(tmp_path)


def test_a_record_that_cannot_be_written_does_not_stop_the_work(tmp_path: Path) -> None:
    (tmp_path / "tasks").write_text("a file is in the way")
    assert do(tmp_path, inline, [task(tmp_path, "a")]) == []
    assert written(tmp_path) == {"a": "a 3"}


def test_the_command_shows_all_stages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = RunRecord(tmp_path)
    record.passed("fit", 5, 5)
    with record.stage("descriptors", [10, 10, 10], reused=2, units_reused=20) as log:
        run_tasks(
            [task(tmp_path, "a", size=10), task(tmp_path, "b", "bug")], inline(log.claims), log, retries=0
        )
        assert until(lambda: read_status(tmp_path)[-1].failed == 1)  # the record lags by half a second
        cli.status.status(tmp_path)
        shown = capsys.readouterr().out.splitlines()
        cli.status.status(tmp_path, as_json=True)
        said = json.loads(capsys.readouterr().out)
    assert shown[0].startswith("fit          done, 5 of 5")
    counts = r"3 of 5 tasks done \(2 of them before\), 1 failed, 1 left, 30 of 50"
    expected = rf"descriptors  running, {counts}, .* a second, .* to go"
    assert re.fullmatch(expected, shown[1])
    assert shown[2].startswith("  failed   b after 1 attempts: ValueError: never right")
    assert [stage["stage"] for stage in said] == ["fit", "descriptors"]
    assert (said[1]["done"], said[1]["failed"], said[1]["left"]) == (3, 1, 1)


def test_a_plain_run_leaves_a_record(tiny_dataset: Path, tmp_path: Path) -> None:
    values = {
        "output": str(tmp_path / "out"),
        "dataset": {"path": str(tiny_dataset)},
        "extraction": {"model": f"onnx:{tiny_network(tmp_path / 'n.onnx')}"},
    }
    api.evaluate(from_dict(ExperimentConfig, values))
    states = {stage.stage: (stage.state, stage.units_done) for stage in api.status(tmp_path / "out")}
    assert states == {"descriptors": ("done", 18), "search": ("done", 18)}
