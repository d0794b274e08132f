"""The build under test, the machine it runs on, and what a run of a program leaves.

A run owns every folder and variable that could reach it: its home, its statistics, its policy.
"""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "gpu"))
import stats_file  # noqa: E402

# How much more a program holds on a real die, and how much larger the limit is.
DIE_SCALE = 16
TIMEOUT_S = 240
MISSING = 77
# What a program inherits; everything else would make its run depend on who calls the test.
INHERITED = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "CUDA_VISIBLE_DEVICES",
    "ASAN_OPTIONS",
    "UBSAN_OPTIONS",
    "TSAN_OPTIONS",
    "LSAN_OPTIONS",
)


@dataclasses.dataclass
class Machine:
    """The simulated machine; on real dies only the policy and the program's sizes count."""

    vram_mib: int = 1024
    dies: int = 1
    seed: int = 1
    # A kernel or copy that meets a page in motion fails in any case. Strict judges each remap beside
    # any work at all, also of addresses that no program knows or that it has freed.
    strict: bool = False
    more: dict = dataclasses.field(default_factory=dict)

    def environment(self, audit):
        return {
            "SIM_VRAM": f"{self.vram_mib}MiB",
            "SIM_DIES": str(self.dies),
            "SIM_SEED": str(self.seed),
            "SIM_STRICT": str(int(self.strict)),
            "SIM_AUDIT": str(audit),
            **self.more,
        }


@dataclasses.dataclass
class Outcome:
    """What a process left: output, the machine's audit, and with Barswap the statistics."""

    argv: list
    status: int
    out: str
    err: str
    audit: dict
    violations: list
    stats: object
    runtime: pathlib.Path

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def hash(self):
        found = re.findall(r"^hash ([0-9a-f]{16})$", self.out, flags=re.MULTILINE)
        return found[-1] if found else None

    def figures(self):
        assert self.stats is not None, f"no statistics file was left in {self.runtime}"
        return stats_file.summary(self.stats)

    def need_healthy(self):
        told = (
            f"{' '.join(self.argv)}\nstatus {self.status}\n{self.out[-2000:]}\n{self.err[-4000:]}"
        )
        assert self.status == 0, told
        assert self.lines and self.lines[-1] == "ok" and self.hash, told
        assert self.err == "", "a healthy run prints nothing of ours: " + told
        assert not self.violations, "\n".join(self.violations[:20])
        return self


def read_audit(path):
    if not path.exists():
        return {}, []
    totals, violations = {}, []
    for line in path.read_text().splitlines():
        words = line.split()
        if words[0] == "violation":
            violations.append(line)
        elif words[0] == "frames":
            totals.update({name: int(value) for name, value in zip(words[::2], words[1::2])})
        else:
            totals.setdefault("calls", {})[words[0]] = int(words[1])
    return totals, violations


def find_built(build, pattern, what):
    found = sorted(path for path in build.glob(pattern) if path.is_file())
    assert found, f"{what} is not built in {build}"
    return found[0]


def sanitizer_runtimes(build):
    """With a preload the sanitizer's runtime must come first; programs say which they need."""
    program = find_built(build, "tests/e2e/e2e_demo", "the programs")
    needed = subprocess.run(
        ["ldd", str(program)], capture_output=True, text=True, check=False
    ).stdout
    return [
        match.group(1)
        for match in re.finditer(r"=> (\S*/lib(?:clang_rt\.)?[atu]\w*san\S*)", needed)
    ]


class House:
    """The build under test, and how a program is run in it."""

    def __init__(self, config, folder):
        self.build = pathlib.Path(config.getoption("--build")).resolve()
        self.die = config.getoption("--die")
        shim = config.getoption("--shim")
        self.shim = (
            pathlib.Path(shim).resolve()
            if shim
            else find_built(self.build, "shim/**/libbarswap.so", "libbarswap.so")
        )
        self.sim = (
            None
            if self.die
            else find_built(self.build, "tests/sim/**/libcuda.so.1", "the simulated driver").parent
        )
        self.first = sanitizer_runtimes(self.build)
        self.folder = folder
        self.count = 0
        self.bare_outcomes = {}

    @property
    def scale(self):
        return DIE_SCALE if self.die else 1

    def program(self, name):
        return find_built(self.build, f"tests/e2e/e2e_{name}", name)

    def command(self):
        return find_built(self.build, "tools/**/barswap", "the barswap command")

    def policy(self, limit_mib, keys=None):
        """Items for BARSWAP_SET: the limit, small pages, no more host memory than a test needs."""
        values = {"vram.limit": f"{limit_mib * self.scale}MiB"}
        if not self.die:
            values.update(
                {
                    "vram.reserve": "0MiB",
                    "paging.page": "2MiB",
                    "tiers.host.prepare": "32MiB",
                    "tiers.host.limit": "8GiB",
                }
            )
        values.update(keys or {})
        return ";".join(f"{key}={value}" for key, value in values.items())

    def home(self):
        """A fresh folder for one run, with a runtime folder and a home that nobody else uses."""
        self.count += 1
        home = self.folder / f"run{self.count}"
        (home / "runtime").mkdir(parents=True, mode=0o700)
        (home / "runtime").chmod(0o700)
        (home / "home").mkdir()
        return home

    def environment(self, home, machine, preload, more):
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=0")
        environment.update(
            {
                "HOME": str(home / "home"),
                "XDG_CONFIG_HOME": str(home / "home/.config"),
                "XDG_RUNTIME_DIR": str(home / "runtime"),
            }
        )
        paths = [str(self.sim)] if self.sim else os.environ.get("LD_LIBRARY_PATH", "").split(":")
        environment["LD_LIBRARY_PATH"] = ":".join(path for path in paths if path)
        if self.sim:
            # It names dies of the machine that the test runs on.
            environment.pop("CUDA_VISIBLE_DEVICES", None)
            environment.update(machine.environment(home / "audit"))
        chain = self.first + ([str(self.shim)] if preload is True else [preload] if preload else [])
        if chain:
            environment["LD_PRELOAD"] = ":".join(chain)
        environment.update(more)
        return environment

    def arguments(self, options):
        """Keyword options as words; --mib grows with the die."""
        words = []
        for name, value in options.items():
            if value is True:
                words.append(f"--{name}")
            else:
                words += [f"--{name}", str(value * self.scale if name == "mib" else value)]
        return words

    def start(self, argv, machine=None, preload=None, environment=None, **popen):
        """A process under way and its folder."""
        home = self.home()
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(home, machine or Machine(), preload, environment or {}),
            start_new_session=True,
            **popen,
        )
        return process, home

    def outcome(self, argv, process, home, out, err):
        totals, violations = read_audit(home / "audit")
        readings = [
            stats_file.read(path) for path in sorted((home / "runtime").glob("barswap/*.stats"))
        ]
        readings = [one for one in readings if one is not None]
        best = max(readings, key=lambda one: one.allocations) if readings else None
        return Outcome(
            [str(word) for word in argv],
            process.returncode,
            out,
            err,
            totals,
            violations,
            best,
            home / "runtime",
        )

    def run(self, argv, machine=None, preload=None, environment=None, **popen):
        process, home = self.start(
            argv, machine, preload, environment, stdin=subprocess.DEVNULL, **popen
        )
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            where = threads_of(process.pid)
            process.kill()
            out, err = process.communicate()
            pytest.fail(
                f"{' '.join(map(str, argv))}: not done after {TIMEOUT_S} s\n{out[-2000:]}\n"
                f"{err[-2000:]}\n{where}"
            )
        outcome = self.outcome(argv, process, home, out, err)
        if outcome.status == MISSING:
            pytest.skip(outcome.err.strip())
        return outcome

    def bare(self, name, machine=None, environment=None, **options):
        """The program alone. It is deterministic, so that one run serves all who compare with it."""
        key = repr((name, machine, environment, options))
        if key not in self.bare_outcomes:
            argv = [self.program(name)] + self.arguments(options)
            self.bare_outcomes[key] = self.run(argv, machine, None, environment)
        return self.bare_outcomes[key]

    def swapped(
        self, name, limit_mib, machine=None, keys=None, chaos=None, environment=None, **options
    ):
        more = {"BARSWAP_SET": self.policy(limit_mib, keys)}
        if chaos is not None:
            more["BARSWAP_CHAOS"] = str(chaos)
        more.update(environment or {})
        return self.run([self.program(name)] + self.arguments(options), machine, True, more)

    def same(self, name, limit_mib, machine=None, keys=None, chaos=None, **options):
        """Both runs are healthy and say the same to the letter; returns the one under Barswap."""
        bare = self.bare(name, machine, **options).need_healthy()
        swapped = self.swapped(name, limit_mib, machine, keys, chaos, **options).need_healthy()
        assert swapped.lines == bare.lines
        assert swapped.figures()["state"] in ("active", "closing"), swapped.figures()["reason"]
        return swapped


def threads_of(pid):
    """Where the threads of a stuck process wait: by debugger if there is one."""
    try:
        done = subprocess.run(
            ["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 15"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return "\n".join(
            line for line in done.stdout.splitlines() if line.startswith(("#", "Thread"))
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
