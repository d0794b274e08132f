"""The runner of a visit, tried with programs that need no die."""

import ctypes
import json
import pathlib
import shutil
import subprocess
import sys
import time
import types

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import catalogue
import stats_file
import visit

FAKE = """
import os, pathlib, sys, time
sys.path.insert(0, {gpu!r})
import stats_file
ours = "LD_PRELOAD" in os.environ
kind = sys.argv[1]
if ours:
    folder = pathlib.Path(os.environ["XDG_RUNTIME_DIR"], "barswap")
    folder.mkdir()
    stats = stats_file.Stats()
    stats.magic = stats_file.NUMBERS["BARSWAP_STATS_MAGIC"]
    stats.version = stats_file.NUMBERS["BARSWAP_STATS_VERSION"]
    stats.state, stats.dies = 1, 1
    stats.die[0].asked_peak = 9 << 30
    stats.die[0].budget = 4 << 30
    stats.die[0].tier[2] = 5 << 30
    stats.causes[1].pages_out, stats.causes[1].bytes_out = 3, 3 << 20
    (folder / "1.stats").write_bytes(bytes(stats))
print("begin", time.monotonic_ns())
time.sleep(0.2)
print("end", time.monotonic_ns())
if ours and kind == "hangs":
    time.sleep(60)
if ours and kind == "fails":
    sys.exit("no more memory")
answer = "bad" if ours and kind == "differs" else "good"
if kind == "unstable":
    answer = str(time.time_ns())
print("hash", answer)
print("norms", "1.0,2.0")
print("peak 9000")
print("time 0.2")
"""


@pytest.fixture
def go(tmp_path, monkeypatch):
    script = tmp_path / "fake.py"
    script.write_text(FAKE.format(gpu=str(pathlib.Path(visit.__file__).parent)))

    def programs(*kinds):
        return [catalogue.Program(kind, [sys.executable, str(script), kind], [], [], 1024, limit_s=3)
                for kind in kinds]

    def run(kinds, phases="hash", **overrides):
        monkeypatch.setattr(catalogue, "PROGRAMS", programs(*kinds))
        monkeypatch.setenv("OUT", str(tmp_path / "out"))
        values = dict(carry=str(tmp_path), budget_s=60, phases=phases, cases="", chaos="1", jobs=4,
                      pairs=2, pairs_most=2, pairs_s=0, set="", grow_gib=0,
                      quick=True, bars=",".join(catalogue.BENCHES),
                      plans=",".join(visit.CHAIN_PLANS))
        values.update(overrides)
        options = types.SimpleNamespace(**values)
        one = visit.Visit(options)
        status = one.go()
        whole = json.loads((tmp_path / "out/visit.json").read_text())
        return status, {bar[0]: bar[3] for bar in whole["bars"]}, whole

    return run


BENCH_COMMAND = """#!/bin/sh
cat <<'JSON'
{report}
JSON
exit {status}
"""


def bench_report(over_t_star, agree=True):
    plans = [("bare", 0.5), ("barswap", over_t_star)]
    runs = [{"plan": plan, "cycle_s": 0.02 * ratio, "over_t_star": ratio, "over_bare": ratio}
            for plan, ratio in plans]
    runs[1]["stats"] = {"host": 64 << 20, "moved_in": 0}
    row = {"workload": "sweep", "ratio": 2.0, "over_bytes": 1 << 30, "bound": {"t_star_s": 0.02},
           "runs": runs, "hashes_agree": agree, "troubles": [] if agree else ["the hashes differ"]}
    return {"links": {"h": 55e9}, "reread": [{"in": "host", "times": 8, "factor": 600.0}],
            "remap": [{"page_bytes": 16 << 20, "in": "hbm", "map_us": 1, "grant_us": 2, "unmap_us": 3}],
            "page_in": [{"page_bytes": 16 << 20, "rate": 50e9}], "suite": [row]}


@pytest.mark.parametrize("over, agree, hashes, bound", [
    (1.1, True, "holds", "holds"), (0.9, True, "holds", "MISSED"), (1.1, False, "MISSED", "holds")])
def test_what_the_bench_found_is_judged_and_told(go, tmp_path, over, agree, hashes, bound):
    command = tmp_path / "barswap"
    report = json.dumps(bench_report(over, agree))
    command.write_text(BENCH_COMMAND.format(report=report, status=0 if agree else 1))
    command.chmod(0o755)
    _, bars, _ = go([], phases="bench")
    assert bars == {"bench sweep 2.00, hashes": hashes, "bench sweep 2.00, bound": bound}
    told = (tmp_path / "out/visit.md").read_text()
    assert "| sweep 2.00 | 20.00 | barswap |" in told and "reading host 8 times" in told
    assert json.loads((tmp_path / "out/bench.json").read_text())["suite"]


def test_a_bench_that_refuses_is_a_missed_bar(go, tmp_path):
    command = tmp_path / "barswap"
    command.write_text("#!/bin/sh\necho 'barswap: no driver' >&2\nexit 2\n")
    command.chmod(0o755)
    _, bars, _ = go([], phases="bench")
    assert bars == {"bench": "MISSED"}


def test_equal_hashes_hold(go):
    status, bars, whole = go(["steady"])
    assert status == 0
    assert set(bars.values()) == {"holds"}
    assert {"steady capped", "steady inside", "steady chaos1", "steady oversubscribed"} <= set(bars)
    capped = [run for run in whole["runs"] if run["mode"] == "capped"][0]
    assert capped["window"]["host_mean"] == 5 << 30
    assert capped["stats"]["causes"]["small"]["pages_out"] == 3


def test_a_wrong_byte_is_a_missed_bar(go):
    status, bars, _ = go(["differs"])
    assert status == 1
    assert bars["differs capped"] == "MISSED"


def test_unstable_programs_are_compared_by_their_norms(go):
    _, bars, _ = go(["unstable"], chaos="")
    assert bars["unstable capped"] == "holds"


def test_failures_are_told_and_spare_the_chaos_runs(go):
    _, bars, whole = go(["fails", "steady"])
    assert bars["fails capped"] == "MISSED" and bars["steady capped"] == "holds"
    reasons = {run["mode"]: run["reason"] for run in whole["runs"] if run["program"] == "fails"}
    assert "no more memory" in reasons["capped"]
    assert reasons["chaos1"] == "not run: the capped run failed"


def test_a_hang_ends_at_its_limit(go, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    start = time.monotonic()
    _, bars, whole = go(["hangs"], chaos="")
    assert time.monotonic() - start < 20
    assert bars["hangs capped"] == "MISSED"
    assert any("not done after 3 s" in run["reason"] for run in whole["runs"])


def test_the_table_comes_when_time_is_over(go):
    status, bars, whole = go(["steady"], budget_s=4.5, phases="hash,gate")
    assert status == 1
    assert bars == {"hash": "MISSED", "gate": "MISSED"}


def test_pairs_are_timed(go):
    _, bars, whole = go(["steady"], phases="inside")
    assert "steady inside, time" in bars
    assert [run["mode"] for run in whole["runs"]] == ["timed-bare", "timed", "timed", "timed-bare"]


CHAIN = """
import os, pathlib, sys, time
sys.path.insert(0, {gpu!r})
import stats_file
ours = "LD_PRELOAD" in os.environ
if ours:
    folder = pathlib.Path(os.environ["XDG_RUNTIME_DIR"], "barswap")
    folder.mkdir()
    stats = stats_file.Stats()
    stats.magic = stats_file.NUMBERS["BARSWAP_STATS_MAGIC"]
    stats.version = stats_file.NUMBERS["BARSWAP_STATS_VERSION"]
    stats.state, stats.dies = 1, 1
    stats.die[0].asked_peak = 12 << 30
    stats.die[0].budget = 9 << 30
    (folder / "1.stats").write_bytes(bytes(stats))
    time.sleep(0.2)
print("weights", 12 << 30)
for batch in (1, 16, 256):
    if not ours or batch != 16:
        print("chain", batch, "eager", 500.0 if ours and batch == 256 else 3.5, "abcd", "1 2 3")
"""


def test_chains_are_held_against_their_bounds(go, tmp_path, monkeypatch):
    script = tmp_path / "chain.py"
    script.write_text(CHAIN.format(gpu=str(pathlib.Path(visit.__file__).parent)))
    monkeypatch.setattr(catalogue, "CHAIN", script)
    monkeypatch.setattr(visit.Visit, "phase_links",
                        lambda self: self.links.update({"h": 55e9, "z": 51e9}))
    _, bars, whole = go(["steady"], phases="chain")
    assert bars["chain auto 256 eager"] == "MISSED"
    assert bars["chain auto 1 eager"] == "holds"
    assert bars["chain auto 16 eager"] == "MISSED", "what is not printed is not passed"
    run = next(run for run in whole["runs"] if run["mode"] == "move")
    assert "paging.plan=move" in run["environment"]["BARSWAP_SET"]


BENCH = """
import os, pathlib, re, sys, time
sys.path.insert(0, {gpu!r})
import stats_file
ours = "LD_PRELOAD" in os.environ
name = pathlib.Path(sys.argv[0]).stem
spoiled = {spoiled!r} if ours else ""
if spoiled == "dies":
    sys.exit("no more memory")
if ours:
    cap = int(re.search(r"vram.limit=(\\d+)MiB", os.environ["BARSWAP_SET"])[1]) << 20
    folder = pathlib.Path(os.environ["XDG_RUNTIME_DIR"], "barswap")
    folder.mkdir()
    stats = stats_file.Stats()
    stats.magic = stats_file.NUMBERS["BARSWAP_STATS_MAGIC"]
    stats.version = stats_file.NUMBERS["BARSWAP_STATS_VERSION"]
    stats.state, stats.dies = 1, 1
    stats.die[0].asked_peak = 12 << 30
    stats.die[0].budget = cap if spoiled != "fits" else 64 << 30
    stats.die[0].tier[2] = 3 << 30 if spoiled != "fits" else 0
    (folder / "1.stats").write_bytes(bytes(stats))
    time.sleep(0.1)
seen = "b0b" if spoiled == "bytes" else "a11"
ms = 90000.0 if spoiled == "slow" else 90.0
if name == "stencil" and "--mapped-mib" in sys.argv:
    print("mapped", 1 << 30, 25.0)
if name == "gather" and "--mapped-mib" in sys.argv:
    print("mapped", 1 << 20, 2.0)
print("held", 12 << 30)
print("moved_state", 12 << 30)
print("table", 12 << 30)
print("rows", 40 << 20)
print("block", 1 << 30)
print("order", " ".join(f"a{{i}}" for i in range(12)))
for count in (5, 10) if "--states" in sys.argv else (10,):
    print("state", count, seen if count == 10 else "c0c")
for number in range(4):
    first = 5e4 if spoiled == "slow" else 100.0
    print("phase", number, number % 2, seen, first, 100.0, 100.0, 100.0)
if name == "chain":
    print("chain 2048 eager", ms, seen, "90.0")
else:
    print(name, ms, "loss" if name in ("train", "stencil") else seen, "90.0")
"""


@pytest.fixture
def go_bars(go, tmp_path, monkeypatch):
    def run(spoiled="", links={"h": 55e9, "d": 55e9, "z": 51e9, "w": 52e9}, **overrides):
        for name in (*catalogue.BENCHES, "chain"):
            text = BENCH.format(gpu=str(pathlib.Path(visit.__file__).parent), spoiled=spoiled)
            (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setattr(catalogue, "BENCH_FOLDER", tmp_path)
        monkeypatch.setattr(visit.Visit, "phase_links", lambda self: self.links.update(links))
        return go(["steady"], phases="bars", **overrides)

    return run


def test_every_bar_can_hold(go_bars):
    status, bars, whole = go_bars()
    assert set(bars) == {"prefill", "prefill, reach", "train r=1.5", "train r=2", "train r=1.5, reach",
                         "train r=2, reach", "stencil r=2", "gather r=2", "gemm r=3", "phases, a new one",
                         "phases, a known one", "double_buffer", "double_buffer, reach"}
    assert status == 0, whole["bars"]
    caps = {(run["program"], run["mode"]): run["environment"].get("BARSWAP_SET") for run in whole["runs"]}
    assert caps["bars train", "train r=1.5"] == "vram.limit=8192MiB"
    assert (caps["bars prefill", "prefill, reach"] ==
            "vram.limit=9000MiB;paging.plan=move;paging.overlap=reach")
    assert caps["bars gemm", "gemm r=3"] == "vram.limit=4096MiB"
    assert caps["bars prefill", "prefill"] == "vram.limit=9000MiB"
    assert caps["bars stencil", "bare"] is None


@pytest.mark.parametrize("spoiled", ["dies", "bytes", "slow", "fits"])
def test_no_bar_holds_that_should_not(go_bars, spoiled):
    _, bars, whole = go_bars(spoiled)
    assert len(bars) >= 8 and set(bars.values()) == {"MISSED"}, whole["bars"]
    assert "no error in the visit itself" not in str(whole["bars"])


def test_bounds_are_those_of_the_rates(go_bars):
    _, _, whole = go_bars(bars="train,gather,gemm")
    bounds = {name: bound for name, _, bound, _ in whole["bars"]}
    # 6 GiB over at r = 2: 117.1 ms at 55 GB/s; 40 Mi rows, half of them at 51 GB/s; 8 blocks of 12.
    assert bounds["train r=2"] == "<= 1.6 x 117.1 ms"
    assert bounds["train r=2, reach"] == "<= 1.2 x 117.1 ms"
    assert bounds["gather r=2"] == "<= 1.2 x 90.0 ms", "computing takes longer than 52.6 ms"
    assert bounds["gemm r=3"] == "<= 1.2 x 156.2 ms"


def test_only_the_bars_asked_for_are_run(go_bars):
    _, bars, _ = go_bars(bars="gather")
    assert set(bars) == {"gather r=2"}


def test_without_link_rates_no_bar_is_judged(go_bars):
    _, bars, whole = go_bars(links={"h": 55e9})
    assert bars == {"bars": "MISSED"} and not whole["runs"]


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_layout_is_that_of_the_header(tmp_path):
    source = tmp_path / "layout.c"
    source.write_text('#include "barswap/stats.h"\n#include <stddef.h>\n#include <stdio.h>\n'
                      "int main(void) { printf(\"%zu %zu %zu\", sizeof(struct barswap_stats),"
                      " offsetof(struct barswap_stats, causes),"
                      " offsetof(struct barswap_stats, event_count)); }")
    subprocess.run(["cc", "-I", stats_file.HEADER.parents[1], source, "-o", tmp_path / "layout"],
                   check=True)
    told = subprocess.run([tmp_path / "layout"], capture_output=True, text=True, check=True).stdout
    layout = stats_file.Stats
    assert told == f"{ctypes.sizeof(layout)} {layout.causes.offset} {layout.event_count.offset}"


def test_absent_tools_are_reported_not_raised(go):
    _, bars, _ = go(["steady"], phases="links,queries,twins,command,gate,generate")
    assert "no error in the visit itself" not in str(bars)
    assert bars["queries equal"] == "MISSED" and bars["twins equal"] == "MISSED"
    assert bars["generate"] == "MISSED"
