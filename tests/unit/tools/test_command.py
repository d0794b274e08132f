"""The `barswap` command from outside: what it starts, what it refuses, what it shows."""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import zlib

import pytest

COMMAND = os.environ["BARSWAP_COMMAND"]
DRIVER = pathlib.Path(os.environ["TEST_DRIVER"])
PRELOAD = os.environ["TEST_PRELOAD"]
PROCESS = os.environ["TEST_PROCESS"]
STATIC = os.environ["TEST_STATIC"]
MAKE_TRACES = os.environ["TEST_MAKE_TRACES"]
TRACES = pathlib.Path(os.environ["TEST_TRACES"])
STORED = ("cycle", "decode", "gather", "training")
PRINT = "import os, sys; print([os.environ.get(name) for name in sys.argv[1:]])"


@pytest.fixture(name="variables")
def fixture_variables(tmp_path):
    """An environment of the test's own: no policy, no statistics, a driver to find."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    drivers = tmp_path / "driver"
    drivers.mkdir()
    (drivers / "libcuda.so.1").symlink_to(DRIVER)
    kept = {"PATH": os.environ["PATH"]}
    # A command with the address sanitizer in it would not start behind our preload.
    kept["ASAN_OPTIONS"] = "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")
    return {**kept, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config"),
            "XDG_RUNTIME_DIR": str(runtime), "LD_LIBRARY_PATH": str(drivers)}


def barswap(variables, *arguments, **more):
    return subprocess.run([COMMAND, *arguments], env=variables, capture_output=True, text=True,
                          timeout=60, check=False, **more)


def start(variables, *arguments, env=None, **more):
    return barswap({**variables, **(env or {})}, "run", "--library", PRELOAD, *arguments, **more)


class TestRun:
    def test_sets_the_preload_and_the_policy(self, variables, tmp_path):
        (tmp_path / "own.toml").write_text("schema = 1\n[vram]\nlimit = '4GiB'\n")
        done = start(variables, "--policy", "own.toml", "--set", "vram.reserve=2GiB", "--set",
                     "paging.page=4MiB", "--", sys.executable, "-c", PRINT, "LD_PRELOAD",
                     "BARSWAP_POLICY", "BARSWAP_SET", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str([PRELOAD, str(tmp_path / "own.toml"),
                                           "vram.reserve=2GiB;paging.page=4MiB"])

    def test_leaves_the_programs_own_options_alone(self, variables):
        for separator in ([], ["--"]):
            done = start(variables, *separator, "echo", "--policy", "x", "--", "--set")
            assert (done.returncode, done.stdout) == (0, "--policy x -- --set\n")

    def test_gives_back_the_exit_status(self, variables):
        assert start(variables, "sh", "-c", "exit 77").returncode == 77

    def test_twice_is_once(self, variables):
        done = start(variables, COMMAND, "run", "--library", PRELOAD, sys.executable, "-c", PRINT,
                     "LD_PRELOAD")
        assert done.stdout.strip() == str([PRELOAD])

    def test_items_of_the_environment_stay_in_front(self, variables):
        done = start(variables, "--set", "vram.limit=2GiB", sys.executable, "-c", PRINT,
                     "BARSWAP_SET", env={"BARSWAP_SET": "vram.limit=1GiB"})
        assert done.stdout.strip() == str(["vram.limit=1GiB;vram.limit=2GiB"])

    @pytest.mark.parametrize("item", ["vram.limit=5 bananas", "vram.limt=1GiB", "vram.limit"])
    def test_refuses_a_policy_with_errors(self, variables, item):
        done = start(variables, "--set", item, "echo", "started")
        assert (done.returncode, done.stdout) == (2, "")
        assert "--set" in done.stderr

    def test_refuses_a_policy_file_that_is_not_there(self, variables):
        done = start(variables, "--policy", "/no/such/file.toml", "echo", "started")
        assert (done.returncode, done.stdout) == (2, "")
        assert "/no/such/file.toml" in done.stderr

    def test_refuses_without_a_driver(self, variables):
        if shutil.which("nvidia-smi"):
            pytest.skip("this machine has a driver of its own")
        done = start(variables, "echo", "started", env={"LD_LIBRARY_PATH": "/nowhere"})
        assert (done.returncode, done.stdout) == (2, "")
        assert "libcuda.so.1" in done.stderr

    def test_refuses_a_static_program(self, variables):
        done = start(variables, STATIC)
        assert done.returncode == 2
        assert "statically" in done.stderr

    def test_refuses_when_disabled(self, variables):
        done = start(variables, "echo", "started", env={"BARSWAP_DISABLE": "1"})
        assert (done.returncode, done.stdout) == (2, "")
        assert "BARSWAP_DISABLE" in done.stderr

    def test_refuses_a_library_that_is_not_there(self, variables):
        done = barswap(variables, "run", "--library", "/no/such/libbarswap.so", "echo", "started")
        assert (done.returncode, done.stdout) == (2, "")
        assert "/no/such/libbarswap.so" in done.stderr

    def test_refuses_a_library_that_ld_preload_cannot_name(self, variables, tmp_path):
        folder = tmp_path / "a folder"
        folder.mkdir()
        shutil.copy(PRELOAD, folder / "libbarswap.so")
        done = barswap(variables, "run", "--library", str(folder / "libbarswap.so"), "echo",
                       "started")
        assert (done.returncode, done.stdout) == (2, "")
        assert "space" in done.stderr

    def test_a_missing_program_is_status_127(self, variables):
        done = start(variables, "no-such-program-of-ours")
        assert done.returncode == 127
        assert "no-such-program-of-ours" in done.stderr

    def test_needs_a_program(self, variables):
        assert start(variables).returncode == 2
        assert start(variables, "--").returncode == 2

    def test_env_prints_what_run_sets(self, variables):
        done = barswap(variables, "env", "--library", PRELOAD, "--set", "vram.limit=1GiB")
        shown = subprocess.run(["sh", "-c", done.stdout + 'echo "$LD_PRELOAD $BARSWAP_SET"'],
                               env=variables, capture_output=True, text=True, check=True).stdout
        assert shown.strip() == f"{PRELOAD} vram.limit=1GiB"


class TestCheck:
    def test_good(self, variables):
        done = barswap(variables, "check")
        assert (done.returncode, done.stderr) == (0, "")

    def test_explain_names_the_file_and_line(self, variables, tmp_path):
        folder = tmp_path / "config/barswap"
        folder.mkdir(parents=True)
        (folder / "policy.toml").write_text("schema = 1\n[vram]\nlimit = '4GiB'\n")
        done = barswap(variables, "check", "--explain", "--set", "paging.page=4MiB")
        lines = {line.split("=")[0].strip(): line for line in done.stdout.splitlines()}
        assert f"{folder}/policy.toml:3" in lines["vram.limit"] and "4GiB" in lines["vram.limit"]
        assert "--set" in lines["paging.page"]
        assert "built-in" in lines["vram.reserve"]

    def test_explain_for_a_program(self, variables, tmp_path):
        file = tmp_path / "own.toml"
        file.write_text("schema = 1\n[[program]]\nmatch = { exe = 'train*' }\n"
                        "vram.limit = '4GiB'\n")
        explain = ("check", "--policy", str(file), "--explain", "--for")
        named = barswap(variables, *explain, "/bin/train.py")
        other = barswap(variables, *explain, "/bin/serve")
        assert "4GiB" in named.stdout and "4GiB" not in other.stdout

    def test_errors(self, variables, tmp_path):
        file = tmp_path / "own.toml"
        file.write_text("schema = 1\n[vram]\nlimt = '4GiB'\n")
        done = barswap(variables, "check", "--policy", str(file))
        assert done.returncode == 2
        assert f"{file}:3" in done.stderr and "limit" in done.stderr


def counting(variables, *arguments):
    process = subprocess.Popen([PROCESS, *arguments], env=variables, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"
    return process


def end(process):
    process.stdin.close()
    process.wait(timeout=60)
    process.stdout.close()


def stats_files(variables):
    runtime = pathlib.Path(variables["XDG_RUNTIME_DIR"])
    return sorted(path.name for path in runtime.glob("barswap/*"))


class TestStatus:
    def test_nobody(self, variables):
        assert barswap(variables, "status").returncode == 0
        assert json.loads(barswap(variables, "status", "--json").stdout) == []
        assert barswap(variables, "status", str(os.getpid())).returncode == 1

    def test_numbers(self, variables):
        process = counting(variables)
        try:
            done = barswap(variables, "status", "--json", "--events", "2")
            [shown] = json.loads(done.stdout)
            assert (shown["pid"], shown["program"], shown["state"]) == (process.pid, "counting",
                                                                        "place-only")
            assert shown["reason"] == "the driver is too old to move pages"
            [die] = shown["dies"]
            assert die["limit"] == 4 << 30
            assert die["tier"] == {"hbm": 0, "peer": 0, "host": 3 << 30}
            assert shown["allocations"] == 12
            assert shown["moves"]["headroom"] == {"pages_out": 2, "bytes_out": 16 << 20,
                                                  "pages_in": 0, "bytes_in": 0}
            assert shown["event_count"] == 3
            assert [event["kind"] for event in shown["events"]] == ["move-out", "move-in"]
        finally:
            end(process)

    def test_text(self, variables):
        process = counting(variables)
        try:
            text = barswap(variables, "status", str(process.pid)).stdout
            assert f"{process.pid}   counting   place-only: the driver is too old" in text
            assert "3.00 GiB" in text and "headroom" in text and "16.0 MiB" in text
        finally:
            end(process)

    def test_an_ended_process_is_shown_once_when_asked_for(self, variables):
        process = counting(variables, "die")
        end(process)
        assert stats_files(variables) == [f"{process.pid}.stats"]
        text = barswap(variables, "status", str(process.pid)).stdout
        assert f"{process.pid}   counting   ended" in text
        assert stats_files(variables) == []
        assert barswap(variables, "status", str(process.pid)).returncode == 1

    def test_listing_removes_files_of_ended_processes_only(self, variables):
        ended = counting(variables, "die")
        end(ended)
        living = counting(variables)
        try:
            shown = json.loads(barswap(variables, "status", "--json").stdout)
            assert [process["pid"] for process in shown] == [living.pid]
            assert stats_files(variables) == [f"{living.pid}.stats"]
        finally:
            end(living)

    def test_another_layout_is_named(self, variables):
        process = counting(variables)
        path = pathlib.Path(variables["XDG_RUNTIME_DIR"]) / f"barswap/{process.pid}.stats"
        try:
            with path.open("r+b") as file:
                file.seek(8)
                file.write((99).to_bytes(4, sys.byteorder))
            [shown] = json.loads(barswap(variables, "status", "--json").stdout)
            assert "99" in shown["trouble"]
        finally:
            end(process)


def replayed(variables, *arguments):
    done = barswap(variables, "replay", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def times(report):
    return {row["policy"]: row["time_ns"] for row in report["policies"]}


class TestReplay:
    @pytest.mark.parametrize("name", STORED)
    def test_stored_traces_are_what_their_maker_writes(self, tmp_path, name):
        subprocess.run([MAKE_TRACES, str(tmp_path)], check=True)
        stored = (TRACES / f"{name}.trace").read_bytes()
        assert stored == (tmp_path / f"{name}.trace").read_bytes()
        assert len(stored) < 65536

    @pytest.mark.parametrize("name", STORED)
    def test_replay_is_within_a_tenth_and_nobody_beats_the_bound(self, variables, name):
        report = replayed(variables, str(TRACES / f"{name}.trace"))
        assert report["whole"] and report["notes"] == []
        assert abs(report["replayed_ns"] / report["recorded_ns"] - 1) < 0.1
        assert len(report["policies"]) == 11
        assert min(times(report).values()) >= report["bound_ns"] > 0

    def test_the_stripe_beats_recency_on_a_cycle(self, variables):
        shown = times(replayed(variables, str(TRACES / "cycle.trace")))
        assert shown["stream"] < shown["min"] < shown["lru"]

    def test_what_is_given_changes_what_is_foretold(self, variables):
        trace = str(TRACES / "cycle.trace")
        as_it_was = replayed(variables, trace, "--policy", "lru,stream")
        roomy = replayed(variables, trace, "--policy", "lru,stream", "--budget", "100%")
        assert [row["moves"] for row in roomy["policies"]] == [0, 0]
        assert times(roomy)["lru"] < times(as_it_was)["stream"]
        assert replayed(variables, trace, "--budget", "1GiB")["dies"] == [
            {"peak": 512 << 20, "budget": 1 << 30}]
        faster = replayed(variables, trace, "--policy", "lru,stream", "--h", "110", "--d", "110",
                          "--z", "102.6")
        assert times(faster)["stream"] < times(as_it_was)["stream"]
        free = replayed(variables, trace, "--policy", "lru,stream", "--remap-in", "0",
                        "--remap-out", "0")
        assert times(free)["lru"] < times(as_it_was)["lru"]
        assert times(free)["stream"] == times(as_it_was)["stream"]

    def test_table(self, variables):
        done = barswap(variables, "replay", str(TRACES / "decode.trace"), "--policy", "place,min")
        assert done.returncode == 0, done.stderr
        rows = [line.split()[0] for line in done.stdout.splitlines() if line]
        assert rows[-2:] == ["place", "min"]
        assert "T*" in done.stdout and "budget 256.0 MiB" in done.stdout

    def test_picture(self, variables, tmp_path):
        path = tmp_path / "a.png"
        done = barswap(variables, "replay", str(TRACES / "cycle.trace"), "--plot", str(path))
        assert done.returncode == 0, done.stderr
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        pieces, at = {}, 8
        while at < len(data):
            [size] = struct.unpack_from(">I", data, at)
            kind, body = data[at + 4:at + 8], data[at + 8:at + 8 + size]
            assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(kind + body)
            pieces[kind] = body
            at += 12 + size
        width, height = struct.unpack_from(">II", pieces[b"IHDR"])
        pixels = zlib.decompress(pieces[b"IDAT"])
        assert len(pixels) == height * (width + 1)
        assert max(pixels) < len(pieces[b"PLTE"]) // 3
        # Nine bars in the panel of times, in its color.
        assert len(set(pixels)) > 5

    def test_a_cut_trace_is_replayed_and_told(self, variables, tmp_path):
        path = tmp_path / "cut.trace"
        path.write_bytes((TRACES / "cycle.trace").read_bytes()[:-21])
        report = replayed(variables, str(path))
        assert not report["whole"]
        assert any("early" in note for note in report["notes"])
        assert any("no whole record" in note for note in report["notes"])

    @pytest.mark.parametrize("arguments, words", [
        (["/no/such.trace"], ["/no/such.trace", "BARSWAP_TRACE"]),
        ([__file__], ["is no trace", "BARSWAP_TRACE"]),
        ([str(TRACES / "cycle.trace"), "--policy", "lrv"], ["lrv", "lru"]),
        ([str(TRACES / "cycle.trace"), "--budget", "much"], ["much", "8GiB"]),
        ([str(TRACES / "cycle.trace"), "--plot", "/no/such/folder/a.png"], ["a.png", "folder"]),
        ([str(TRACES / "cycle.trace"), "--h", "-3"], ["--h"]),
        ([], ["TRACE"]),
    ])
    def test_refusals_name_cause_and_cure(self, variables, arguments, words):
        done = barswap(variables, "replay", *arguments)
        assert done.returncode == 2
        assert all(word in done.stderr for word in words), done.stderr


class TestBench:
    @pytest.mark.parametrize("arguments, says", [
        (["--workloads", "swep"], 'the nearest is "sweep"'),
        (["--cap", "5 bananas"], "--cap 5 bananas is not a size"),
        (["--ratio", "0.5"], "--ratio"),
        (["--rounds", "0"], "--rounds"),
    ])
    def test_refuses_what_it_does_not_understand(self, variables, arguments, says):
        done = barswap(variables, "bench", "--library", PRELOAD, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr

    def test_refuses_without_a_driver(self, variables):
        done = barswap({**variables, "LD_LIBRARY_PATH": ""}, "bench", "--library", PRELOAD)
        if "no CUDA driver" not in done.stderr:
            pytest.skip("this machine has a driver")
        assert (done.returncode, done.stdout) == (2, "")
        assert "Install the NVIDIA driver" in done.stderr

    def test_refuses_a_driver_that_is_none(self, variables):
        done = barswap(variables, "bench", "--library", PRELOAD)
        assert (done.returncode, done.stdout) == (2, "")
        assert "the driver has no cuInit" in done.stderr

    def test_help_names_no_inner_command(self, variables):
        done = barswap(variables, "--help")
        assert "bench " in done.stdout and "bench-child" not in done.stdout
