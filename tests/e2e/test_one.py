"""A program that sees one die of several: which one it gets, and what nobody else notices of that."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

from house import Machine, TIMEOUT_S, find_built

LIMIT_MIB = 64
ONE = {"dies.present": "one"}
COUNT = pathlib.Path(__file__).resolve().parent / "programs/count_by_nvml.py"


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


def launcher(house, *options):
    return [house.command(), "run", "--library", house.shim, *options, "--"]


def launched(house, argv, dies, looks="", keys=None, more=None):
    """By `barswap run`, which chooses before the program begins."""
    environment = with_nvml(house, looks, **(more or {}))
    environment["BARSWAP_SET"] = house.policy(LIMIT_MIB, {**ONE, **(keys or {})})
    return house.run([*launcher(house), *argv], Machine(dies=dies), None, environment)


def dies_of(lines):
    return [line.split()[2] for line in lines if line.startswith("die ")]


class Crowd:
    """Processes that start at the same moment and stay alive until they are let go."""

    def __init__(self, house, dies, count, keys=None, runtime=None, by_launcher=False):
        self.runtime = runtime or house.home() / "runtime"
        environment = with_nvml(house, XDG_RUNTIME_DIR=str(self.runtime))
        environment["BARSWAP_SET"] = house.policy(LIMIT_MIB, {**ONE, **(keys or {})})
        before = launcher(house) if by_launcher else []
        self.processes = [
            house.start(
                [*before, house.program("dies"), "--hold"],
                Machine(dies=dies),
                not by_launcher,
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


def test_launched_with_one_die(simulated):
    """It is seen from the start, by the program and its children, and the claim is not doubled."""
    looks = "256MiB:0:0;256MiB:0:0;512MiB:50:3;256MiB:0:0"
    outcome = launched(simulated, [simulated.program("dies")], 4, looks).need_healthy()
    told = ["dies 1", f"die 0 {uuid(2)}", f"visible {named(2)}", f"child {named(2)}"]
    assert outcome.lines[:4] == told
    assert outcome.figures()["state"] in ("active", "closing")
    claims = (outcome.runtime / "barswap/claims").read_text().splitlines()
    assert len(claims) == 1 and claims[0].startswith(named(2))


@pytest.mark.parametrize("way", ("most-free", "least-busy", "round-robin"))
def test_launched_together(simulated, way):
    four = Crowd(simulated, 4, 4, {"routing.processes": way}, by_launcher=True)
    assert sorted(four.dies) == [[uuid(die)] for die in range(4)]
    four.go()
    two = Crowd(simulated, 2, 4, {"routing.processes": way}, by_launcher=True)
    assert sorted(two.dies) == [[uuid(die)] for die in (0, 0, 1, 1)]
    two.go()


def test_launched_or_not(simulated):
    """Who chooses by himself hears of those who were launched, and the other way round."""
    runtime = simulated.home() / "runtime"
    crowds = []
    for by_launcher in (False, True, True, False):
        crowds.append(Crowd(simulated, 4, 1, runtime=runtime, by_launcher=by_launcher))
    assert [crowd.dies for crowd in crowds] == [[[uuid(die)]] for die in range(4)]
    for crowd in crowds:
        crowd.go()


@pytest.mark.parametrize(
    "given, expected, shown",
    (
        ("1,3", 3, "3"),
        ("3", 3, "3"),
        (" 0 , 2 ", 0, "0"),
        (f"{named(1)},{named(2)}", 2, named(2)),
        ("1,9,2", 1, "1"),
    ),
)
def test_launched_among_the_visible(simulated, given, expected, shown):
    looks = "900MiB:0:0;100MiB:0:0;200MiB:0:0;300MiB:0:0"
    more = {"CUDA_VISIBLE_DEVICES": given}
    outcome = launched(simulated, [simulated.program("dies")], 4, looks, more=more).need_healthy()
    assert dies_of(outcome.lines) == [uuid(expected)]
    assert f"visible {shown}" in outcome.lines


@pytest.mark.parametrize("given", (None, "0,1,2,3", "3,1,2"))
def test_launched_with_numbers_of_the_policy(simulated, given):
    """They count what the user gave, not what the program sees."""
    looks = "900MiB:0:0;100MiB:0:0;200MiB:0:0;300MiB:0:0"
    keys = {"dies.use": "[1, 2]", "dies.limit": "{ 2 = '96MiB' }"}
    more = {"CUDA_VISIBLE_DEVICES": given} if given else {}
    outcome = launched(simulated, [simulated.program("dies")], 4, looks, keys, more).need_healthy()
    assert dies_of(outcome.lines) == [uuid(2)]
    assert outcome.stats.die[0].limit == 96 << 20


def test_launched_without_nvml(simulated):
    """The shim says it, the launcher nothing."""
    outcome = launched(simulated, [simulated.program("dies"), "--count", "4"], 2, "broken")
    assert outcome.status == 0 and outcome.lines[-1] == "ok"
    assert dies_of(outcome.lines) == [uuid(0), uuid(1)] and "visible (not set)" in outcome.lines
    assert outcome.err.count("\n") == 1
    assert "libnvidia-ml.so.1" in outcome.err and "Cure:" in outcome.err


@pytest.mark.parametrize("given", (None, "0,1,2"))
def test_launched_with_a_die_that_the_driver_does_not_have(simulated, given):
    """The program and its children find what the user gave."""
    looks = "1MiB:0:0;1MiB:0:0;512MiB:0:0"
    more = {"CUDA_VISIBLE_DEVICES": given} if given else {}
    argv = [simulated.program("dies"), "--count", "4"]
    outcome = launched(simulated, argv, 2, looks, more=more)
    assert outcome.status == 0 and outcome.lines[-1] == "ok"
    assert dies_of(outcome.lines) == [uuid(0), uuid(1)]
    shown = given or "(not set)"
    assert f"visible {shown}" in outcome.lines and f"child {shown}" in outcome.lines
    assert outcome.err.count("\n") == 1 and ("2" if given else named(2)) in outcome.err


def test_launched_with_slices(simulated):
    given = f"{named(1)},MIG-1"
    more = {"CUDA_VISIBLE_DEVICES": given}
    outcome = launched(simulated, [simulated.program("dies")], 2, more=more).need_healthy()
    assert dies_of(outcome.lines) == [uuid(1)] and f"visible {given}" in outcome.lines


def test_children_of_the_launched(simulated):
    """They share the die, whatever is free meanwhile; who names others is given these."""
    program = simulated.program("dies")
    script = f"{program}; {program}; CUDA_VISIBLE_DEVICES=0,2,3 {program}"
    keys = {"routing.processes": "round-robin"}
    outcome = launched(simulated, ["sh", "-c", script], 4, keys=keys)
    assert outcome.status == 0 and outcome.err == ""
    assert dies_of(outcome.lines) == [uuid(0), uuid(0), uuid(2)]
    assert outcome.lines.count(f"visible {named(0)}") == 2 and "visible 0,2,3" in outcome.lines


def test_launched_by_the_launched(simulated):
    """The choice is among what the user gave, not among the one die of the outer program."""
    more = {"CUDA_VISIBLE_DEVICES": "2,3"}
    looks = "900MiB:0:0;900MiB:0:0;800MiB:0:0;100MiB:0:0"
    program = simulated.program("dies")
    for option, dies, shown in (
        ("dies.use=[1]", [3], "3"),
        ("dies.limit={1='96MiB'}", [2], "2"),
        ("dies.present=as-is", [2, 3], "2,3"),
    ):
        argv = ["env", *launcher(simulated, "--set", option), program]
        outcome = launched(simulated, argv, 4, looks, more=more).need_healthy()
        assert dies_of(outcome.lines) == [uuid(die) for die in dies], option
        assert f"visible {shown}" in outcome.lines


def test_nothing_is_chosen_for_a_shell(simulated):
    """What `barswap env` prints holds for all that the shell ever starts."""
    argv = [simulated.command(), "env", "--library", simulated.shim, "--set", "dies.present=one"]
    outcome = simulated.run(argv, Machine(dies=4), None, with_nvml(simulated))
    assert outcome.status == 0 and outcome.err == ""
    assert "LD_PRELOAD" in outcome.out and "DEVICES" not in outcome.out and "ONE_DIE" not in outcome.out


@pytest.mark.parametrize("given", (None, "1,3", f"{named(3)},{named(1)}"))
def test_who_counts_by_nvml(simulated, given):
    """As PyTorch does, before the driver starts. Launched, he counts what the driver then has."""
    if simulated.first:
        pytest.skip("Python is no program of a sanitizer's")
    looks = "100MiB:0:0;100MiB:0:0;100MiB:0:0;300MiB:0:0"
    more = {"CUDA_VISIBLE_DEVICES": given} if given else {}
    outcome = launched(simulated, [sys.executable, COUNT], 4, looks, more=more)
    assert outcome.status == 0 and outcome.err == ""
    assert outcome.lines == [f"nvml {uuid(3)}", f"driver {uuid(3)}"]
    # By LD_PRELOAD alone the choice comes too late for him (README).
    environment = with_nvml(simulated, looks, **more)
    environment["BARSWAP_SET"] = simulated.policy(LIMIT_MIB, ONE)
    late = simulated.run([sys.executable, COUNT], Machine(dies=4), True, environment)
    assert late.lines[-1] == f"driver {uuid(3)}"
    assert len(late.lines) == (3 if given else 5)
