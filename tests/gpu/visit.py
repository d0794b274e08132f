#!/usr/bin/env python3
"""One visit to a real die: runs real programs bare and under Barswap, and ends with a table.

    visit.py --carry .carry --budget-s 500 --phases queries,links,hash --cases torch_train,cupy_ops

Phases, in the order in which they run:
    links     link rates, on which other figures stand
    remap     what moving a page costs in the driver, and how fast pages change places
    queries   every question about device memory, bare and preloaded, line by line
    twins     every kernel on the die and on the simulated machine, byte by byte
    command   one program through `barswap run`
    e2e       the other programs of tests/e2e, bare, capped and under chaos
    hash      each program: five bare runs, one capped, one inside the cap, chaos with three seeds
    gate      launch overhead, bare and preloaded in turn
    inside    time of each program inside the cap, bare and preloaded in turn
    generate  transformers generate at a cap of 9,000 MiB against its bound and against accelerate
    chain     chained products (tests/bench/chain.py) under the plans of --plans, against their bounds
    bench     `barswap bench`: its workloads bare, under Barswap and by hand, against T*
    bars      the workloads of tests/bench that --bars names, bare and ours, against their bounds
Runs of the phases `e2e` and `hash` go side by side, so their times are rough; the others go alone.
What came so far is written after every run to $OUT/visit.json, visit.md and logs.txt, so that a visit
that is cut short has still said something.
"""

import argparse
import atexit
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import bars
import catalogue
from processes import Run, Runner, grow_memory, memory_mib

PHASES = ["links", "remap", "queries", "twins", "command", "e2e", "hash", "gate", "inside", "generate",
          "chain", "bars", "bench"]
CHAIN_PLANS = ["auto", "move", "reach"]
MIB = 1 << 20
PACKAGES = ["torch", "transformers", "accelerate", "jax", "cupy-cuda13x", "triton", "numba",
            "numba-cuda"]


def ratio_text(value):
    return f"{value:.3f}"


def table(head, rows):
    text = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in text) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
             for row in text]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def machine():
    facts = {"kernel": platform.release(), "python": platform.python_version()}
    for name in PACKAGES:
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            facts[name] = "absent"
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        facts["die"] = subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        facts["die"] = f"nvidia-smi failed: {error}"
    return facts


class Visit:
    def __init__(self, options):
        self.options = options
        self.carry = pathlib.Path(options.carry).resolve()
        self.out = pathlib.Path(os.environ.get("OUT", ".out"))
        self.out.mkdir(parents=True, exist_ok=True)
        self.start = time.monotonic()
        self.runs = []
        self.sections = {}  # title -> markdown
        self.bars = []  # (bar, measured, bound, verdict)
        self.links = {}
        self.machine = machine()
        if options.grow_gib * 1024 > memory_mib("MemAvailable"):
            self.machine["MiB at the start"] = memory_mib("MemTotal")
            grow_memory(options.grow_gib * 1024)
        self.machine["MiB of memory"] = memory_mib("MemTotal")
        commit = self.carry / "commit"
        self.machine["commit"] = commit.read_text().strip() if commit.exists() else "unknown"
        self.machine["phases"] = options.phases
        (self.out / "logs.txt").write_text("")
        folder = tempfile.mkdtemp(prefix="visit")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        command = self.carry / "barswap"
        self.command = str(command) if command.exists() else None
        self.runner = Runner(pathlib.Path(folder), self.start + options.budget_s, self.took, self.command)
        self.programs = [p for p in catalogue.PROGRAMS
                         if not options.cases or p.name in options.cases.split(",")]
        self.seeds = [int(seed) for seed in options.chaos.split(",") if seed]

    # --- runs

    def environment(self, program=None, cap=None, chaos=0, inside=False):
        """For a bare run if there is no cap."""
        set_ = {}
        if program:
            set_.update(program.flags)
            set_.update(program.bare if cap is None else
                        catalogue.OURS_ENVIRONMENT.get(program.name, {}))
        if cap is not None:
            ours = "" if program is None else program.ours
            if inside and program is not None and program.ours_inside is not None:
                ours = program.ours_inside
            policy = ";".join(filter(None, [f"vram.limit={cap}", ours, self.options.set]))
            set_.update({"LD_PRELOAD": str(self.carry / "libbarswap.so"), "BARSWAP_SET": policy})
            if chaos:
                set_["BARSWAP_CHAOS"] = str(chaos)
        return set_

    def run_of(self, program, mode, inside=False, cap=None, chaos=0, arguments=None):
        arguments = arguments or (program.inside if inside else program.capped)
        return Run(program=program.name, mode=mode, argv=program.argv(self.carry, arguments),
                   environment=self.environment(program, cap, chaos, inside), limit_s=program.limit_s,
                   gpu_mib=3 * 1024 if inside else program.gpu_mib,
                   host_mib=0 if inside else program.gpu_mib)

    def took(self, run):
        self.runs.append(run)
        stats = run.stats
        extra = ""
        if stats:
            extra = (f" asked {stats['asked_peak'] // MIB} budget {stats['peak_budget'] // MIB}"
                     f" host {stats['peak_host'] // MIB} out {stats['bytes_out'] // MIB}"
                     f" in {stats['bytes_in'] // MIB} MiB {stats['state']}")
        print(f"[{time.monotonic() - self.start:5.0f}s] {run.program} {run.mode}:"
              f" {'ok' if run.good else 'FAILED'} {run.wall_s:.1f}s time {run.values.get('time', '-')}"
              f" hash {run.hash or '-'}{extra}"
              + (f"\n    {run.reason.splitlines()[0]}" if run.reason else ""), flush=True)
        with open(self.out / "logs.txt", "a") as log:
            log.write(f"=== {run.program} {run.mode} status {run.status} wall {run.wall_s:.2f}\n"
                      f"argv {run.argv}\nenvironment {run.environment}\n{run.reason}\n"
                      f"--- out\n{run.out[-3000:]}\n--- err\n{run.err}\n"
                      f"--- status\n{run.command_status}\n")
        self.write()

    def last(self, program, mode):
        for run in reversed(self.runs):
            if run.program == program and run.mode == mode:
                return run
        return None

    def good(self, program, mode):
        return [run for run in self.runs if run.program == program and run.mode == mode and run.good]

    def bar(self, name, measured, bound, holds):
        self.bars.append((name, measured, bound, "holds" if holds else "MISSED"))

    def tool(self, name, mode, arguments, cap=None, limit_s=60, environment=None, host_mib=0):
        run = Run(program=name, mode=mode, argv=[str(self.carry / name), *arguments],
                  environment={**self.environment(cap=cap), **(environment or {})}, limit_s=limit_s,
                  gpu_mib=4096, host_mib=host_mib)
        self.runner.run_all([run])
        return run

    # --- phases

    def phase_links(self):
        run = self.tool("links", "bare", [])
        self.links = {name: float(run.values[name]) for name in ("h", "d", "both", "z", "w", "hbm")
                      if name in run.values}
        rows = [(name, f"{rate / 1e9:.1f}") for name, rate in self.links.items()]
        self.sections["Links, GB/s, pieces of 32 MiB"] = table(("link", "GB/s"), rows)

    def phase_queries(self):
        size = ["--filler-mib", "8000"]
        bare = self.tool("queries", "bare", size)
        ours = self.tool("queries", "capped", size, cap=catalogue.CAP)
        rows = []
        lines = [[line for line in run.out.splitlines() if not line.startswith("#")]
                 for run in (bare, ours)]
        for mine, theirs in zip(lines[1], lines[0]):
            if mine != theirs:
                words = [(a, b) for a, b in zip(theirs.split(), mine.split()) if a != b]
                rows += [(theirs.split(":")[0], a, b) for a, b in words[:8]]
        same = bare.good and ours.good and lines[0] == lines[1]
        self.bar("queries under Barswap", active(ours), "active, host > 0",
                 active(ours) == "active" and ours.stats.get("peak_host", 0) > 0)
        # Two equal answers prove nothing if the question was not understood.
        known = [line for line in lines[0] if line.startswith(("fresh 3145728+", "crowded 3145728+"))]
        facts = [fact for fact in catalogue.POINTER_FACTS
                 if not all(fact in line.split() for line in known)]
        self.bar("pointer facts, bare", f"{len(known)} lines, unlike: {' '.join(facts) or 'none'}",
                 "docs/physics.md", len(known) == 6 and not facts)
        self.sections["Queries that differ"] = table(
            ("where", "bare", "ours"), rows[:40] or [("none", "", "")])
        self.bar("queries equal", f"{len(lines[0])} lines, {len(rows)} words differ", "0 differ", same)

    def phase_twins(self):
        dumps = [str(self.out / f"twins.{side}") for side in ("die", "sim")]
        die = self.tool("twins", "bare", ["--dump", dumps[0]])
        sim = self.tool("twins", "simulated", ["--dump", dumps[1]],
                        environment={"LD_LIBRARY_PATH": str(self.carry / "sim"), "SIM_VRAM": "2GiB"})
        rows = [(name, die.values.get(name), sim.values.get(name))
                for name in die.values if name.startswith("barswap_")]
        data = [path.read_bytes() if path.exists() else b"" for path in map(pathlib.Path, dumps)]
        for path in dumps:
            pathlib.Path(path).unlink(missing_ok=True)
        same = die.good and sim.good and len(data[0]) > 0 and data[0] == data[1]
        self.sections["Kernels, die and simulated"] = table(
            ("kernel", "die", "simulated"),
            [row for row in rows if row[1] != row[2]] or [("all equal", "", "")])
        self.bar("twins equal", f"{len(rows)} kernels, {len(data[0])} bytes", "every byte", same)

    def phase_command(self):
        size = ["--mib", "6000", "--rounds", "1"]
        argv = ["run", "--library", str(self.carry / "libbarswap.so"), "--set",
                f"vram.limit={catalogue.CAP}", "--", str(self.carry / "cudart_static"), *size]
        bare = self.tool("cudart_static", "command-bare", size, host_mib=6000)
        ours = self.tool("barswap", "command", argv, host_mib=6000)
        self.bar("barswap run", f"{ours.hash or ours.reason[:60]}", f"hash {bare.hash}",
                 ours.good and bare.good and ours.hash == bare.hash)

    def phase_e2e(self):
        modes = ["bare", "capped", *(f"chaos{seed}" for seed in self.seeds[:1])]
        runs = []
        for name, arguments in catalogue.E2E_ARGUMENTS.items():
            binary = self.carry / f"e2e_{name}"
            if not binary.exists():
                self.bar(f"e2e {name}", "not carried", "runs", False)
                continue
            argv = [str(binary), "--mib", str(catalogue.E2E_MIB), *arguments]
            for mode in modes:
                cap = None if mode == "bare" else catalogue.E2E_CAP
                environment = self.environment(cap=cap, chaos=self.seeds[0] if "chaos" in mode else 0)
                runs.append(Run(program=f"e2e_{name}", mode=mode, argv=argv, environment=environment,
                                limit_s=30, gpu_mib=3 * 1024, host_mib=3 * 1024))
        self.runner.run_all(runs, self.options.jobs)
        for name in catalogue.E2E_ARGUMENTS:
            found = [self.last(f"e2e_{name}", mode) for mode in modes]
            if any(run is None for run in found):
                continue
            bare = found[0]
            for run in found[1:]:
                same = (run.status == bare.status and bare.status in (0, 77)
                        and told(run, name) == told(bare, name))
                self.bar(f"e2e {name} {run.mode}", f"status {run.status}, {run.hash or run.reason[:50]}",
                         f"status {bare.status}, {bare.hash}", same)

    def phase_hash(self):
        bare_count = 2 if self.options.quick else 5
        order = []
        for step in range(max(bare_count, len(self.seeds)) + 1):
            for program in self.programs:
                if step < bare_count:
                    order.append(self.run_of(program, "bare"))
                if step == 0:
                    order.append(self.run_of(program, "capped", cap=catalogue.CAP))
                if step == 1:
                    small = self.run_of(program, "inside", inside=True, cap=catalogue.CAP)
                    order += [self.run_of(program, "inside-bare", inside=True), small]
                if step >= 1 and step <= len(self.seeds):
                    seed = self.seeds[step - 1]
                    order.append(self.run_of(program, f"chaos{seed}", cap=catalogue.CAP, chaos=seed))

        def skip(run):
            capped = self.last(run.program, "capped")
            failed = run.mode.startswith("chaos") and capped is not None and not capped.good
            return "the capped run failed" if failed else ""

        self.runner.run_all(order, self.options.jobs, skip)
        for program in self.programs:
            self.judge_hashes(program)

    def judge_hashes(self, program):
        bare = [run.hash for run in self.good(program.name, "bare")]
        stable = len(set(bare)) == 1
        capped = self.last(program.name, "capped")
        r = self.ratio(capped)
        for mode in ("capped", "inside", *(f"chaos{seed}" for seed in self.seeds)):
            run = self.last(program.name, mode)
            reference = self.good(program.name, "inside-bare" if mode == "inside" else "bare")
            if run is None or not reference:
                self.bar(f"{program.name} {mode}", "no run to compare", "hash", False)
            elif not run.good:
                self.bar(f"{program.name} {mode}", run.reason.splitlines()[0][:70],
                         "runs to the end", False)
            elif active(run) == "bypass":
                # A run that stepped aside gives the right bytes and proves nothing.
                self.bar(f"{program.name} {mode}", "bypass: " + run.stats.get("reason", ""), "active", False)
            elif mode == "inside" or stable:
                self.bar(f"{program.name} {mode}", "hash " + run.hash, "hash " + reference[-1].hash,
                         run.hash == reference[-1].hash)
            else:
                gap = norm_gap(run, reference[-1])
                self.bar(f"{program.name} {mode}", f"bare runs differ; norms off by {gap:.2g}",
                         f"{program.tolerance}", gap <= program.tolerance)
        if capped is not None and capped.good:
            host = capped.stats.get("peak_host", 0)
            self.bar(f"{program.name} oversubscribed", f"r {r:.2f}, host {host // MIB} MiB",
                     "r >= 2, host > 0", r >= 2 and host > 0)

    @staticmethod
    def ratio(run):
        """Peak bytes held over the budget, as the statistics say."""
        if run is None or not run.stats.get("peak_budget"):
            return 0.0
        return run.stats["asked_peak"] / run.stats["peak_budget"]

    def phase_gate(self):
        pairs = 2 if self.options.quick else 4
        for _ in range(pairs):
            self.tool("gate_probe", "bare", [], limit_s=30)
            self.tool("gate_probe", "inside", [], cap=catalogue.CAP, limit_s=30)
        ours = self.last("gate_probe", "inside")
        self.bar("gate under Barswap", active(ours), "active", active(ours) == "active")
        rows = []
        for name in ("driver_launch", "runtime_launch", "memset", "malloc_free"):
            figures = [[line_figures(run.values[name]) for run in self.good("gate_probe", mode)
                        if name in run.values] for mode in ("bare", "inside")]
            if not all(figures):
                self.bar(f"gate {name}", "no run", "<= 150 ns", False)
                continue
            # Medians of the runs' medians: one process may sit on a slower core than another.
            p50, p99 = ([statistics.median(run[key] for run in side) for side in figures]
                        for key in ("p50", "p99"))
            rows.append((name, *map(int, (p50[0], p50[1], p50[1] - p50[0], p99[0], p99[1]))))
            if name.endswith("launch"):
                self.bar(f"gate {name}", f"{p50[1] - p50[0]:+.0f} ns at p50", "<= 150 ns",
                         p50[1] - p50[0] <= 150)
        self.sections["Submission, ns"] = table(
            ("call", "bare p50", "ours p50", "added", "bare p99", "ours p99"), rows)

    def phase_inside(self):
        """Short programs get more pairs: a few hundredths of a second are much of theirs."""
        rows = []
        for program in self.programs:
            ratios, sections, walls, parts = [], [], [], []
            begin = time.monotonic()
            while len(ratios) < self.options.pairs or (
                    len(ratios) < self.options.pairs_most
                    and time.monotonic() - begin < self.options.pairs_s):
                bare = self.run_of(program, "timed-bare", inside=True)
                ours = self.run_of(program, "timed", inside=True, cap=catalogue.CAP)
                # The second of a pair finds warmer caches: take turns.
                self.runner.run_all([bare, ours] if len(ratios) % 2 == 0 else [ours, bare])
                if not bare.good or not ours.good:
                    break
                ratios.append(ours.wall_s / bare.wall_s)
                sections.append(seconds(ours) / seconds(bare))
                walls.append(bare.wall_s)
                parts.append([o - b for o, b in zip(ours.parts(), bare.parts())])
            if len(ratios) < self.options.pairs:
                self.bar(f"{program.name} inside, time", f"{len(ratios)} pairs", "<= 1.02", False)
                continue
            wall, section = statistics.median(ratios), statistics.median(sections)
            spread = max(walls) / min(walls)
            rows.append((program.name, len(ratios), f"{statistics.median(walls):.2f}",
                         ratio_text(spread), ratio_text(wall), ratio_text(section),
                         " ".join(f"{statistics.median(part):+.3f}" for part in zip(*parts))))
            self.bar(f"{program.name} inside, time",
                     f"end to end {ratio_text(wall)}, section {ratio_text(section)}", "<= 1.02",
                     wall <= 1.02)
        self.sections["Inside the cap, time: medians of the pairs' ratios"] = table(
            ("program", "pairs", "bare s", "longest/shortest bare", "ours/bare", "section ours/bare",
             "s more before, in, after the section"), rows)

    def phase_remap(self):
        lines = []
        for page_mib, pages in ((8, 32), (16, 32), (32, 16)):
            run = self.tool("remap", "bare", ["--page-mib", str(page_mib), "--pages", str(pages)])
            lines += run.out.splitlines()
            self.bar(f"remap, pages of {page_mib} MiB", f"status {run.status}", "runs", run.good)
        self.sections["What moving costs"] = "\n".join(["```", *lines, "```"])

    def phase_generate(self):
        cap_mib = catalogue.GENERATE_CAP_MIB
        if not self.links:
            self.phase_links()
        program = next(p for p in catalogue.PROGRAMS if p.name == "hf_generate")
        tokens = 12
        arguments = ["--rounds", str(tokens)]
        cap = f"{cap_mib}MiB"
        for _ in range(1 if self.options.quick else 2):
            self.runner.run_all([
                self.run_of(program, "generate-bare", arguments=arguments),
                self.run_of(program, "generate", arguments=arguments, cap=cap)])
        rival = self.run_of(program, "accelerate", arguments=[
            "--mode", "accelerate", "--limit-mib", str(cap_mib), *arguments])
        rival.limit_s = 150
        self.runner.run_all([rival])
        bare, ours = self.good("hf_generate", "generate-bare"), self.good("hf_generate", "generate")
        if not bare or not ours or "h" not in self.links:
            self.bar("generate", "no pair", "<= 1.15", False)
            return
        self.bar("generate, hash", ours[-1].hash, bare[-1].hash, ours[-1].hash == bare[-1].hash)
        base = statistics.median(seconds(run) for run in bare)
        best = min(ours, key=seconds)
        weights = int(best.values["weights"]) * MIB
        # Each token reads every weight once. What the allocator keeps free on the host is not read,
        # so no more than the weights count as remote.
        remote = min(best.window.get("host_mean", 0), weights) * tokens
        remote += best.window.get("bytes_in", 0) + best.window.get("bytes_out", 0)
        rows = []
        for name in ("h", "z"):
            bound = base + remote / self.links[name]
            rows.append((f"bound by {name}", f"{bound:.3f}", f"{seconds(best) / bound:.3f}"))
            if name == "h":
                self.bar("generate, time over bound", f"{seconds(best) / bound:.3f}", "<= 1.15",
                         remote > 0 and seconds(best) <= 1.15 * bound)
        if rival.good:
            gain = seconds(rival) / seconds(best)
            self.bar("generate against accelerate", f"{gain:.2f} times as fast", ">= 4", gain >= 4)
            rows.append(("accelerate", f"{seconds(rival):.3f}", f"{seconds(best) / seconds(rival):.3f}"))
        else:
            self.bar("generate against accelerate", rival.reason.splitlines()[0][:60], ">= 4", False)
        steady = [statistics.median(map(float, run.values["token_ms_each"].split(",")[-4:]))
                  for run in (bare[-1], best)]
        rows.append(("ms a token at the end, bare", f"{steady[0]:.1f}", ""))
        rows.append(("ms a token at the end, ours", f"{steady[1]:.1f}",
                     best.values["token_ms_each"].replace(",", " ")))
        head = [("bare", f"{base:.3f}", ""), ("ours", f"{seconds(best):.3f}", ""),
                ("remote GiB a token", f"{remote / tokens / 2**30:.2f}", ""),
                *((f"{run.mode} ms a token / prefill",
                   f"{run.values.get('token_ms')} / {run.values.get('prefill_ms')}", "")
                  for run in (bare[-1], best, rival))]
        self.sections[f"generate, {tokens} tokens, cap {cap}"] = table(
            ("what", "s", "ours over it"), head + rows)

    def phase_chain(self):
        """Each plan in a process of its own; the first passes teach the cycle and are its trial."""
        if not self.links:
            self.phase_links()
        cap_mib = catalogue.CHAIN_CAP_MIB
        runs = {}
        plans = [plan for plan in CHAIN_PLANS if plan in self.options.plans.split(",")]
        for plan in ("bare", *plans):
            whole = plan in ("bare", "auto")
            arguments = ["--modes", "graph,eager" if whole else "eager", "--passes", "5",
                         "--warm", "3" if plan == "bare" else "40",
                         "--batches", "1,16,256,2048" if whole else "256,2048"]
            environment = {}
            if plan != "bare":
                environment = self.environment(cap=f"{cap_mib}MiB")
                environment["BARSWAP_SET"] += f";paging.plan={'move' if plan == 'reach' else plan}"
                if plan == "reach":
                    environment["BARSWAP_SET"] += ";paging.overlap=reach"
                # Where a turn spends its time; else who asks for private tables.
                environment["BARSWAP_LOG"] = "debug" if plan == "reach" else "info"
            runs[plan] = Run("chain", plan, [sys.executable, str(catalogue.CHAIN), *arguments],
                             environment, limit_s=150, gpu_mib=20 * 1024, host_mib=20 * 1024)
            self.runner.run_all([runs[plan]])
        passes = {plan: chain_passes(run.out) for plan, run in runs.items()}
        rows = []
        wanted = [(plan, key) for plan in plans for key in passes["bare"]
                  if plan == "auto" or (key[1] == "eager" and key[0] > 16)]
        for plan in plans:
            stats = runs[plan].stats
            turn = stats.get("causes", {}).get("turn", {})
            moved = (f"{turn.get('bytes_in', 0) // MIB} MiB in by turns,"
                     f" {stats.get('beside_bytes', 0) // MIB} beside work, {active(runs[plan])}")
            remote = max(0, stats.get("asked_peak", 0) - stats.get("peak_budget", 0))
            for batch, mode in (key for name, key in wanted if name == plan):
                native, right = passes["bare"][batch, mode]
                if (batch, mode) not in passes[plan] or not stats:
                    self.bar(f"chain {plan} {batch} {mode}", "no run", "a run", False)
                    continue
                ms, seen = passes[plan][batch, mode]
                # Read in place, or moved at the rate that was last measured with victims mapped.
                moving = remote / catalogue.MOVE_RATE * 1e3
                bound = (remote / self.links["z"] * 1e3 * 1.05 if batch <= 16
                         else 1.15 * max(native, moving) if plan == "reach"
                         else 1.25 * (native + moving))
                rows.append((plan, batch, mode, f"{native:.1f}", f"{ms:.1f}", f"{bound:.1f}", moved))
                same = 'equal' if seen == right else 'DIFFERS'
                self.bar(f"chain {plan} {batch} {mode}", f"{ms:.1f} ms, {same}",
                         f"<= {bound:.1f} ms", seen == right and ms <= bound)
        if not rows:
            self.bar("chain", "no pair", "runs", False)
        self.sections[f"Chained products, cap {cap_mib} MiB, ms a pass"] = table(
            ("plan", "batch", "mode", "bare", "ours", "must", "what moved"), rows)

    def phase_bench(self):
        cap = "1GiB" if self.options.quick else "2GiB"
        run = self.tool("barswap", "bench", [
            "bench", "--json", "--rounds", "1", "--cap", cap, "--ratio", "2", "--limit", "60",
            "--library", str(self.carry / "libbarswap.so")], limit_s=300, host_mib=6 * 1024)
        try:
            found = json.loads(run.out)
        except json.JSONDecodeError:
            self.bar("bench", run.reason or "no JSON", "a report", False)
            return
        (self.out / "bench.json").write_text(run.out)
        rows = []
        for row in found["suite"]:
            name = f"{row['workload']} {row['ratio']:.2f}"
            self.bar(f"bench {name}, hashes", "; ".join(row["troubles"]) or "equal", "equal",
                     row["hashes_agree"] and not row["troubles"])
            # Bare runs have the HBM that the bound is without; what fits is bound by them alone.
            least = min((one["over_t_star"] for one in row["runs"] if one["plan"] != "bare"), default=0)
            if row["over_bytes"] > 0:
                self.bar(f"bench {name}, bound", f"least over T* {least:.3f}", ">= 0.97", least >= 0.97)
            for one in row["runs"]:
                stats = one.get("stats", {})
                rows.append((name, f"{row['bound']['t_star_s'] * 1e3:.2f}", one["plan"],
                             f"{one['cycle_s'] * 1e3:.2f}", ratio_text(one["over_t_star"]),
                             ratio_text(one["over_bare"]), stats.get("host", 0) // MIB,
                             stats.get("moved_in", 0) // MIB))
        self.sections[f"barswap bench, cap {cap}, ms a cycle"] = table(
            ("workload", "T*", "plan", "ms", "over T*", "over bare", "host MiB", "in MiB"), rows)
        links = [(name, f"{rate / 1e9:.1f}") for name, rate in found["links"].items()]
        costs = [(f"{one['page_bytes'] // MIB} MiB, {one['in']}: map, grant, unmap, us",
                  f"{one['map_us']:.1f} {one['grant_us']:.1f} {one['unmap_us']:.1f}")
                 for one in found["remap"]]
        costs += [(f"pages of {one['page_bytes'] // MIB} MiB coming in", f"{one['rate'] / 1e9:.1f}")
                  for one in found["page_in"]]
        again = [(f"reading {one['in']} {one['times']} times, over once in HBM", f"{one['factor']:.1f}")
                 for one in found["reread"]]
        self.sections["barswap bench, the machine, GB/s"] = table(("what", "value"), links + costs + again)

    def bench_run(self, name, mode, script, arguments, cap_mib, limit_s, keys=""):
        """Of a workload of tests/bench; bare if there is no cap. `keys` join the policy."""
        environment = self.environment(cap=f"{cap_mib}MiB" if cap_mib else None)
        if keys:
            environment["BARSWAP_SET"] += f";{keys}"
        return Run(name, mode, [sys.executable, str(catalogue.BENCH_FOLDER / script), *arguments],
                   environment, limit_s=limit_s, gpu_mib=24 * 1024, host_mib=20 * 1024)

    def phase_bars(self):
        if not self.links:
            self.phase_links()
        bars.measure(self, self.options.bars.split(","), table)

    # --- output

    def program_table(self):
        rows = []
        for program in self.programs:
            bare = self.good(program.name, "bare")
            capped = self.last(program.name, "capped")
            if not bare and capped is None:
                continue
            stats = capped.stats if capped else {}
            agree = "agree" if len({run.hash for run in bare}) == 1 else "DIFFER"
            chaos = " ".join(self.verdict(program, f"chaos{seed}") for seed in self.seeds)
            slow = (seconds(capped) / statistics.median(seconds(r) for r in bare)
                    if bare and capped and capped.good and seconds(bare[0]) else 0)
            peak = bare[0].values.get("peak", "") if bare else ""
            rows.append((program.name, peak, f"{self.ratio(capped):.2f}", f"{len(bare)} {agree}",
                         self.verdict(program, "capped"), self.verdict(program, "inside"), chaos,
                         f"{slow:.1f}", stats.get("peak_host", 0) // MIB,
                         stats.get("bytes_out", 0) // MIB, stats.get("bytes_in", 0) // MIB,
                         ",".join(stats.get("causes", {})) or "-", stats.get("drains", 0),
                         stats.get("drains_failed", 0), stats.get("stalls", 0)))
        return table(("program", "MiB", "r", "bare", "capped", "inside", "chaos", "time x", "host MiB",
                      "out MiB", "in MiB", "causes", "drains", "failed", "stalls"), rows) if rows else ""

    def verdict(self, program, mode):
        run = self.last(program.name, mode)
        reference = self.good(program.name, "inside-bare" if mode == "inside" else "bare")
        if run is None:
            return "-"
        if not run.good:
            return "skipped" if run.reason.startswith("not run") else "FAILED"
        if not reference:
            return "ran"
        return "equal" if run.hash == reference[-1].hash else "DIFFERS"

    def markdown(self, missed_only=False):
        parts = ["# A visit to a real die", "",
                 " · ".join(f"{name} {value}" for name, value in self.machine.items())]
        programs = self.program_table()
        if programs:
            parts += ["", f"## Programs at a cap of {catalogue.CAP}", "", programs]
        for title, body in self.sections.items():
            parts += ["", f"## {title}", "", body]
        bars = [bar for bar in self.bars if not missed_only or bar[3] != "holds"]
        if bars:
            parts += ["", "## Bars" + (" missed" if missed_only else ""), "",
                      table(("bar", "measured", "bound", ""), bars)]
        flags = [(p.name, assignments({**p.flags, **p.bare}),
                  f"{p.ours} {assignments(catalogue.OURS_ENVIRONMENT.get(p.name, {}))}", p.note)
                 for p in self.programs]
        parts += ["", "## Flags of the programs", "",
                  table(("program", "environment, bare", "ours beside the cap", "note"), flags)]
        parts += ["", "## Expected beforehand", ""]
        parts += [f"- {name}: {text}" for name, text in catalogue.EXPECTED.items()]
        return "\n".join(parts) + "\n"

    def write(self):
        (self.out / "visit.md").write_text(self.markdown())
        runs = [{key: value for key, value in vars(run).items() if key not in ("out", "err")}
                for run in self.runs]
        whole = {"machine": self.machine, "links": self.links, "bars": self.bars, "runs": runs,
                 "expected": catalogue.EXPECTED}
        (self.out / "visit.json").write_text(json.dumps(whole, indent=1))

    def go(self):
        phases = self.options.phases.split(",")
        for phase in (p for p in PHASES if p in phases):
            if self.runner.left_s() < 5:
                self.bar(phase, "not begun", "the visit's time was over", False)
                continue
            print(f"[{time.monotonic() - self.start:5.0f}s] phase {phase}; expected:"
                  f" {catalogue.EXPECTED.get(phase, '-')}", flush=True)
            try:
                getattr(self, f"phase_{phase}")()
            except Exception as error:  # One broken phase must not cost the others' results.
                self.bar(phase, f"{type(error).__name__}: {error}", "no error in the visit itself", False)
            self.write()
        self.write()
        # What holds, the flags and the expectations are in the file; a terminal's room is for the rest.
        print("\n" + self.markdown(missed_only=True).split("## Flags of the programs")[0])
        missed = sum(1 for bar in self.bars if bar[3] != "holds")
        print(f"{len(self.bars) - missed} bars hold, {missed} missed,"
              f" {time.monotonic() - self.start:.0f} s")
        return 1 if missed else 0


def told(run, name):
    """What a program of tests/e2e printed, but for what differs by design."""
    by_design = catalogue.E2E_BY_DESIGN.get(name, ())
    return [line for line in run.out.splitlines() if not (by_design and line.startswith(by_design))]


def active(run):
    return run.stats.get("state", "no statistics") if run is not None else "no run"


def assignments(environment):
    return " ".join(f"{name}={value}" for name, value in environment.items())


def seconds(run):
    try:
        return float(run.values.get("time", 0)) or run.wall_s
    except ValueError:
        return run.wall_s


def line_figures(text):
    return {name: int(value) for name, value in re.findall(r"(p50|p99|mean) (\d+)", text)}


def chain_passes(text):
    """(batch, mode) -> milliseconds, hash."""
    return {(int(batch), mode): (float(ms), seen) for batch, mode, ms, seen in
            re.findall(r"^chain (\d+) (\w+) ([\d.]+) (\w+)", text, re.MULTILINE)}


def norm_gap(run, other):
    pairs = [[float(x) for x in r.values.get("norms", "").split(",") if x] for r in (run, other)]
    if not pairs[0] or len(pairs[0]) != len(pairs[1]):
        return float("inf")
    return max(abs(a - b) / max(abs(b), 1e-30) for a, b in zip(*pairs))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--carry", default=".carry", help="folder made by pack.sh")
    parser.add_argument("--budget-s", type=float, default=500)
    parser.add_argument("--phases", default=",".join(PHASES))
    parser.add_argument("--cases", default="", help="programs of the catalogue; empty: all")
    parser.add_argument("--bars", default=",".join(catalogue.BENCHES), help="workloads of the phase bars")
    parser.add_argument("--plans", default=",".join(CHAIN_PLANS), help="of the phase chain")
    parser.add_argument("--chaos", default="1,2,3", help="seeds; empty: none")
    parser.add_argument("--jobs", type=int, default=5, help="runs side by side in the phase hash")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of the phase inside, at least")
    parser.add_argument("--pairs-most", type=int, default=9, help="and at most")
    parser.add_argument("--pairs-s", type=float, default=24, help="seconds after which no more begin")
    parser.add_argument("--grow-gib", type=int, default=64,
                        help="memory to have the machine make available first, if it has less")
    parser.add_argument("--set", default="", help="more policy for every run of ours, items by ;")
    parser.add_argument("--quick", action="store_true", help="two bare runs instead of five, fewer pairs")
    options = parser.parse_args()
    unknown = set(options.phases.split(",")) - set(PHASES)
    unknown |= set(filter(None, options.cases.split(","))) - {p.name for p in catalogue.PROGRAMS}
    unknown |= set(options.plans.split(",")) - set(CHAIN_PLANS)
    unknown |= set(options.bars.split(",")) - set(catalogue.BENCHES)
    if unknown:
        parser.error("unknown: " + ", ".join(sorted(unknown)))
    sys.exit(Visit(options).go())


if __name__ == "__main__":
    main()
