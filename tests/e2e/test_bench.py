"""`barswap bench` on the simulated machine: its times mean nothing there, its bytes and rows do."""

import json
import os
import pathlib
import signal
import sys
import time

import pytest

from house import Machine

CAP = 64 << 20
PEERS = ["bare", "barswap", "in-place", "double-buffer"]
PLANS = {
    "fits": PEERS[:2],
    **{name: PEERS for name in ("sweep", "reread", "stencil", "gather", "phases")},
}


def bench(house, *options, machine=None, **more):
    policy = house.policy(1024).split(";")[1:]  # the bench sets the limit itself
    keys = [word for item in policy for word in ("--set", item)]
    argv = [house.command(), "bench", "--quick", "--json", "--library", house.shim, *keys, *options]
    return house.run(argv, machine or Machine(), **more)


@pytest.mark.full
def test_every_row_is_there_and_agrees(simulated):
    outcome = bench(simulated)
    assert outcome.status == 0 and outcome.err == "", outcome.err
    assert not outcome.violations
    found = json.loads(outcome.out)
    assert found["cap"] == CAP and found["good"]
    assert set(found["links"]) == {"h", "d", "both", "z", "w", "hbm"}
    assert all(rate > 0 for rate in found["links"].values())
    sizes = [16 << 20, 32 << 20, 64 << 20]
    assert [(one["page_bytes"], one["in"]) for one in found["remap"]] == [
        (size, tier) for size in sizes for tier in ("hbm", "host")
    ]
    assert [one["page_bytes"] for one in found["page_in"]] == sizes
    assert [(one["in"], one["times"]) for one in found["reread"]] == [
        ("hbm", 1), ("host", 1), ("host", 2), ("host", 8)
    ]
    assert {row["workload"]: [run["plan"] for run in row["runs"]] for row in found["suite"]} == PLANS
    for row in found["suite"]:
        hashes = {value for run in row["runs"] for value in run["hashes"]}
        assert row["hashes_agree"] and len(hashes) == 1 and not row["troubles"]
        assert 0 < row["bound"]["t_star_s"] <= row["bound"]["moved_s"]
        assert all(run["cycle_s"] > 0 and run["over_t_star"] > 0 for run in row["runs"])
        ours = row["runs"][1]["stats"]
        assert ours["budget"] <= CAP and ours["hbm"] <= CAP
        # Small results lie beside the ranges.
        if row["workload"] == "fits":
            assert row["bytes"] < CAP and ours["host"] == 0
        else:
            assert row["bytes"] > CAP and ours["host"] >= row["over_bytes"] > 0
    different = {row["runs"][0]["hashes"][0] for row in found["suite"]}
    assert len(different) == len(PLANS), "workloads that hash alike did not do their own work"


@pytest.mark.parametrize("plan", PEERS)
def test_other_bytes_fail_it(simulated, plan):
    outcome = bench(simulated, "--workloads", "sweep", "--spoil", f"sweep:{plan}")
    assert outcome.status == 1
    assert "sweep, ratio 1.50: the hashes differ" in outcome.err
    row = json.loads(outcome.out)["suite"][0]
    hashes = {run["plan"]: run["hashes"][0] for run in row["runs"]}
    spoilt = hashes.pop(plan)
    assert not row["hashes_agree"] and len(set(hashes.values())) == 1
    assert spoilt not in hashes.values()


def test_a_run_that_spilled_nothing_proves_nothing(simulated):
    """With nowhere to spill the run under Barswap is out of memory, and the others go on."""
    outcome = bench(simulated, "--workloads", "sweep", "--set", "tiers.host.enable=false")
    assert outcome.status == 1
    assert "CUDA_ERROR_OUT_OF_MEMORY" in outcome.err
    row = json.loads(outcome.out)["suite"][0]
    assert [run["plan"] for run in row["runs"]] == ["bare", "in-place", "double-buffer"]
    assert row["troubles"] == ["barswap failed with status 2"]


def test_another_limit_is_told(simulated, tmp_path):
    """dies.limit wins over vram.limit, with which the bench sets the cap."""
    own = tmp_path / "own.toml"
    own.write_text("schema = 1\n[dies]\nlimit = { 0 = '128MiB' }\n")
    outcome = bench(simulated, "--workloads", "fits", "--policy", own)
    assert outcome.status == 1
    row = json.loads(outcome.out)["suite"][0]
    assert row["troubles"] == [
        "barswap had another limit than the cap: does dies.limit stand in a policy?"
    ]


def test_bare_runs_are_bare_though_the_bench_is_not(simulated):
    outcome = bench(simulated, "--workloads", "sweep", preload=True)
    assert outcome.status == 0, outcome.err
    row = json.loads(outcome.out)["suite"][0]
    assert ["stats" in run for run in row["runs"]] == [False, True, False, False]


def test_a_cap_that_the_machine_has_not(simulated):
    outcome = bench(simulated, "--cap", "640MiB")
    assert outcome.status == 2 and outcome.out == ""
    assert "more than three quarters of the" in outcome.err


# Says what a real one would, as far as the bench looks at it, and computes nothing.
PYTHON = f"""#!{sys.executable}
import os, sys
if "find_spec" in sys.argv[2]:
    print(os.environ.get("FAKE_MISSING", "[]"))
    sys.exit()
with open(os.environ["FAKE_LOG"], "a") as log:
    print(*sys.argv[3:], file=log)
print('{{"cycle_s": 0.5, "hash": "a", "bytes": 100663297}}', flush=True)
sys.stdin.read()
"""


@pytest.fixture
def python(tmp_path):
    fake = tmp_path / "python"
    fake.write_text(PYTHON)
    fake.chmod(0o755)
    return fake


def test_tokens_have_accelerate_for_a_peer(simulated, python, tmp_path):
    log = tmp_path / "log"
    outcome = bench(simulated, "--workloads", "decode", "--python", python,
                    machine=Machine(more={"FAKE_LOG": str(log)}))
    # The one under Barswap holds nothing, and so would prove nothing.
    assert outcome.status == 1
    row = json.loads(outcome.out)["suite"][0]
    assert [run["plan"] for run in row["runs"]] == ["bare", "accelerate"]
    assert row["hashes_agree"] and row["runs"][1]["over_bare"] == 1
    assert row["bytes"] == 100663297 and row["over_bytes"] == 100663297 - CAP
    assert [trouble.split()[0] for trouble in row["troubles"]] == ["barswap"]
    words = f"--layers 24 --layer-bytes {CAP // 16}"
    rest = f"--cap {CAP} --warm 1 --cycles 2"
    assert log.read_text().splitlines() == [
        f"{words} {rest}", f"{words} {rest}", f"{words} --accelerate {rest}"
    ]


def test_a_python_without_the_libraries(simulated, python):
    missing = Machine(more={"FAKE_MISSING": '["torch"]'})
    outcome = bench(simulated, "--workloads", "decode", "--python", python, machine=missing)
    assert outcome.status == 2 and outcome.out == ""
    assert f"{python} has no torch. Name a Python with" in outcome.err
    outcome = bench(simulated, "--workloads", "decode", "--python", "/nowhere")
    assert outcome.status == 2 and "/nowhere cannot be started" in outcome.err


def test_no_die(simulated):
    argv = [simulated.command(), "bench", "--quick", "--library", simulated.shim]
    outcome = simulated.run(argv, Machine(more={"SIM_NO_DEVICE": "1"}))
    assert outcome.status == 2 and outcome.out == ""
    assert "cuInit: CUDA_ERROR_NO_DEVICE" in outcome.err
    assert "this machine could not be measured" in outcome.err


def measuring_child_of(process):
    """Once it is what it will be: until then the bench itself waits for it."""
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None:
        for child in map(int, children.read_text().split()):
            if b"bench-child" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes():
                return child
        time.sleep(0.001)
    return pytest.fail("the bench ended before it measured")


def test_a_run_that_stands_still_is_ended(simulated):
    argv = [simulated.command(), "bench", "--quick", "--limit", "3", "--library", simulated.shim]
    process, _ = simulated.start(argv)
    child = measuring_child_of(process)
    os.kill(child, signal.SIGSTOP)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert "the measuring run was not done after 3 s" in err
    assert not pathlib.Path(f"/proc/{child}").exists()
