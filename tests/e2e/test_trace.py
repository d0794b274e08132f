"""A trace of a run: it changes nothing, it is whole, and it agrees with the statistics."""

import json
import subprocess

import pytest

from house import Machine

LIMIT_MIB = 128
OPTIONS = {"mib": 256, "count": 200}


def replayed(house, path):
    done = subprocess.run(
        [house.command(), "replay", path, "--policy", "recorded,place", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("chaos", [None, 7])
def test_a_trace_changes_nothing_and_has_every_move(house, tmp_path, chaos):
    bare = house.bare("small_late", **OPTIONS).need_healthy()
    path = tmp_path / "a.trace"
    outcome = house.swapped(
        "small_late", LIMIT_MIB, chaos=chaos, environment={"BARSWAP_TRACE": str(path)}, **OPTIONS
    ).need_healthy()
    assert outcome.lines == bare.lines
    report = replayed(house, path)
    assert report["whole"] and report["program"] == "e2e_small_late"
    figures = outcome.figures()
    recorded = report["policies"][0]
    # How near the two are is a measurement (docs/benchmarks.md), not a test.
    assert report["replayed_ns"] > 0 and report["recorded_ns"] > 0
    # Both count a move by its target.
    # Pages that left for a copy of theirs are moves, but not over the link.
    assert recorded["bytes_out"] == figures["bytes_out"] + figures["clean_bytes"] > 0
    assert recorded["bytes_in"] == figures["bytes_in"]
    assert report["dies"][0]["budget"] == figures["limit"]


def test_a_trace_with_pages_on_peers_says_so(simulated, tmp_path):
    path = tmp_path / "a.trace"
    outcome = simulated.swapped(
        "small_late", LIMIT_MIB, Machine(dies=2), environment={"BARSWAP_TRACE": str(path)}, **OPTIONS
    ).need_healthy()
    assert outcome.figures()["peer"] > 0
    report = replayed(simulated, path)
    assert report["whole"] and "HBM of other dies" in "".join(report["notes"])


def test_a_trace_that_cannot_be_written_is_said_once(house):
    outcome = house.swapped(
        "small_late", LIMIT_MIB, environment={"BARSWAP_TRACE": "/no/such/folder/t"}, **OPTIONS
    )
    assert outcome.status == 0 and outcome.lines[-1] == "ok"
    assert outcome.err.count("\n") == 1 and "/no/such/folder/t" in outcome.err


def test_launches_of_unknown_layout_are_counted_as_such(house, tmp_path):
    kind = "801:always"  # CUDA_ERROR_NOT_SUPPORTED
    path = tmp_path / "a.trace"
    house.swapped(
        "small_late",
        LIMIT_MIB,
        Machine(more={"SIM_FAULT": f"cuKernelGetParamInfo:1:{kind};cuFuncGetParamInfo:1:{kind}"}),
        environment={"BARSWAP_TRACE": str(path)},
        **OPTIONS,
    ).need_healthy()
    report = replayed(house, path)
    assert f"of {report['launches']} launches nobody knows the reach" in "".join(report["notes"])


@pytest.mark.parametrize("program", ["hot_late", "streams", "threads", "contexts", "graphs"])
def test_launches_are_timed_if_asked(house, tmp_path, program):
    """With events around them: in graphs and in plain launches, on every kind of stream, in contexts
    that come and go; what is captured is left alone, and the bytes are the same."""
    options = {"mib": 160, "rounds": 2} if program == "hot_late" else {"count": 2}
    bare = house.bare(program, **options).need_healthy()
    path = tmp_path / "a.trace"
    outcome = house.swapped(
        program,
        LIMIT_MIB,
        environment={"BARSWAP_TRACE": str(path), "BARSWAP_TRACE_TIMES": "1"},
        **options,
    ).need_healthy()
    assert outcome.lines == bare.lines
    report = replayed(house, path)
    assert report["launches"] > 0
    # Those of a capture have no time, nor the last ones of a program that does not wait for them.
    assert report["timed"] >= report["launches"] / 4
