"""Trouble from outside: exactly the bare program's result, or one clear line and a run without us;
and nothing is left behind but the statistics file."""

import os
import resource
import shutil
import signal
import subprocess

import pytest

from house import Machine

LIMIT_MIB = 64


def assert_steps_aside(house, outcome, bare, *words):
    """The run is the bare one, plus one line on standard error that names the trouble."""
    assert outcome.status == bare.status == 0, outcome.err
    assert outcome.out == bare.out
    lines = outcome.err.splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("barswap[") or lines[0].startswith("barswap:"), lines[0]
    for word in words:
        assert word in lines[0], f"{word!r} is not in {lines[0]!r}"
    if outcome.stats is not None:
        assert outcome.figures()["state"] == "bypass"
        assert outcome.figures()["reason"]


@pytest.fixture
def bare(house):
    return house.bare("demo", mib=32).need_healthy()


def run_with(house, environment, machine=None, preload=True, mib=32):
    return house.run(
        [house.program("demo"), "--mib", str(mib * house.scale)], machine, preload, environment
    )


def test_broken_policy(house, bare, tmp_path):
    policy = tmp_path / "broken.toml"
    policy.write_text("schema = 1\n[vram\nlimit = \"64MiB\"\n")
    assert_steps_aside(
        house, run_with(house, {"BARSWAP_POLICY": str(policy)}), bare, "broken.toml:2"
    )


def test_wrong_value(house, bare, tmp_path):
    policy = tmp_path / "wrong.toml"
    policy.write_text("schema = 1\n[vram]\nlimit = \"plenty\"\n")
    assert_steps_aside(
        house, run_with(house, {"BARSWAP_POLICY": str(policy)}), bare, "wrong.toml:3", "vram.limit"
    )


def test_unknown_key(house, bare):
    assert_steps_aside(
        house, run_with(house, {"BARSWAP_SET": "vram.limt=64MiB"}), bare, "vram.limt", "vram.limit"
    )


@pytest.mark.parametrize("kind", ("missing", "folder", "empty name's neighbour"))
def test_unreadable_policy(house, bare, tmp_path, kind):
    path = tmp_path / "policy.toml"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path = tmp_path / "no" / "such" / "folder.toml"
    assert_steps_aside(house, run_with(house, {"BARSWAP_POLICY": str(path)}), bare, str(path))


def test_disabled(house, bare):
    outcome = run_with(house, {"BARSWAP_DISABLE": "1", "BARSWAP_SET": "vram.limt=1"}).need_healthy()
    assert outcome.out == bare.out


def test_missing_preload(house, bare, tmp_path):
    outcome = run_with(house, {}, preload=str(tmp_path / "libbarswap.so"))
    assert (outcome.status, outcome.out) == (0, bare.out)
    assert "cannot be preloaded" in outcome.err and len(outcome.err.splitlines()) == 1


def test_no_driver(house, tmp_path):
    """Without libcuda a linked program cannot start, with or without us; others do not notice."""
    environment = {"LD_LIBRARY_PATH": str(tmp_path)}
    if not house.die:
        results = [
            house.run([house.program("demo")], None, preload, environment)
            for preload in (None, True)
        ]
        assert results[0].status == results[1].status != 0
        assert results[0].err == results[1].err
    for argv in (["/bin/echo", "hello"], ["/bin/sh", "-c", "echo hello; (echo child)"]):
        outcome = house.run(argv, None, True, environment)
        assert (outcome.status, outcome.err) == (0, "")
        assert outcome.lines[0] == "hello"
        assert outcome.stats is None, "a program without CUDA leaves nothing"


def test_no_device(simulated):
    machine = Machine(more={"SIM_NO_DEVICE": "1"})
    results = [run_with(simulated, {}, machine, preload) for preload in (None, True)]
    assert results[0].status == results[1].status == 1
    assert results[0].err == results[1].err and "CUDA_ERROR_NO_DEVICE" in results[0].err


def test_driver_without_vmm(simulated, bare):
    machine = Machine(more={"SIM_VMM": "0"})
    assert_steps_aside(simulated, run_with(simulated, {}, machine), bare)


def test_old_driver(simulated, bare):
    machine = Machine(more={"SIM_DRIVER_VERSION": "12010"})
    assert_steps_aside(simulated, run_with(simulated, {}, machine), bare)


@pytest.mark.parametrize("refused", ({"SIM_HOST_NUMA": "0"}, {"SIM_HOST_LOCATION": "0"}))
def test_one_kind_of_host_memory_refused(simulated, refused):
    """HOST_NUMA, else HOST: either alone is enough, and nothing needs to be said."""
    machine = Machine(more=refused)
    right = simulated.bare("demo", mib=192).need_healthy()
    outcome = simulated.swapped("demo", LIMIT_MIB, machine, mib=192).need_healthy()
    assert outcome.lines == right.lines
    assert outcome.figures()["host"] > 0


def test_host_tier_refused(simulated, bare):
    """No host memory: what fits runs; the rest meets out-of-memory, and one line says why."""
    machine = Machine(more={"SIM_HOST_NUMA": "0", "SIM_HOST_LOCATION": "0"})
    fits = simulated.swapped("demo", LIMIT_MIB, machine, mib=32)
    assert (fits.status, fits.out) == (0, bare.out)
    assert len(fits.err.splitlines()) <= 1, fits.err
    full = simulated.swapped("demo", LIMIT_MIB, machine, mib=256)
    assert full.status == 2
    ours = [line for line in full.err.splitlines() if line.startswith("barswap")]
    assert len(ours) == 1 and "host" in ours[0], full.err


def test_file_size_limit(house, bare, tmp_path):
    """No file may grow: the shim runs without its statistics file."""
    outcome = house.run(
        [house.program("demo"), "--mib", str(32 * house.scale)],
        None,
        True,
        {
            "BARSWAP_SET": house.policy(LIMIT_MIB),
            # The thread sanitizer's runtime writes a temporary file where it finds a folder for it.
            "TMPDIR": str(tmp_path / "none"),
            **({} if house.die else {"SIM_AUDIT": ""}),
        },
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    assert (outcome.status, outcome.out) == (0, bare.out)
    assert len(outcome.err.splitlines()) <= 1, outcome.err
    assert outcome.stats is None


def can_mount():
    for flags in ("-m", "-Urm"):
        if (
            shutil.which("unshare")
            and subprocess.run(
                ["unshare", flags, "mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", "/mnt"],
                capture_output=True,
                check=False,
            ).returncode
            == 0
        ):
            return flags
    return None


def test_disk_full(house, bare, tmp_path):
    """Neither place for the statistics file has room for it."""
    flags = can_mount()
    if flags is None:
        pytest.skip("mounting needs a privilege; the file size limit shows nearly the same")
    runtime = tmp_path / "small"
    runtime.mkdir(mode=0o700)
    script = (
        f"mount -t tmpfs -o size=8k,mode=0700 tmpfs {runtime} && "
        "mount -t tmpfs -o size=8k,mode=1777 tmpfs /dev/shm && exec env "
        f"LD_PRELOAD={':'.join(house.first + [str(house.shim)])} "
        f"{house.program('demo')} --mib {32 * house.scale}"
    )
    outcome = house.run(
        ["unshare", flags, "sh", "-c", script],
        None,
        None,
        {
            "XDG_RUNTIME_DIR": str(runtime),
            "BARSWAP_SET": house.policy(LIMIT_MIB),
            # A sanitizer's runtime is for the program alone, not for unshare, sh and mount.
            "LD_PRELOAD": "",
        },
    )
    assert (outcome.status, outcome.out) == (0, bare.out), outcome.err
    assert len(outcome.err.splitlines()) <= 1, outcome.err
    assert not list(runtime.iterdir())


def test_kill(house, bare):
    """A killed process leaves its statistics file and nothing else; the next start removes it."""
    before = {path for path in os.listdir("/dev/shm")}
    process, home = house.start(
        [house.program("small_late"), "--hold", "--mib", str(128 * house.scale)],
        None,
        True,
        {"BARSWAP_SET": house.policy(LIMIT_MIB)},
        stdin=subprocess.PIPE,
    )
    while (line := process.stdout.readline()) and line != "holding\n":
        pass
    assert line, process.stderr.read()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    folder = home / "runtime/barswap"
    left = list(folder.iterdir())
    assert [path.name for path in left] == [f"{process.pid}.stats"]
    assert [path.name for path in (home / "runtime").iterdir()] == ["barswap"]
    assert {path for path in os.listdir("/dev/shm")} <= before | {f"barswap-{os.getuid()}"}
    outcome = run_with(house, {"XDG_RUNTIME_DIR": str(home / "runtime")})
    assert (outcome.status, outcome.out, outcome.err) == (0, bare.out, "")
    assert not left[0].exists()
