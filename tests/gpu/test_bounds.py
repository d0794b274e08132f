"""The arithmetic of the bounds, against cases that can be worked out by hand, and against a search of
all ways to keep blocks."""

import itertools
import pathlib
import random
import sys
import types

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import bars
import bounds

GB = 10**9


def test_what_fits_costs_nothing_but_computing():
    assert bounds.over(5, 7) == 0
    assert bounds.prefill(0.05, 5 * GB, 7 * GB, GB) == 0.05
    assert bounds.training(0.05, 5 * GB, 7 * GB, GB, GB) == 0.05
    assert bounds.sweep(0.05, 5 * GB, 7 * GB, GB, GB) == (0.05, 0.05)
    assert bounds.gather(0.05, GB, 5 * GB, 6 * GB, 7 * GB, GB) == 0.05


def test_prefill_adds_moves_to_computing():
    assert bounds.prefill(0.05, 13 * GB, 9 * GB, 40 * GB) == pytest.approx(0.15)
    assert bounds.overlapped(0.05, 13 * GB, 9 * GB, 40 * GB) == pytest.approx(0.1)
    assert bounds.overlapped(0.5, 13 * GB, 9 * GB, 40 * GB) == 0.5


def test_training_is_bound_by_its_slowest_part():
    assert bounds.training(0.1, 16 * GB, 8 * GB, 50 * GB, 40 * GB) == pytest.approx(0.2), "out"
    assert bounds.training(0.1, 16 * GB, 8 * GB, 25 * GB, 40 * GB) == pytest.approx(0.32), "in"
    assert bounds.training(0.5, 16 * GB, 8 * GB, 25 * GB, 40 * GB) == 0.5, "computing"


def test_a_sweep_reads_half_of_what_is_over_and_writes_half():
    both, behind = bounds.sweep(0.01, 8 * GB, 4 * GB, 50 * GB, 40 * GB)
    assert both == pytest.approx(0.05)
    assert behind == pytest.approx(0.04 + 0.05)


def test_rows_come_from_the_host_as_the_table_lies_there():
    assert bounds.gather(0.001, GB, 8 * GB, 9 * GB, 5 * GB, 50 * GB) == pytest.approx(0.01)
    assert bounds.gather(0.001, GB, 8 * GB, 20 * GB, 5 * GB, 50 * GB) == pytest.approx(0.02), "all of it"


def test_a_product_hides_moves_behind_computing():
    assert bounds.product(0.2, 5 * GB, 50 * GB) == 0.2
    assert bounds.product(0.2, 20 * GB, 50 * GB) == pytest.approx(0.4)


@pytest.mark.parametrize("fitting", [0, 1, 4, 7, 8, 9])
def test_a_cycle_brings_in_what_is_over(fitting):
    order = [f"a{i}" for i in range(8)]
    assert bounds.fewest_in(order, fitting) == pytest.approx(max(0, 8 - fitting))


def test_what_is_made_does_not_come_in():
    assert bounds.fewest_in(["+c", "a", "c"], 0) == 2
    assert bounds.fewest_in(["+c", "a", "c"], 1) == 1
    assert bounds.fewest_in(["+c", "a", "+c"], 1) == 0, "a stays, and c is made anew each time"


def fewest_by_search(order, fitting, passes):
    """Every subset that may be kept after each step, for all passes together."""
    costs = {frozenset(): 0}
    for name in order * passes:
        plain, grown = name.lstrip("+"), {}
        for kept, cost in costs.items():
            cost += plain not in kept and name[0] != "+"
            all_ = kept | {plain}
            for size in range(min(fitting, len(all_)) + 1):
                for some in itertools.combinations(sorted(all_), size):
                    some = frozenset(some)
                    grown[some] = min(cost, grown.get(some, cost))
        costs = grown
    return min(costs.values())


@pytest.mark.parametrize("seed", range(20))
def test_no_choice_brings_in_less(seed):
    draw = random.Random(seed)
    order = [draw.choice(["a", "b", "c", "d", "+d", "+e", "e"]) for _ in range(6)]
    fitting = draw.randint(0, 3)
    # The passes that count, by the same rule: what six passes cost less what four do is two passes.
    inner = (fewest_by_search(order, fitting, 10) - fewest_by_search(order, fitting, 4)) / 6
    assert bounds.fewest_in(order, fitting, 60) == pytest.approx(inner, abs=0.1)


def test_regret_counts_lost_cycles():
    assert bounds.regret([30, 10, 10, 12], 10) == pytest.approx(2.2)
    assert bounds.steady(10, 10.5) == 10.5, "an overhead that lasts is no regret"
    assert bounds.steady(10, 80) == 11, "a phase that never settles is"


def test_states_are_compared_after_as_many_passes():
    def run(*lines):
        return types.SimpleNamespace(out="\n".join(lines), values={"train": "9.0 last"}, good=True)

    bare = run("state 5 aa", "state 10 bb")
    assert bars.agreement("train", bare, run("state 10 bb")) == "equal"
    assert bars.agreement("train", bare, run("state 10 aa")) == "DIFFERS"
    assert bars.agreement("train", bare, run("state 15 cc")) == "no such pass in the bare run"


def test_each_phase_is_new_once_and_known_after():
    natural = {0: (0, "a", [10, 10, 10]), 1: (1, "b", [20, 20, 20]), 2: (0, "a", [10, 10, 10])}
    ours = {0: (0, "a", [30, 20, 10, 10, 10]), 1: (1, "b", [99, 99, 99]), 2: (0, "a", [14, 10, 10, 10])}
    lost, lines = bars.regrets(natural, ours)
    assert [kind for kind, _ in lost] == ["new", "new", "known"]
    assert [value for _, value in lost] == pytest.approx([3.0, 3 * 77 / 22, 0.4])
    assert len(lines) == 3
