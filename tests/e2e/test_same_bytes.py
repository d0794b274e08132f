"""Every program gives the same output bare and under Barswap: when it fits, at two and four times
the limit, and when pages are moved at random at every drain."""

import pytest

from house import Machine

LIMIT_MIB = 64
# What a program holds at its peak is what --mib says, or a little less. The other options make a
# run last about a second.
PROGRAMS = {
    "alloc_kinds": {},
    "callbacks": {"count": 16},
    "churn": {"count": 120},
    "contexts": {"count": 3},
    "copies": {},
    "demo": {},
    "graphs": {"count": 6},
    "hidden": {"count": 100, "rounds": 2},
    "hot_late": {"rounds": 6},
    "persistent": {"count": 6},
    "queries": {},
    "runtime_shared": {},
    "runtime_static": {},
    "small_late": {"count": 60, "rounds": 2},
    "small_million": {"count": 3000},
    "streams": {"rounds": 1},
    "sweep": {"rounds": 8},
    "recall": {"rounds": 8},
    "threads": {"count": 2},
}
# These still hold their memory when they end, so that their last statistics show where it lay.
KEPT = ("demo", "hidden", "small_late", "streams", "graphs")
# A range of hidden takes whole pages of 2 MiB, so that 32 MiB is what fits for certain.
RATIOS = {"fits": 32, "twice": 128, "four times": 256}
SEEDS = (1, 2, 3)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_ratio(house, name, ratio):
    outcome = house.same(name, LIMIT_MIB, mib=RATIOS[ratio], **PROGRAMS[name])
    figures = outcome.figures()
    assert figures["out_of_memory"] == 0 or name in ("alloc_kinds",)
    if name not in KEPT:
        return
    assert figures["hbm"] <= LIMIT_MIB * house.scale << 20
    if ratio == "fits":
        assert figures["host"] == 0, "a program that fits pays nothing"
        assert figures["bytes_out"] == 0
    else:
        assert figures["host"] > 0, "the run was not oversubscribed"


@pytest.mark.parametrize(
    "name",
    "callbacks contexts graphs hot_late persistent streams sweep threads".split(),
)
def test_turns(house, name):
    """Ranges take turns without a trial, whatever else the program does."""
    house.same(name, LIMIT_MIB, mib=128, keys={"paging.plan": "move"}, **PROGRAMS[name])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_chaos(house, name, seed):
    outcome = house.same(name, LIMIT_MIB, Machine(seed=seed), chaos=seed, mib=128, **PROGRAMS[name])
    if name in ("demo", "hidden", "small_late"):
        moved = outcome.figures()["causes"].get("chaos", {})
        assert moved, "nothing was moved at random"
        assert moved["pages_in"] + moved["pages_out"] > 0


@pytest.mark.parametrize("chaos", (None, 1, 2))
def test_peers(house, chaos):
    """Two dies that read, write and copy each other's memory, in ranges of more than 32 MiB: smaller
    ones stay in HBM once peers may reach them."""
    house.same("peers", LIMIT_MIB, Machine(dies=2, seed=chaos or 1), chaos=chaos, mib=320)


POOLED = {"dies.present": "pooled"}


@pytest.mark.parametrize("chaos", (None, 1))
@pytest.mark.parametrize("name", "demo graphs hidden sweep threads".split())
def test_pool(simulated, name, chaos):
    """One device with the HBM of three dies: a third of the program lies on each, or moves at
    random between them and the host."""
    outcome = simulated.same(
        name, LIMIT_MIB, Machine(dies=3, seed=chaos or 1), POOLED, chaos=chaos, mib=160,
        **PROGRAMS[name]
    )
    figures = outcome.figures()
    if name in KEPT:
        assert figures["peer"] > 0, "nothing lay on a peer"
        assert figures["host"] == 0 or chaos, "the host comes last"


@pytest.mark.parametrize("name", ("demo", "hidden"))
def test_full_die_borrows(simulated, name):
    """Dies as they are: the first borrows of the second, and what neither has room for lies on the
    host."""
    outcome = simulated.same(name, LIMIT_MIB, Machine(dies=2), mib=256, **PROGRAMS[name])
    figures = outcome.figures()
    assert figures["peer"] >= LIMIT_MIB * 3 // 4 * 9 // 10 << 20
    assert figures["host"] > 0
    assert figures["hbm"] <= LIMIT_MIB << 20


MAPS = {"vram.virtual_maps": "true"}


@pytest.mark.parametrize("ratio", RATIOS)
def test_own_mappings(house, ratio):
    """A program that maps its memory itself; only with the key is that memory virtual."""
    outcome = house.same("maps", LIMIT_MIB, keys=MAPS, mib=RATIOS[ratio], count=60)
    figures = outcome.figures()
    assert figures["outside"] == 0 and figures["out_of_memory"] == 0
    assert figures["asked_peak"] > RATIOS[ratio] * house.scale << 19


@pytest.mark.parametrize("seed", SEEDS)
def test_own_mappings_chaos(house, seed):
    outcome = house.same(
        "maps", LIMIT_MIB, Machine(seed=seed), MAPS, chaos=seed, mib=128, count=40
    )
    moved = outcome.figures()["causes"].get("chaos", {})
    assert moved and moved["pages_in"] + moved["pages_out"] > 0


def test_own_mappings_stay_with_the_driver(simulated):
    """Without the key such memory is the driver's, counted and never moved."""
    outcome = simulated.same("maps", LIMIT_MIB, Machine(vram_mib=512), mib=128, count=20)
    assert outcome.figures()["host"] == 0
    small = Machine(vram_mib=128)
    assert simulated.bare("maps", small, mib=160).status == 2
    assert simulated.swapped("maps", 64, small, mib=160).status == 2
    swapped = simulated.swapped("maps", 64, small, keys=MAPS, mib=160).need_healthy()
    assert swapped.lines == simulated.bare("maps", Machine(vram_mib=1024), mib=160).lines


def test_without_any_key(house):
    """A bare LD_PRELOAD with no policy at all, and a program that fits."""
    machine = Machine(vram_mib=4096)
    bare = house.bare("demo", machine, mib=32).need_healthy()
    swapped = house.run(
        [house.program("demo"), "--mib", str(32 * house.scale)], machine, preload=True
    ).need_healthy()
    assert swapped.lines == bare.lines


def test_more_than_the_die_has(simulated):
    """Bare, the die is too small; under Barswap the same die is enough."""
    right = simulated.bare("demo", Machine(vram_mib=1024), mib=160).need_healthy()
    small = Machine(vram_mib=128)
    assert simulated.bare("demo", small, mib=160).status == 2
    swapped = simulated.swapped("demo", 64, small, mib=160).need_healthy()
    assert swapped.lines == right.lines
