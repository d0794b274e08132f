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
