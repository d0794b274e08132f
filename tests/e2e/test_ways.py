"""Ends of processes, memory that leaves the process, and what the tiers' fullness looks like."""

import pytest

LIMIT_MIB = 64
MODES = ("return", "thread", "static", "quick", "abandon", "fork_before", "fork_after", "exec")


@pytest.mark.parametrize("chaos", (None, 4))
@pytest.mark.parametrize("mode", MODES)
def test_exit(house, mode, chaos):
    house_options = {"mib": 160, "mode": mode}
    bare = house.bare("exit_ways", **house_options)
    swapped = house.swapped("exit_ways", LIMIT_MIB, chaos=chaos, **house_options)
    for outcome in (bare, swapped):
        assert outcome.status == 0, outcome.err
        assert outcome.err == ""
        assert "ok" in outcome.lines
        assert not outcome.violations
    assert swapped.lines == bare.lines


@pytest.mark.full
@pytest.mark.parametrize("overlap", ("off", "reach"))
@pytest.mark.parametrize("work", ("", "_graph"))
@pytest.mark.parametrize("mode", ("fork_beside", "exit_beside"))
def test_ends_while_ranges_take_turns(house, mode, work, overlap):
    """A process forks, and ends, with a turn in hand, or a slice of a graph."""
    options = {"mib": 192, "mode": mode + work}
    bare = house.bare("exit_ways", **options)
    keys = {"paging.plan": "move", "paging.overlap": overlap, "paging.deadline": "10s",
            "vram.headroom": f"{8 * house.scale}MiB"}
    swapped = house.swapped("exit_ways", 112, keys=keys, **options)
    for outcome in (bare, swapped):
        assert outcome.status == 0 and outcome.err == "", outcome.err
        assert "ok" in outcome.lines
    assert swapped.lines == bare.lines
    assert swapped.figures()["causes"]["turn"]["bytes_in"] > 0


def test_ipc(house):
    """Exports answer as bare, or refuse; the program's bytes stay right either way."""
    bare = house.bare("ipc", mib=192).need_healthy()
    swapped = house.swapped("ipc", LIMIT_MIB, mib=192).need_healthy()
    assert swapped.hash == bare.hash
    refusals = ("CUDA_ERROR_INVALID_VALUE", "CUDA_ERROR_NOT_SUPPORTED")
    # A large range may find no room to be pinned in; sync_memops is a hint that pins, too.
    own = ("ipc handle of a large range", "ipc handle of a small range", "dma-buf", "sync_memops")
    bare_lines = [
        line for line in bare.lines if not line.startswith(("  opened", "sync_memops is"))
    ]
    swapped_lines = [
        line for line in swapped.lines if not line.startswith(("  opened", "sync_memops is"))
    ]
    assert len(bare_lines) == len(swapped_lines)
    for expected, line in zip(bare_lines, swapped_lines):
        if line.startswith(own):
            assert line == expected or any(refusal in line for refusal in refusals)
        else:
            assert line == expected


def test_no_spilling(house):
    """Inside the limit without any other tier the program meets out-of-memory, as it would bare."""
    outcome = house.swapped("demo", LIMIT_MIB, keys={"tiers.host.enable": "false"}, mib=256)
    assert outcome.status == 2
    assert "CUDA_ERROR_OUT_OF_MEMORY" in outcome.err
    assert not outcome.violations


def test_every_tier_full(house):
    """Out-of-memory comes when every tier is full, not sooner."""
    keys = {"tiers.host.limit": f"{128 * house.scale}MiB", "tiers.host.prepare": "0MiB"}
    fits = house.swapped("demo", LIMIT_MIB, keys=keys, mib=128)
    assert fits.need_healthy().lines == house.bare("demo", mib=128).need_healthy().lines
    full = house.swapped("demo", LIMIT_MIB, keys=keys, mib=384)
    assert full.status == 2 and "CUDA_ERROR_OUT_OF_MEMORY" in full.err
    assert full.figures()["out_of_memory"] > 0


VETTED = (
    "21318c60971432488ca641ff7324c8f2",
    "da9151d33ae6cc41a5c04f26d533e328",
    "1734dc26800d47458726c0f1e7dd8bca",
    "69a28e9f24498b47b030c5da330ea4e9",
)
OF_MODULES = "6e163fbeb958444d835ce182aff1991e"
UNKNOWN = "00112233445566778899aabbccddeeff"


@pytest.mark.parametrize("table", VETTED + (OF_MODULES, UNKNOWN))
def test_private_tables(simulated, table):
    """Those that submit nothing leave pages free to move; any other ends all moving, and is named."""
    outcome = simulated.swapped(
        "private_tables", LIMIT_MIB, mode=table, environment={"BARSWAP_LOG": "info"}
    )
    assert outcome.status == 0 and outcome.lines[-1] == "ok", outcome.err
    moves = table in VETTED
    assert (f"private table {table}" in outcome.err) != moves


def test_a_table_vetted_for_one_library(simulated):
    if simulated.first:
        pytest.skip("a sanitizer's build does not see who calls, and stays on the safe side")
    twin = simulated.build / "tests/e2e/libcufft_twin.so"
    outcome = simulated.swapped(
        "private_tables",
        LIMIT_MIB,
        mode=f"{OF_MODULES}@{twin}",
        environment={"BARSWAP_LOG": "info"},
    )
    assert "private table" not in outcome.need_healthy().err
