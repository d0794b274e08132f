"""Runs processes one at a time or several side by side, each with its time limit, and watches the
statistics file of those that run under Barswap. Knows nothing of what the runs mean."""

import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import stats_file

SAMPLE_S = 0.05
TAIL_BYTES = 4000
HOST_MIB_MAX = 80 * 1024
GPU_MIB_MAX = 115 * 1024


@dataclasses.dataclass
class Run:
    program: str
    mode: str  # bare, capped, inside, inside-bare, chaos1...
    argv: list
    environment: dict  # added to ours
    limit_s: float
    gpu_mib: int = 0
    host_mib: int = 0
    # Filled in when it has run.
    status: int = None
    reason: str = ""
    wall_s: float = 0.0
    start_ns: int = 0
    values: dict = dataclasses.field(default_factory=dict)
    stats: dict = dataclasses.field(default_factory=dict)
    window: dict = dataclasses.field(default_factory=dict)
    command_status: str = ""
    out: str = ""
    err: str = ""

    @property
    def good(self):
        return self.status == 0

    def parts(self):
        """Seconds before, in and after the section between the program's begin and end lines."""
        if not {"begin", "end"} <= self.values.keys():
            return []
        begin, end = int(self.values["begin"]), int(self.values["end"])
        last = self.start_ns + int(self.wall_s * 1e9)
        return [(begin - self.start_ns) / 1e9, (end - begin) / 1e9, (last - end) / 1e9]

    @property
    def hash(self):
        return self.values.get("hash", "")


def parse_lines(text):
    values = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        values[name] = value.strip()
    return values


class Live:
    """One process under way."""

    def __init__(self, run, folder, limit_s, deadline):
        self.run = run
        self.deadline = deadline
        self.folder = folder
        folder.mkdir(parents=True)
        self.runtime = folder / "runtime"
        self.runtime.mkdir(mode=0o700)
        self.limit_s = limit_s
        self.samples = []
        self.peak_host = 0
        self.next_sample = 0.0
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "XDG_RUNTIME_DIR": str(self.runtime),
                       **run.environment}
        self.out = open(folder / "out", "wb")
        self.err = open(folder / "err", "wb")
        self.start = time.monotonic()
        self.process = subprocess.Popen(run.argv, stdin=subprocess.DEVNULL, stdout=self.out,
                                        stderr=self.err, env=environment, start_new_session=True)

    def sample(self):
        best = None
        for path in self.runtime.glob("barswap/*.stats"):
            stats = stats_file.read(path)
            if stats is not None:
                one = stats_file.summary(stats)
                if best is None or one["asked_peak"] >= best["asked_peak"]:
                    best = one
        if best is not None:
            self.samples.append((time.monotonic_ns(), best))
            self.peak_host = max(self.peak_host, best["host"])

    def step(self, command):
        """Looks after the process; true when it has ended."""
        now = time.monotonic()
        if "LD_PRELOAD" in self.run.environment and now >= self.next_sample:
            self.next_sample = now + SAMPLE_S
            self.sample()
            if command and not self.run.command_status and self.peak_host > 0:
                self.run.command_status = ask(command, self.runtime)
        if self.process.poll() is None and now - self.start > self.limit_s:
            stuck = where(self.process.pid, min(25, self.deadline - now - 3))
            self.run.reason = f"not done after {self.limit_s:.0f} s; {stuck}"
            self.kill()
        if self.process.poll() is None:
            return False
        self.finish()
        return True

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def finish(self):
        run = self.run
        run.wall_s = time.monotonic() - self.start
        run.start_ns = int(self.start * 1e9)
        run.status = self.process.returncode
        if "LD_PRELOAD" in run.environment:
            self.sample()
        self.out.close()
        self.err.close()
        run.out = (self.folder / "out").read_text(errors="replace")
        run.err = (self.folder / "err").read_text(errors="replace")[-TAIL_BYTES:]
        run.values = parse_lines(run.out)
        if not run.good and not run.reason:
            lines = [line for line in run.err.strip().splitlines() if line.strip()]
            run.reason = f"status {run.status}: {lines[-1][:160] if lines else 'no message'}"
        if self.samples:
            # The last file says "closing", which tells nothing of how the run went.
            states = [s["state"] for _, s in self.samples if s["state"] != "closing"]
            run.stats = {**self.samples[-1][1], "peak_host": self.peak_host,
                         "state": states[-1] if states else "closing",
                         "asked_peak": max(s["asked_peak"] for _, s in self.samples),
                         "peak_budget": max(s["budget"] for _, s in self.samples)}
            run.window = self.window()
        shutil.rmtree(self.folder, ignore_errors=True)

    def window(self):
        """Bytes on the host between the program's begin and end lines, and moves in that time."""
        try:
            begin, end = int(self.run.values["begin"]), int(self.run.values["end"])
        except (KeyError, ValueError):
            return {}
        inside = [sample for at, sample in self.samples if begin <= at <= end]
        if not inside:
            return {}
        return {"host_mean": sum(s["host"] for s in inside) / len(inside),
                "bytes_out": inside[-1]["bytes_out"] - inside[0]["bytes_out"],
                "bytes_in": inside[-1]["bytes_in"] - inside[0]["bytes_in"],
                "samples": len(inside)}


def memory_mib(name):
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) >> 10
    return 0


def grow_memory(mib, timeout_s=60):
    """Has a child write to so much memory and end. A virtual machine that is given memory as it uses it
    says otherwise that it has little, and programs that size themselves by that take little."""
    fill = ("import mmap,sys\n"
            "block = mmap.mmap(-1, int(sys.argv[1]) << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
            "for at in range(0, len(block), 4096): block[at] = 1\n")
    count = min(8, os.cpu_count() or 1)
    children = [subprocess.Popen([sys.executable, "-c", fill, str(mib // count)]) for _ in range(count)]
    end = time.monotonic() + timeout_s
    for child in children:
        try:
            child.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def ask(command, runtime):
    """What `barswap status --json` says of a living process."""
    try:
        done = subprocess.run([command, "status", "--json"], capture_output=True, text=True,
                              timeout=5, env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)})
        good = done.returncode == 0
        return done.stdout[-3000:] if good else f"status {done.returncode}: {done.stderr[-300:]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"failed: {error}"


def where(pid, time_s):
    """Where the threads of a stuck process wait: by debugger if there is one and time, else by the
    kernel."""
    debugger = shutil.which("cuda-gdb") or shutil.which("gdb")
    if debugger and time_s > 5:
        try:
            done = subprocess.run(
                [debugger, "-p", str(pid), "-batch", "-ex", "thread apply all bt 12"],
                capture_output=True, text=True, timeout=time_s)
            lines = done.stdout.splitlines()
            frames = [line for line in lines if line.startswith(("#", "Thread"))]
            if frames:
                return "\n".join(frames[:120])
        except (OSError, subprocess.TimeoutExpired):
            pass
    found = []
    for task in sorted(pathlib.Path(f"/proc/{pid}/task").glob("*"))[:12]:
        try:
            comm, wchan = ((task / name).read_text().strip() for name in ("comm", "wchan"))
            found.append(f"{comm}:{wchan}")
        except OSError:
            continue
    return "threads wait in " + " ".join(found)


class Runner:
    """Carries out runs until the visit's time is over. `done` is told of each as it ends."""

    def __init__(self, folder, deadline, done, command=None):
        self.folder = folder
        self.deadline = deadline
        self.done = done
        self.command = command
        self.count = 0
        self.live = []

    def left_s(self):
        return self.deadline - time.monotonic()

    def fits(self, run):
        # A lone run is always let in, whatever it says it needs.
        return not self.live or (
            run.gpu_mib + sum(live.run.gpu_mib for live in self.live) <= GPU_MIB_MAX
            and run.host_mib + sum(live.run.host_mib for live in self.live) <= HOST_MIB_MAX)

    def run_all(self, runs, slots=1, skip=lambda run: ""):
        """`skip` gives a reason not to start a run, decided when its turn comes."""
        waiting = list(runs)
        try:
            while waiting or self.live:
                for run in list(waiting):
                    if len(self.live) >= slots:
                        break
                    if not self.fits(run):
                        continue
                    waiting.remove(run)
                    reason = "the visit's time was over" if self.left_s() < 5 else skip(run)
                    if reason:
                        run.reason = "not run: " + reason
                        self.done(run)
                        continue
                    self.start(run)
                for live in list(self.live):
                    if live.step(self.command):
                        self.live.remove(live)
                        self.done(live.run)
                time.sleep(0.01)
        finally:
            for live in self.live:
                live.kill()

    def start(self, run):
        self.count += 1
        limit_s = max(2.0, min(run.limit_s, self.left_s() - 3))
        try:
            folder = self.folder / f"{self.count}"
            self.live.append(Live(run, folder, limit_s, self.deadline))
        except OSError as error:
            run.reason = f"could not be started: {error}"
            self.done(run)
