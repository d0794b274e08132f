"""`barswap verify`: which kernels follow pointers, and the policy that says so."""

import re

import pytest

from house import Machine

OPTIONS = {"mib": 192, "rounds": 4}
LIMIT_MIB = 112


def verify(house, program, folder, *options, clean=1, machine=None, **arguments):
    written = folder / f"{program}.toml"
    keys = [word for item in house.policy(LIMIT_MIB).split(";") for word in ("--set", item)]
    argv = [house.command(), "verify", "--library", house.shim, "--write", written, "--clean", clean,
            *keys, *options, "--", house.program(program), *house.arguments(arguments)]
    return house.run(argv, machine), written


def reach(house, policy):
    """The environment of a run with turns beside work, under a written policy."""
    keys = {"paging.plan": "move", "paging.deadline": "10s", "vram.headroom": f"{8 * house.scale}MiB"}
    return {"BARSWAP_POLICY": str(policy), "BARSWAP_SET": house.policy(LIMIT_MIB, keys)}


def test_a_pointer_table_is_found_and_named(house, tmp_path):
    """The kernel, the page, the allocation and the caller are told; the run under the policy that is
    written has the same bytes and takes turns beside work."""
    bare = house.bare("recall", count=4, **OPTIONS).need_healthy()
    outcome, written = verify(house, "recall", tmp_path, clean=2, count=4, **OPTIONS)
    assert outcome.status == 0, outcome.err
    told = re.search(
        r"run 1: barswap_table reached page (\d+) of (\d+) of allocation (\d+) \((\d+) MiB at "
        r"(0x[0-9a-f]+)\), near (0x[0-9a-f]+), .* launched from \S*e2e_recall\+0x[0-9a-f]+",
        outcome.err)
    assert told, outcome.err
    page, pages, _, mib, base, near = told.groups()
    assert int(page) < int(pages)
    assert int(base, 16) <= int(near, 16) < int(base, 16) + (int(mib) << 20)
    assert "run 2: clean" in outcome.err and "run 3: clean" in outcome.err
    assert "evidence, not proof" in outcome.err
    # Both clean runs found what the bare one does.
    assert [line for line in outcome.lines if line.startswith("hash")][-2:] == [f"hash {bare.hash}"] * 2
    text = written.read_text()
    assert text.count("[[kernel]]") == 1 and 'name = "barswap_table"' in text
    assert "evidence, not proof" in text and told.group(0).split("run 1: barswap_table ")[1] in text

    argv = [house.program("recall")] + house.arguments({**OPTIONS, "rounds": 12, "count": 4})
    longer = house.run(argv).need_healthy()
    swapped = house.run(argv, None, True, reach(house, written)).need_healthy()
    assert swapped.lines == longer.lines
    assert swapped.figures()["beside_bytes"] > 0


@pytest.mark.full
def test_kernels_of_a_graph_are_looked_at_one_by_one(house, tmp_path):
    """A graph that is a chain is launched in slices, also by a run that moves pages beside them."""
    options = {"mode": "graph", "mib": OPTIONS["mib"], "count": 4}
    bare = house.bare("recall", rounds=4, **options).need_healthy()
    outcome, written = verify(house, "recall", tmp_path, rounds=4, **options)
    assert outcome.status == 0, outcome.err
    assert "run 1: barswap_table reached page" in outcome.err and "run 2: clean" in outcome.err
    assert f"hash {bare.hash}" in outcome.lines
    assert 'name = "barswap_table"' in written.read_text()

    argv = [house.program("recall")] + house.arguments({**options, "rounds": 12})
    longer = house.run(argv).need_healthy()
    swapped = house.run(argv, None, True, reach(house, written)).need_healthy()
    assert swapped.lines == longer.lines
    assert swapped.figures()["beside_bytes"] > 0


def test_a_program_that_names_all_needs_no_rule(house, tmp_path):
    outcome, written = verify(house, "recall", tmp_path, **OPTIONS)
    assert outcome.status == 0, outcome.err
    checked = int(re.search(r"So far (\d+) pieces of work found only", outcome.err).group(1))
    assert checked > OPTIONS["rounds"] * 8
    assert "[[kernel]]" not in written.read_text() and 'overlap = "reach"' in written.read_text()


def test_a_rule_for_another_kernel_hides_nothing(house, tmp_path):
    """A policy that is wrong about who follows pointers does not keep the right one from being found."""
    policy = tmp_path / "wrong.toml"
    policy.write_text('schema = 1\n[[kernel]]\nmatch = { name = "barswap_other" }\nreach = "everything"\n')
    outcome, written = verify(house, "recall", tmp_path, "--policy", policy, count=4, **OPTIONS)
    assert outcome.status == 0 and "run 1: barswap_table reached" in outcome.err, outcome.err
    # What held in the runs holds under the policy that they led to.
    assert "barswap_other" in written.read_text() and "barswap_table" in written.read_text()


@pytest.mark.full
def test_a_wrong_policy_ends_loudly_or_right(simulated, tmp_path):
    """Turns beside work without the rule that the program needs: an illegal address, or the same
    bytes because nothing was on its way just then; never others."""
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('schema = 1\n[paging]\noverlap = "reach"\n[[kernel]]\n'
                     'match = { name = "barswap_table" }\nreach = "parameters"\n')
    options = {"mib": 192, "rounds": 10, "count": 2}
    bare = simulated.bare("recall", **options).need_healthy()
    argv = [simulated.program("recall")] + simulated.arguments(options)
    for seed in range(2):
        more = {**reach(simulated, wrong), "BARSWAP_CHAOS": str(seed)}
        outcome = simulated.run(argv, None, True, more)
        if outcome.status == 0:
            assert outcome.lines == bare.lines
        else:
            assert "CUDA_ERROR_ILLEGAL_ADDRESS" in outcome.err, outcome.err


@pytest.mark.parametrize("program", ("churn", "maps", "ipc", "threads", "copies", "graphs"))
def test_other_programs_find_their_bytes(house, tmp_path, program):
    """Whatever a program does, being watched changes nothing."""
    bare = house.bare(program).need_healthy()
    outcome, written = verify(house, program, tmp_path, "--runs", "1")
    assert outcome.status == 0, outcome.err
    assert f"hash {bare.hash}" in outcome.lines
    assert "reached" not in outcome.err and "[[kernel]]" not in written.read_text()


def test_dies_that_reach_each_other_end_it(simulated, tmp_path):
    """What is submitted on one die may touch the memory of another: that is said, and the program goes on."""
    bare = simulated.bare("peers", Machine(dies=2)).need_healthy()
    outcome, written = verify(simulated, "peers", tmp_path, machine=Machine(dies=2))
    assert outcome.status == 1 and "cannot be verified: one die is to reach" in outcome.err
    assert f"hash {bare.hash}" in outcome.lines and not written.exists()


def test_work_that_is_not_seen_ends_it(simulated, tmp_path):
    """A private table may submit work that nobody describes."""
    unknown = "00112233445566778899aabbccddeeff"
    bare = simulated.bare("private_tables", mode=unknown).need_healthy()
    outcome, written = verify(simulated, "private_tables", tmp_path, mode=unknown)
    assert outcome.status == 1, outcome.err
    assert "cannot be verified: a private table of the driver that is not the runtime's" in outcome.err
    assert f"hash {bare.hash}" in outcome.lines and not written.exists()


def test_own_mappings_are_hidden_and_moved(house, tmp_path):
    """What is hidden may be unmapped, parked and mapped at other addresses by its owner meanwhile."""
    options = {"mib": 160, "count": 40}
    bare = house.bare("maps", **options).need_healthy()
    outcome, written = verify(
        house, "maps", tmp_path, "--set", "vram.virtual_maps=true", "--runs", "1", **options)
    assert outcome.status == 0, outcome.err
    assert f"hash {bare.hash}" in outcome.lines
    checked = int(re.search(r"So far (\d+) pieces of work found only", outcome.err).group(1))
    assert checked > 20 and "[[kernel]]" not in written.read_text()


def test_what_cannot_be_verified_says_so(simulated, tmp_path):
    outcome, written = verify(simulated, "recall", tmp_path, mib="nonsense")
    assert outcome.status != 0 and not written.exists()
    taken = tmp_path / "recall.toml"
    taken.write_text("precious")
    outcome, _ = verify(simulated, "recall", tmp_path, **OPTIONS)
    assert outcome.status == 2 and "--force" in outcome.err and taken.read_text() == "precious"
    argv = [simulated.command(), "verify", "--library", simulated.shim, "--write", tmp_path / "x.toml",
            "--", "/bin/true"]
    outcome = simulated.run(argv)
    assert outcome.status == 2 and "without a use of CUDA" in outcome.err
    argv[-1] = "/bin/false"
    outcome = simulated.run(argv)
    assert outcome.status == 2 and "exit status is 1" in outcome.err
