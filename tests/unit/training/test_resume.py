"""The state of a training and its lease, with real processes that wait, race, stop and die."""

import json
import logging
import multiprocessing
import os
import random
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from ich.training import lease
from ich.training.lease import Interrupted, Lost
from ich.training.resume import Resume

START = multiprocessing.get_context("fork")  # torch is imported once
PATIENCE = 30  # seconds after which a test has failed


def until(condition):
    """Wait for something to become true, and give it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.005)
    raise TimeoutError


def text(path):
    return path.read_text() if path.exists() else ""


def note(path, *words):
    """Add a line to a file that many processes write to."""
    with path.open("ab", buffering=0) as file:
        file.write((" ".join(map(str, words)) + "\n").encode())


@contextmanager
def process(function, *arguments):
    child = START.Process(target=function, args=arguments)
    child.start()
    try:
        yield child
    finally:
        child.kill()
        child.join()


def hold(folder, log, elsewhere=False, job="", heartbeat=0.05):
    """Enter, save who has it, and stay until told to stop."""
    me = lease.myself
    lease.myself = lambda: replace(me(), job=job, **({"machine": "elsewhere"} if elsewhere else {}))
    with Resume(folder, "f", heartbeat=heartbeat) as state:
        state.save({"by": os.getpid()})
        note(log, "saved", os.getpid())
        until(lambda: state.stop)
        try:
            state.save({"by": os.getpid(), "again": True})
            note(log, "again", os.getpid())
        except Lost:
            note(log, "lost", os.getpid())


def enter(folder, heartbeat=0.05):
    with Resume(folder, "f", heartbeat=heartbeat) as state:
        return state.load()


def squeue(folder, monkeypatch, script):
    """A program of that name that stands for Slurm."""
    program = folder / "bin/squeue"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


# The state


def test_a_saved_state_is_loaded(tmp_path):
    with Resume(tmp_path / "r", "f") as state:
        assert state.load() is None
        state.save({"weights": torch.arange(3), "epoch": 2})
        assert state.load()["weights"].tolist() == [0, 1, 2]
    assert {path.name for path in (tmp_path / "r").iterdir()} == {"state.pt"}
    with Resume(tmp_path / "r", "f") as state:
        assert state.load()["epoch"] == 2


def test_discarding_leaves_nothing(tmp_path):
    with Resume(tmp_path / "r", "f") as state:
        state.save({"epoch": 2})
        state.discard()
    assert not (tmp_path / "r").exists()


def test_the_state_of_another_training_is_passed_over_and_the_difference_is_named(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with Resume(tmp_path, "f", {"epochs": 3, "model": "resnet18"}) as state:
        state.save({})
    with Resume(tmp_path, "g", {"epochs": 5, "model": "resnet18"}) as state:
        assert state.load() is None
    assert "epochs 3 instead of 5" in caplog.text
    assert "resnet18" not in caplog.text
    with Resume(tmp_path, "g", {"epochs": 3, "model": "resnet18"}) as state:
        assert state.load() is None
    assert "other data or code" in caplog.text


def cut(content):
    return content[: len(content) // 2]


def change(content):
    place = content.index(b"\x01" * 1000)
    return content[:place] + b"\x02" + content[place + 1 :]


@pytest.mark.parametrize("damage", [cut, change, lambda _: b"", lambda _: b"PK" * 1000])
def test_a_damaged_state_is_set_aside(tmp_path, caplog, damage):
    with Resume(tmp_path, "f") as state:
        state.save({"weights": torch.ones(1000, dtype=torch.uint8)})
    path = tmp_path / "state.pt"
    broken = damage(path.read_bytes())
    path.write_bytes(broken)
    with Resume(tmp_path, "f") as state:
        assert state.load() is None
    assert "damaged" in caplog.text
    assert not path.exists()
    assert (tmp_path / "state.damaged").read_bytes() == broken


def save_on_and_on(folder):
    with Resume(folder, "f") as state:
        for count in range(1, 10**6):
            state.save({"count": count, "weights": torch.from_numpy(np.full(100_000, count))})


def test_whenever_a_job_is_killed_the_state_is_whole(tmp_path):
    last = 0
    for pause in (0.0, 0.003, 0.007, 0.012, 0.02):
        with process(save_on_and_on, tmp_path) as child:
            until((tmp_path / "lease-first").exists)
            before = until(lambda: (tmp_path / "state.pt").exists() and (tmp_path / "state.pt").stat().st_mtime_ns)
            until(lambda before=before: (tmp_path / "state.pt").stat().st_mtime_ns != before)
            time.sleep(pause)
            child.kill()
            child.join()
        with Resume(tmp_path, "f") as state:
            loaded = state.load()
            assert (loaded["weights"] == loaded["count"]).all()
            last = max(last, loaded["count"])
        assert not list(tmp_path.glob(".state-*"))
    assert last > 1


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_asks_to_stop(tmp_path, number):
    before = signal.getsignal(number)
    with Resume(tmp_path, "f") as state:
        assert not state.stop
        os.kill(os.getpid(), number)
        until(lambda: state.stop)
    assert signal.getsignal(number) == before


def wait_in_vain(folder, log):
    try:
        enter(folder)
    except Interrupted as error:
        note(log, error)


def test_a_job_that_waits_can_be_stopped(tmp_path):
    with Resume(tmp_path / "r", "f", heartbeat=0.05) as state:
        with process(wait_in_vain, tmp_path / "r", tmp_path / "log") as child:
            until(lambda: list((tmp_path / "r").glob("waiting-*")))
            os.kill(child.pid, signal.SIGTERM)
            child.join(PATIENCE)
            assert child.exitcode == 0
        assert f"process {os.getpid()}" in text(tmp_path / "log")
        state.save({})
    assert {path.name for path in (tmp_path / "r").iterdir()} == {"state.pt"}


# The lease


def test_a_later_job_waits_and_takes_over_the_finished_state(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    folder, log = tmp_path / "r", tmp_path / "log"
    with process(hold, folder, log) as child:
        until(lambda: "saved" in text(log))
        threading.Timer(0.3, os.kill, (child.pid, signal.SIGTERM)).start()
        loaded = enter(folder)
        assert "again" in text(log), "the second entered while the first was there"
    assert loaded == {"by": child.pid, "again": True}
    assert f"waiting for process {child.pid} on" in caplog.text
    assert "it has left" in caplog.text


def finish_when_awaited(folder, log):
    with Resume(folder, "f", heartbeat=0.5) as state:
        state.save({"epoch": 7})
        note(log, "saved")
        until(lambda: list(folder.glob("waiting-*")))
        state.discard()


def test_the_finished_state_is_left_to_a_job_that_waits(tmp_path):
    folder = tmp_path / "r"
    with process(finish_when_awaited, folder, tmp_path / "log"):
        until(lambda: text(tmp_path / "log"))
        with Resume(folder, "f", heartbeat=0.5) as state:
            assert state.load() == {"epoch": 7}
            state.discard()
    assert not folder.exists()


def test_what_a_killed_waiting_job_has_left_keeps_no_state(tmp_path):
    with Resume(tmp_path / "r", "f", heartbeat=0.05) as state:
        with process(enter, tmp_path / "r"):
            until(lambda: list((tmp_path / "r").glob("waiting-*")))
        state.save({})
        time.sleep(lease.ENDED * 0.05)  # how long a sign of life counts
        state.discard()
        assert not (tmp_path / "r/state.pt").exists()


def test_a_killed_owner_is_followed_at_once(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    folder, log = tmp_path / "r", tmp_path / "log"
    with process(hold, folder, log, False, "", 1000.0) as child:
        until(lambda: "saved" in text(log))
        child.kill()
        child.join()
        loaded = enter(folder, heartbeat=1000.0)
    assert loaded == {"by": child.pid}
    assert f"taking over from process {child.pid}" in caplog.text
    assert "that process has ended" in caplog.text


def test_an_owner_on_another_machine_is_followed_when_it_is_silent(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    folder, log = tmp_path / "r", tmp_path / "log"
    with process(hold, folder, log, True) as child:
        until(lambda: "saved" in text(log))
        child.kill()
        child.join()
        started = time.monotonic()
        loaded = enter(folder)
    assert loaded == {"by": child.pid}
    assert time.monotonic() - started > lease.SILENT * 0.05
    assert "no sign of life" in caplog.text


def test_an_owner_that_comes_back_too_late_changes_nothing(tmp_path):
    folder, log = tmp_path / "r", tmp_path / "log"
    with process(hold, folder, log) as child:
        until(lambda: "saved" in text(log))
        os.kill(child.pid, signal.SIGSTOP)
        with Resume(folder, "f", heartbeat=0.05) as state:  # once the stopped process has been silent for long enough
            state.save({"by": "second"})
            os.kill(child.pid, signal.SIGCONT)  # its signs of life find out, and `stop` tells it
            until(lambda: f"lost {child.pid}" in text(log))
            child.join(PATIENCE)
            assert state.load() == {"by": "second"}
            state.save({"by": "second, still"})


def stop_before_renaming(folder, log):
    """Be stopped when the state is written and nothing is left to do but to rename it."""
    with Resume(folder, "f", heartbeat=0.05) as state:
        check = state._lease.check

        def check_and_pause():
            state._lease.check = check
            check()
            note(log, "written")
            os.kill(os.getpid(), signal.SIGSTOP)

        state._lease.check = check_and_pause
        try:
            state.save({"by": "first"})
        except Lost:
            note(log, "lost")


def test_an_owner_stopped_just_before_renaming_changes_nothing(tmp_path):
    folder, log = tmp_path / "r", tmp_path / "log"
    with process(stop_before_renaming, folder, log) as child:
        until(lambda: "written" in text(log))
        with Resume(folder, "f", heartbeat=0.05) as state:
            state.save({"by": "second"})
            os.kill(child.pid, signal.SIGCONT)
            until(lambda: "lost" in text(log))
            child.join(PATIENCE)
            assert state.load() == {"by": "second"}


def compete(folder, log, seed):
    """Enter again and again, add one to the count in the state, and at times die in the midst of it."""
    draws = random.Random(seed)
    for _ in range(6):
        with Resume(folder, "f", heartbeat=0.5) as state:
            note(log, "enter", os.getpid())
            writers = (state.load() or {"writers": []})["writers"]
            if draws.random() < 0.15:
                note(log, "die", os.getpid())
                os.kill(os.getpid(), signal.SIGKILL)
            state.save({"writers": [*writers, os.getpid()]})
            note(log, "saved", os.getpid())
            if draws.random() < 0.15:
                note(log, "die", os.getpid())
                os.kill(os.getpid(), signal.SIGKILL)
            note(log, "leave", os.getpid())


def test_of_many_that_race_one_has_it_at_any_moment(tmp_path):
    folder, log = tmp_path / "r", tmp_path / "log"
    children = [START.Process(target=compete, args=(folder, log, seed)) for seed in range(10)]
    for child in children:
        child.start()
    for child in children:
        child.join(PATIENCE)
    assert {child.exitcode for child in children} == {0, -signal.SIGKILL}
    events = [line.split() for line in text(log).splitlines()]
    inside = None
    for event, pid in events:
        assert inside == (None if event == "enter" else pid), events
        inside = None if event in ("leave", "die") else pid
    assert sum(event == "die" for event, _ in events) >= 3
    written = [int(pid) for event, pid in events if event == "saved"]
    assert len(set(written)) > 5
    with Resume(folder, "f") as state:
        assert state.load() == {"writers": written}


def test_leftovers_of_an_unlucky_release_do_no_harm(tmp_path):
    """As a release that was killed between its steps leaves them."""
    dead = replace(lease.myself(), token="dead", started="0")
    for name, token in (("first", "dead"), ("dead", "end"), ("unreachable", "x")):
        (tmp_path / f"lease-{name}").write_text(json.dumps(vars(replace(dead, token=token))))
    with Resume(tmp_path, "f") as state:
        state.save({})
        assert (tmp_path / "lease-end").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"state.pt", "lease-unreachable"}


# Slurm


@pytest.mark.parametrize("answer", ["echo TIMEOUT", "echo 'error: Invalid job id specified' >&2; exit 1", "exit 0"])
def test_an_owner_whose_job_has_ended_is_followed_soon(tmp_path, monkeypatch, caplog, answer):
    caplog.set_level(logging.INFO)
    squeue(tmp_path, monkeypatch, f'[ "$3" = --jobs=17 ] || exit 9\n{answer}')
    folder, log = tmp_path / "r", tmp_path / "log"
    with process(hold, folder, log, True, "17", 0.2) as child:
        until(lambda: "saved" in text(log))
        child.kill()
        started = time.monotonic()
        enter(folder, heartbeat=0.2)
    assert lease.ENDED * 0.2 < time.monotonic() - started < lease.SILENT * 0.2
    assert "Slurm has ended that job" in caplog.text


@pytest.mark.parametrize("answer", ["echo RUNNING", "echo 'Unable to contact slurm controller' >&2; exit 1"])
def test_an_owner_whose_job_may_run_is_waited_for(tmp_path, monkeypatch, caplog, answer):
    caplog.set_level(logging.INFO)
    squeue(tmp_path, monkeypatch, answer)
    folder, log = tmp_path / "r", tmp_path / "log"
    with process(hold, folder, log, True, "17") as child:
        until(lambda: "saved" in text(log))
        child.kill()
        enter(folder)
    assert "no sign of life" in caplog.text


@pytest.mark.parametrize(
    ("other", "kept"),
    [("18 /here rule_train_a", True), ("18 /here rule_train_b", False), ("18 /there rule_train_a", False)],
)
def test_the_finished_state_is_left_to_a_queued_job_for_the_same_training(tmp_path, monkeypatch, other, kept):
    squeue(tmp_path, monkeypatch, f"echo '17 /here rule_train_a'; echo '{other}'")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with Resume(tmp_path / "r", "f") as state:
        state.save({})
        state.discard()
    assert (tmp_path / "r/state.pt").exists() is kept


def test_the_job_that_had_its_turn_is_no_reason_to_keep_the_state(tmp_path, monkeypatch):
    squeue(tmp_path, monkeypatch, "echo '17 /here rule_train_a'; echo '18 /here rule_train_a'")
    folder, log = tmp_path / "r", tmp_path / "log"
    with process(hold, folder, log, False, "17") as child:
        until(lambda: "saved" in text(log))
        threading.Timer(0.3, os.kill, (child.pid, signal.SIGTERM)).start()
        monkeypatch.setenv("SLURM_JOB_ID", "18")
        with Resume(folder, "f", heartbeat=0.05) as state:
            state.discard()
    assert not folder.exists()
