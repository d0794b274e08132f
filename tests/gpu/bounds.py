"""The least time that a workload could take, from what it holds, what fits and the rates of the links.

Bytes and seconds; rates in bytes a second, named as in docs/glossary.md: h copies in, d copies out, z
reads in place, w writes in place, p moves pages in whose victims are mapped to the host. W is what is
held, B the budget. Every bound is of a whole pass in a steady state.
"""


def over(held, budget):
    """W - B. A pass that reads all that is held brings in so much at least: what was in HBM when it
    began was no more than B."""
    return max(0, held - budget)


def prefill(compute_s, held, budget, rate):
    """Moves and computing one behind the other, as the bar is written."""
    return compute_s + over(held, budget) / rate


def overlapped(compute_s, held, budget, rate):
    """Moves beside computing."""
    return max(compute_s, over(held, budget) / rate)


def training(compute_s, state, budget, h, d):
    """T* = max(compute, (S - B)/h, (S - B)/d), with S = weights + gradients + both moments.

    When the last gradient is made, all of S lives, so S - B of it at least is on the host. The optimiser
    then reads every byte of S: as much must come in. And each was written since the step before,
    weights and moments by the optimiser, gradients by the backward pass: as much must have left. What
    the passes forward and backward read, the weights, is already counted: kept in HBM it costs
    nothing."""
    crossing = over(state, budget)
    return max(compute_s, crossing / h, crossing / d)


def sweep(compute_s, held, budget, z, w):
    """(both ways at once, one behind the other). Each array is read in one sweep and written in the
    next, so wherever W - B lies, in the mean of two sweeps half of it is read and half is written.
    A kernel that does both can use both ways of the link, so the first is the bound."""
    half = over(held, budget) / 2
    return max(compute_s, half / z, half / w), max(compute_s, half / z + half / w)


def gather(compute_s, row_bytes, table, held, budget, z):
    """`row_bytes` of a pass, from a table all of which is as likely to be read. What else is held, the
    row numbers and the output, is needed whole and stands in HBM."""
    share = min(1.0, over(held, budget) / table)
    return max(compute_s, row_bytes * share / z)


def product(compute_s, bytes_in, h):
    return max(compute_s, bytes_in / h)


def fewest_in(order, fitting, passes=6):
    """How many blocks must come in during a pass over `order`, at the best choice of what to keep: that
    which is needed last goes. `fitting` blocks can be kept. A name behind `+` is made there and need not
    come in. A block may be read in place and not kept, so no step needs room for all that it names.
    The first pass brings in what there is, and the last knows of no other behind it: neither counts."""
    names, made = [name.lstrip("+") for name in order] * passes, [name[0] == "+" for name in order] * passes
    later, wanted = [0] * len(names), {}
    for at in range(len(names) - 1, -1, -1):
        later[at] = wanted.get(names[at], len(names))
        # What is made anew next time is not worth keeping until then.
        wanted[names[at]] = len(names) if made[at] else at
    kept, brought = {}, 0
    for at, name in enumerate(names):
        inner = len(order) <= at < len(names) - len(order)
        brought += inner and name not in kept and not made[at]
        kept[name] = later[at]
        if len(kept) > fitting:
            del kept[max(kept, key=kept.get)]
    return brought / (passes - 2)


def steady(bare_ms, ours_ms):
    """The time of a cycle in a phase that has settled. Each model fits, so that is the bare one, but for
    a lasting overhead of a tenth at most, which is no regret of the change."""
    return min(ours_ms, 1.1 * bare_ms)


def regret(times_ms, steady_ms):
    """Cycles lost in a phase."""
    return sum(value - steady_ms for value in times_ms) / steady_ms
