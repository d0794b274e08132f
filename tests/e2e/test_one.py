"""A program that sees one die of several: which one it gets, and what nobody else notices of that."""

import json
import re
import subprocess

import pytest

from house import Machine, TIMEOUT_S, find_built

LIMIT_MIB = 64
ONE = {"dies.present": "one"}


def uuid(die):
    return "51" * 15 + f"{die:02x}"


def named(die):
    return f"GPU-51515151-5151-5151-5151-5151515151{die:02x}"


def with_nvml(house, looks="", **more):
    """NVML beside the simulated driver; `looks` says how its dies look (tests/sim/nvml/nvml.cpp)."""
    nvml = find_built(house.build, "tests/sim/nvml/libnvidia-ml.so.1", "the simulated NVML").parent
    return {"LD_LIBRARY_PATH": f"{nvml}:{house.sim}", "SIM_NVML": looks, **more}


def swapped(house, dies, looks="", keys=None, more=None, **options):
    return house.swapped(
        "dies",
        LIMIT_MIB,
        Machine(dies=dies),
        {**ONE, **(keys or {})},
        environment=with_nvml(house, looks, **(more or {})),
        **options,
    )


def dies_of(lines):
    return [line.split()[2] for line in lines if line.startswith("die ")]


class Crowd:
    """Processes that start at the same moment and stay alive until they are let go."""

    def __init__(self, house, dies, count, keys=None, runtime=None):
        self.runtime = runtime or house.home() / "runtime"
        environment = with_nvml(house, XDG_RUNTIME_DIR=str(self.runtime))
        environment["BARSWAP_SET"] = house.policy(LIMIT_MIB, {**ONE, **(keys or {})})
        self.processes = [
            house.start(
                [house.program("dies"), "--hold"],
                Machine(dies=dies),
                True,
                environment,
                stdin=subprocess.PIPE,
            )[0]
            for _ in range(count)
        ]
        self.lines = [[] for _ in self.processes]
        for process, lines in zip(self.processes, self.lines):
            for line in process.stdout:
                if line == "holding\n":
                    break
                lines.append(line.rstrip("\n"))

    @property
    def dies(self):
        return [dies_of(lines) for lines in self.lines]

    def go(self):
        for process in self.processes:
            _, err = process.communicate("\n", timeout=TIMEOUT_S)
            assert process.returncode == 0 and err == "", err


def test_one_die_is_seen(simulated):
    """The one with most free memory; the environment of the program and its children is untouched."""
    outcome = swapped(simulated, 4, "256MiB:0:0;256MiB:0:0;512MiB:50:3;256MiB:0:0").need_healthy()
    assert outcome.lines[:4] == ["dies 1", f"die 0 {uuid(2)}", "visible (not set)", "child (not set)"]
    assert outcome.figures()["state"] in ("active", "closing")


@pytest.mark.parametrize(
    "way, expected", (("most-free", 0), ("least-busy", 1), ("round-robin", 0))
)
def test_ways_to_choose(simulated, way, expected):
    looks = "900MiB:80:1;400MiB:0:1;800MiB:0:2;800MiB:20:0"
    outcome = swapped(simulated, 4, looks, {"routing.processes": way}).need_healthy()
    assert dies_of(outcome.lines) == [uuid(expected)]


@pytest.mark.parametrize("way", ("most-free", "least-busy", "round-robin"))
def test_processes_that_start_together(simulated, way):
    """Four on four dies, and two on each of two."""
    four = Crowd(simulated, 4, 4, {"routing.processes": way})
    assert sorted(four.dies) == [[uuid(die)] for die in range(4)]
    four.go()
    two = Crowd(simulated, 2, 4, {"routing.processes": way})
    assert sorted(two.dies) == [[uuid(die)] for die in (0, 0, 1, 1)]
    two.go()


def test_the_dead_claim_nothing(simulated):
    """Whoever has ended leaves his die to the next; in turns, the next die comes all the same."""
    runtime = simulated.home() / "runtime"
    for way, expected in (("most-free", (0, 0)), ("round-robin", (1, 2))):
        for die in expected:
            crowd = Crowd(simulated, 4, 1, {"routing.processes": way}, runtime)
            crowd.go()
            assert crowd.dies == [[uuid(die)]]


@pytest.mark.parametrize(
    "given, expected",
    (("1,3", 3), ("3", 3), (f"{named(1)},{named(2)}", 2), ("1,9,2", 1)),
)
def test_visible_dies_of_the_user(simulated, given, expected):
    """The choice is among them; whoever reads the variable finds what the user wrote."""
    looks = "900MiB:0:0;100MiB:0:0;200MiB:0:0;300MiB:0:0"
    outcome = swapped(simulated, 4, looks, more={"CUDA_VISIBLE_DEVICES": given}).need_healthy()
    assert dies_of(outcome.lines) == [uuid(expected)]
    assert f"visible {given}" in outcome.lines and f"child {given}" in outcome.lines


def test_dies_that_are_used(simulated):
    """Numbers of the policy count what the program was given, before the choice and after it."""
    looks = "900MiB:0:0;100MiB:0:0;200MiB:0:0;300MiB:0:0"
    keys = {"dies.use": "[1, 2]", "dies.limit": "{ 2 = '96MiB' }"}
    outcome = swapped(simulated, 4, looks, keys).need_healthy()
    assert dies_of(outcome.lines) == [uuid(2)]
    assert outcome.stats.die[0].limit == 96 << 20


def test_threads_that_start_the_driver_together(simulated):
    outcome = swapped(simulated, 4, "1MiB:0:0", count=8).need_healthy()
    assert dies_of(outcome.lines) == [uuid(1)]


def test_without_nvml(simulated):
    """One line with the cause and the cure, and the program sees all."""
    outcome = swapped(simulated, 2, "broken", count=4)
    assert outcome.status == 0 and outcome.lines[-1] == "ok"
    assert dies_of(outcome.lines) == [uuid(0), uuid(1)]
    assert outcome.err.count("\n") == 1
    assert "libnvidia-ml.so.1" in outcome.err and "Cure:" in outcome.err


def test_a_die_that_the_driver_does_not_have(simulated):
    """NVML knows it, cuInit does not: all are seen, and one line says so."""
    outcome = swapped(simulated, 2, "1MiB:0:0;1MiB:0:0;512MiB:0:0")
    assert outcome.status == 0 and outcome.lines[-1] == "ok"
    assert dies_of(outcome.lines) == [uuid(0), uuid(1)]
    assert outcome.err.count("\n") == 1 and named(2) in outcome.err


def test_slices_are_left_alone(simulated):
    """The driver of slices has rules of its own; it gets the variable as it is."""
    outcome = swapped(simulated, 2, more={"CUDA_VISIBLE_DEVICES": f"{named(1)},MIG-1"})
    assert outcome.need_healthy() and dies_of(outcome.lines) == [uuid(1)]


def test_status_tells_the_die(simulated):
    crowd = Crowd(simulated, 4, 2)
    environment = {"XDG_RUNTIME_DIR": str(crowd.runtime), "PATH": "/usr/bin:/bin"}
    told = subprocess.run(
        [str(simulated.command()), "status", "--json"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    ).stdout
    crowd.go()
    assert all(named(die) in told for die in (0, 1)) and json.loads(told)


def test_explained(simulated):
    told = subprocess.run(
        [str(simulated.command()), "check", "--explain", "--set", "dies.present=one"],
        capture_output=True,
        text=True,
        env={"HOME": str(simulated.folder), "PATH": "/usr/bin:/bin"},
        check=False,
    ).stdout
    assert re.search(r'^dies.present += "one" +# --set:1$', told, flags=re.MULTILINE)
    assert re.search(r'^routing.processes += "most-free" +# built-in$', told, flags=re.MULTILINE)
