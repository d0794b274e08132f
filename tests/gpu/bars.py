"""The phase `bars` of a visit: workloads of tests/bench, bare and under Barswap, each held against the
bound of its bar (bounds.py). A run that is missing is a bar missed, and costs no other workload."""

import dataclasses
import re
import statistics
import sys

import bounds
import catalogue

MIB = 1 << 20
REACH = "paging.plan=move;paging.overlap=reach"
HEAD = ("workload", "r", "W MiB", "B MiB", "bare ms", "ours ms", "T* ms", "ours/T*", "must", "beside", "warm",
        "in / out MiB", "state")


@dataclasses.dataclass
class Pair:
    """A workload bare and under Barswap."""
    label: str
    bare: object
    ours: object
    bare_ms: float
    ms: float
    agree: str  # "equal", or why not
    held: int
    budget: int

    @property
    def compute_s(self):
        return self.bare_ms / 1e3


def timed(run, name):
    """(ms, hash) of a run that has ended well and printed them, else None."""
    words = run.values.get(name, "").split()
    return (float(words[0]), words[1]) if run.good and len(words) > 1 else None


def states(run):
    return dict(re.findall(r"^state (\d+) (\w+)$", run.out, re.MULTILINE))


def agreement(name, bare, ours):
    """Of outputs; for a workload whose state goes on, of the states after as many passes."""
    reached, natural = states(ours), states(bare)
    if not reached.keys() <= natural.keys():
        return "no such pass in the bare run"
    same = (all(natural[count] == seen for count, seen in reached.items()) if reached
            else timed(bare, name)[1] == timed(ours, name)[1])
    return "equal" if same else "DIFFERS"


def phases_of(run):
    """Number of the phase -> (model, hash, ms of its cycles)."""
    lines = re.findall(r"^phase (\d+) (\d+) (\w+) ([\d. ]+)$", run.out, re.MULTILINE) if run.good else []
    return {int(number): (int(model), seen, [float(ms) for ms in times.split()])
            for number, model, seen, times in lines}


def why_not(run):
    return run.reason.splitlines()[0][:60] if run.reason else "did not print its result"


class Bars:
    def __init__(self, visit):
        self.visit = visit
        self.links = visit.links
        self.rows = []

    # --- runs

    def run(self, name, mode, more=(), cap_mib=None, script=None, keys=""):
        bench = catalogue.BENCHES[name]
        arguments = [*bench.arguments, *(bench.bare if mode == "bare" else ()), *more]
        run = self.visit.bench_run(f"bars {name}", mode, script or bench.script, arguments, cap_mib,
                                   bench.limit_s, keys)
        self.visit.runner.run_all([run])
        return run

    def pair(self, name, bare, label, cap_mib, keys=""):
        """None, and a bar missed, if there is nothing to compare."""
        ours = self.run(name, label, cap_mib=cap_mib, keys=keys)
        result, budget = timed(ours, name), ours.stats.get("peak_budget", 0)
        if not result or not budget:
            reason = why_not(ours) if not result else "no statistics"
            self.visit.bar(label, reason, "a run", False)
            return None
        return Pair(label, bare, ours, timed(bare, name)[0], result[0], agreement(name, bare, ours),
                    int(bare.values["held"]), budget)

    def pairs(self, name, reach=False):
        """One for each ratio of oversubscription; caps follow from what the bare run held. With `reach`
        as many with turns beside work."""
        bench = catalogue.BENCHES[name]
        bare = self.run(name, "bare")
        if not timed(bare, name) or "held" not in bare.values:
            self.visit.bar(name, f"bare: {why_not(bare)}", "a run", False)
            return []
        caps = [(name, bench.cap_mib)] if bench.cap_mib else [
            (f"{name} r={ratio}", round(int(bare.values["held"]) / ratio / MIB)) for ratio in bench.ratios]
        made = [self.pair(name, bare, label, cap_mib) for label, cap_mib in caps]
        if reach:
            made += [self.pair(name, bare, f"{label}, reach", cap_mib, REACH) for label, cap_mib in caps]
        return [pair for pair in made if pair]

    def judge(self, pair, bound_s, factor, beside=""):
        """A bound without anything over the budget would be one of another workload."""
        bound, over = bound_s * 1e3, pair.held > pair.budget
        holds = pair.agree == "equal" and over and pair.ms <= factor * bound
        told = [f"{pair.ms:.1f} ms", pair.agree, *([] if over else ["all fits"])]
        self.visit.bar(pair.label, ", ".join(told), f"<= {factor} x {bound:.1f} ms", holds)
        self.add(pair.label, pair.ours, f"{pair.held / pair.budget:.2f}", pair.held // MIB,
                 pair.budget // MIB, f"{pair.bare_ms:.1f}", f"{pair.ms:.1f}", f"{bound:.1f}",
                 f"{pair.ms / bound:.3f}" if bound else "-", f"<= {factor}", beside)

    def add(self, label, ours, *cells):
        stats = ours.stats
        moved = f"{stats.get('bytes_in', 0) // MIB} / {stats.get('bytes_out', 0) // MIB}"
        self.rows.append((label, *cells, ours.values.get("warm", "-"), moved, stats.get("state", "-")))

    # --- workloads

    def prefill(self):
        for pair in self.pairs("prefill", reach=True):
            beside_work = pair.label.endswith("reach")
            bound = (bounds.overlapped if beside_work else bounds.prefill)(
                pair.compute_s, pair.held, pair.budget, catalogue.MOVE_RATE)
            link_ms = bounds.over(pair.held, pair.budget) / self.links["h"] * 1e3
            beside = f"(W-B)/h {link_ms:.1f} ms: {pair.ms / link_ms:.3f}" if link_ms else ""
            self.judge(pair, bound, 1.15 if beside_work else 1.25, beside)

    def train(self):
        for pair in self.pairs("train", reach=True):
            state = int(pair.bare.values["moved_state"])
            bound = bounds.training(pair.compute_s, state, pair.budget, self.links["h"], self.links["d"])
            self.judge(pair, bound, 1.2 if pair.label.endswith("reach") else 1.6, f"state {state // MIB} MiB")

    def stencil(self):
        alone = self.run("stencil", "mapped", catalogue.STENCIL_MAPPED)
        size, ms = (alone.values.get("mapped", "") + " 0 0").split()[:2]
        rate = f"{int(size) / float(ms) / 1e6:.1f}" if float(ms) else "unknown"
        for pair in self.pairs("stencil"):
            both, behind = bounds.sweep(pair.compute_s, pair.held, pair.budget, self.links["z"],
                                        self.links["w"])
            self.judge(pair, both, 1.15, f"one way behind the other {behind * 1e3:.1f} ms;"
                                         f" on the host alone {rate} GB/s each way")

    def gather(self):
        for pair in self.pairs("gather"):
            table, rows = (int(pair.bare.values[name]) for name in ("table", "rows"))
            # Random rows of as much host memory, by the same kernel, are slower than the link.
            away = bounds.over(pair.held, pair.budget)
            alone = self.run("gather", "mapped", [*catalogue.GATHER_MAPPED, "--mapped-mib",
                                                  str(int(away / MIB))])
            count, ms = (alone.values.get("mapped", "") + " 0 0").split()[:2]
            rate = int(count) * 128 / float(ms) * 1e3 if float(ms) else self.links["z"]
            by_link, bound = (
                bounds.gather(pair.compute_s, rows * 128, table, pair.held, pair.budget, one)
                for one in (self.links["z"], min(rate, self.links["z"])))
            self.judge(pair, bound, 1.2, f"by z {by_link * 1e3:.1f} ms: {pair.ms / by_link / 1e3:.2f};"
                                         f" random rows on the host alone {rate / 1e9:.1f} GB/s")

    def gemm(self):
        for pair in self.pairs("gemm"):
            block, order = int(pair.bare.values["block"]), pair.bare.values["order"].split()
            # Rounded up: a bound may not be above what is possible.
            brought = bounds.fewest_in(order, -(-pair.budget // block)) * block
            bound = bounds.product(pair.compute_s, brought, self.links["h"])
            self.judge(pair, bound, 1.2, f"{brought / MIB:.0f} MiB must come in")

    def phases(self):
        bare = self.run("phases", "bare")
        natural = phases_of(bare)
        if not natural or "held" not in bare.values:
            self.visit.bar("phases", f"bare: {why_not(bare)}", "a run", False)
            return
        ours = self.run("phases", "phases", cap_mib=round(int(bare.values["held"]) / 2 / MIB))
        seen = phases_of(ours)
        if seen.keys() != natural.keys() or not ours.stats:
            reason = "no statistics" if seen and not ours.stats else why_not(ours)
            self.visit.bar("phases", reason, "a run", False)
            return
        same = all(seen[number][:2] == natural[number][:2] for number in natural)
        lost, lines = regrets(natural, seen)
        self.visit.sections["Models in turn, ms a cycle"] = "\n".join(lines)
        for kind, most in (("new", 2), ("known", 0.5)):
            worst = max(value for which, value in lost if which == kind)
            self.visit.bar(f"phases, a {kind} one",
                           f"regret {worst:.2f} cycles, {'equal' if same else 'DIFFERS'}",
                           f"<= {most}", same and worst <= most and ours.stats["peak_host"] > 0)

    def double_buffer(self):
        cap_mib = catalogue.CHAIN_CAP_MIB
        chain = ["--modes", "eager", "--batches", "2048", "--passes", "5", "--warm"]
        bare = self.run("double_buffer", "bare", [*chain, "3"], script="chain.py")
        rival = self.run("double_buffer", "by hand", ["--limit-mib", str(cap_mib)])
        theirs = timed(rival, "double_buffer")
        for label, keys in (("double_buffer", ""), ("double_buffer, reach", REACH)):
            ours = self.run("double_buffer", label, [*chain, "40"], cap_mib, "chain.py", keys)
            self.against_hand(label, bare, rival, theirs, ours)

    def against_hand(self, label, bare, rival, theirs, ours):
        found = [re.search(r"^chain 2048 eager ([\d.]+) (\w+)", run.out, re.MULTILINE) if run.good else None
                 for run in (bare, ours)]
        if not all(found) or not theirs:
            missing = [why_not(run) for run, good in ((bare, found[0]), (ours, found[1]), (rival, theirs))
                       if not good]
            self.visit.bar(label, missing[0], "three runs", False)
            return
        ms, same = float(found[1][1]), len({found[0][2], found[1][2], theirs[1]}) == 1
        speed, over = theirs[0] / ms, ours.stats.get("peak_host", 0) > 0
        self.visit.bar(label, f"{speed:.3f} of its speed, {'equal' if same else 'DIFFERS'}",
                       ">= 0.95", same and over and speed >= 0.95)
        budget, asked = (ours.stats.get(name, 0) for name in ("peak_budget", "asked_peak"))
        self.add(label, ours, f"{asked / budget:.2f}" if budget else "-", asked // MIB,
                 budget // MIB, found[0][1], f"{ms:.1f}", f"by hand {theirs[0]:.1f}", f"{1 / speed:.3f}",
                 ">= 0.95 of its speed", f"by hand holds {int(rival.values.get('held', 0)) // MIB} MiB")


def regrets(natural, seen):
    """[(new or known, regret)] of the phases, and lines that show every cycle."""
    models = {model for model, _, _ in seen.values()}
    bare_ms, settled = {}, {}
    for model in models:
        bare_ms[model] = statistics.median(ms for which, _, times in natural.values() if which == model
                                           for ms in times)
        tails = [statistics.median(times[-3:]) for which, _, times in seen.values() if which == model]
        settled[model] = bounds.steady(bare_ms[model], min(tails))
    met, lost, lines = set(), [], []
    for number, (model, _, times) in sorted(seen.items()):
        kind = "known" if model in met else "new"
        met.add(model)
        lost.append((kind, bounds.regret(times, settled[model])))
        bare = bounds.regret(natural[number][2], bare_ms[model])
        lines.append(f"- phase {number}, model {model}, {kind}: regret {lost[-1][1]:.2f} (bare {bare:.2f}) of"
                     f" {settled[model]:.1f} ms; {' '.join(f'{ms:.0f}' for ms in times)}")
    return lost, lines


def measure(visit, names, table):
    """`table` makes a Markdown table of a head and rows."""
    if not {"h", "d", "z", "w"} <= visit.links.keys():
        visit.bar("bars", "no link rates", "h, d, z and w", False)
        return
    bars = Bars(visit)
    for name in names:
        try:
            getattr(bars, name)()
        except Exception as error:  # One broken workload must not cost the others' results.
            visit.bar(name, f"{type(error).__name__}: {error}", "no error in the visit itself", False)
        if bars.rows:
            visit.sections["Workloads against their bounds"] = table(HEAD, bars.rows)
        visit.write()
