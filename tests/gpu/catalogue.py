"""The programs of a visit to a real die: how each is started, at which size, with which flags, and what
is expected of it. Decided before the visit, so that no result can choose its own bar."""

import dataclasses
import pathlib
import sys

FRAMEWORKS = pathlib.Path(__file__).resolve().parents[1] / "frameworks"
BENCH_FOLDER = FRAMEWORKS.parent / "bench"
CHAIN = BENCH_FOLDER / "chain.py"
CHAIN_CAP_MIB = 9300
MOVE_RATE = 42.9e9  # bytes a second into HBM, with victims mapped to the host at once (physics.md)
GIB = 1024


@dataclasses.dataclass
class Program:
    name: str
    command: list  # "{carry}" is replaced by the folder of carried binaries
    capped: list  # arguments for an oversubscribed run
    inside: list  # arguments for a run inside the cap, long enough to be timed
    gpu_mib: int  # what a bare capped-size run takes of the die, for running several at once
    flags: dict = dataclasses.field(default_factory=dict)  # switch autotuning off; recorded
    bare: dict = dataclasses.field(default_factory=dict)  # only for bare runs; recorded
    ours: str = ""  # policy beside the cap
    ours_inside: str = None  # the same for runs inside the cap, where it differs
    limit_s: float = 120
    tolerance: float = 1e-5  # of the norms, if bare runs differ among themselves
    note: str = ""

    def argv(self, carry, arguments):
        return [word.format(carry=carry) for word in self.command] + arguments


def python(script, *arguments):
    return [sys.executable, str(FRAMEWORKS / script), *arguments]


@dataclasses.dataclass
class Bench:
    """A workload of the phase `bars`. It is run bare first; a cap that is not given follows from what
    the bare run held and the ratios."""
    script: str
    arguments: list = dataclasses.field(default_factory=list)
    bare: list = dataclasses.field(default_factory=list)  # more arguments of the bare run
    cap_mib: int = None
    ratios: tuple = ()
    limit_s: float = 60


# A bare run is quick, so it may have all its warm passes; those that it needs are few where the state
# does not go on.
FEW = ["--warm", "5"]
ALL_STATES = ["--states", "--warm-s", "60"]
GATHER_MAPPED = ["--table-mib", "64", "--rows", str(1 << 21), "--warm", "0", "--passes", "1"]
STENCIL_MAPPED = ["--mapped-mib", "512", "--side", "1024", "--warm", "0", "--passes", "1"]
BENCHES = {
    "prefill": Bench("prefill.py", ["--warm-s", "20"], bare=FEW, cap_mib=9000, limit_s=70),
    "train": Bench("train.py", ["--warm-s", "10"], bare=ALL_STATES, ratios=(1.5, 2), limit_s=70),
    "stencil": Bench("stencil.py", ["--warm", "100", "--warm-s", "8"], bare=ALL_STATES, ratios=(2,),
                     limit_s=40),
    "gather": Bench("gather.py", bare=FEW, ratios=(2,), limit_s=40),
    "gemm": Bench("gemm.py", ["--warm-s", "16"], bare=FEW, ratios=(3,)),
    "phases": Bench("phases.py"),
    "double_buffer": Bench("double_buffer.py"),
}

TORCH = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
JAX = {"XLA_FLAGS": "--xla_gpu_autotune_level=0 --xla_gpu_deterministic_ops=true"
                    " --xla_gpu_enable_triton_gemm=false"}

PROGRAMS = [
    Program("cudart_static", ["{carry}/cudart_static"], ["--mib", "9500", "--rounds", "2"],
            ["--mib", "1500", "--rounds", "12"], 10 * GIB),
    # Through env, so that the carried library reaches this program alone and no framework.
    Program("cudart_shared", ["env", "LD_LIBRARY_PATH={carry}/lib", "{carry}/cudart_shared"],
            ["--mib", "9500", "--rounds", "2"], ["--mib", "1500", "--rounds", "12"], 10 * GIB),
    Program("driver_demo", ["{carry}/e2e_demo"], ["--mib", "9500", "--rounds", "3"],
            ["--mib", "1500", "--rounds", "3"], 10 * GIB, note="from tests/e2e"),
    Program("torch_train", python("torch_train.py"), ["--mib", "9500", "--rounds", "3"],
            ["--mib", "1500", "--rounds", "200"], 11 * GIB, flags=TORCH),
    Program("hf_generate", python("hf_generate.py"), ["--rounds", "8"],
            ["--layers", "4", "--rounds", "150"], 15 * GIB, flags=TORCH, limit_s=150),
    Program("cupy_ops", python("cupy_ops.py"), ["--mib", "9500"],
            ["--mib", "1500", "--rounds", "20"], 11 * GIB),
    Program("jax_platform", python("jax_ops.py"), ["--mib", "9500"],
            ["--mib", "1500", "--rounds", "200"], 11 * GIB,
            flags={**JAX, "XLA_PYTHON_CLIENT_ALLOCATOR": "platform",
                   "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
            # XLA maps its own memory where the die can; hidden, it takes plain memory.
            ours="vram.virtual_maps=true"),
    Program("jax_default", python("jax_ops.py"), ["--mib", "7200"],
            ["--mib", "1500", "--rounds", "200"], 11 * GIB,
            # The pool is a share of what the device says it has; the share differs so that it is as
            # large on the bare die of 140 GiB as on one that says twice the cap.
            flags=JAX, bare={"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.06"},
            ours="vram.advertise=8704MiB;vram.virtual_maps=true",
            ours_inside="vram.advertise=3584MiB;vram.virtual_maps=true",  # a pool inside the cap
            note="pool taken at the start; 0.97 of the advertised 8.5 GiB, twice the cap"),
    Program("triton_kernel", python("triton_kernel.py"), ["--mib", "9500"],
            ["--mib", "1500", "--rounds", "40"], 11 * GIB),
    Program("numba_kernel", python("numba_kernel.py"), ["--mib", "9500"],
            ["--mib", "1500", "--rounds", "40"], 11 * GIB),
]
OURS_ENVIRONMENT = {"jax_default": {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.97"}}

# The other end-to-end programs of tests/e2e, with what makes each last about a second.
E2E_CAP = "1GiB"
E2E_MIB = 2048
E2E_ARGUMENTS = {
    "callbacks": ["--count", "16"], "churn": ["--count", "120"], "contexts": ["--count", "3"],
    "graphs": ["--count", "6"], "hidden": ["--count", "100", "--rounds", "2"],
    "hot_late": ["--rounds", "12"],
    "persistent": ["--count", "6"], "small_late": ["--count", "60", "--rounds", "2"],
    "small_million": ["--count", "3000"], "streams": ["--rounds", "1"], "threads": ["--count", "2"],
    "copies": [], "alloc_kinds": [], "exit_ways": [], "ipc": [], "peers": [], "queries": [],
}

# Lines that differ from a bare run by design: memory that may move is not exported by the old calls.
E2E_BY_DESIGN = {"ipc": ("ipc handle of a ", "  opened in its own process")}

# What plain cuMemAlloc memory of 3 MiB answers, as docs/physics.md measured it.
POINTER_FACTS = [
    "type=2", "host_pointer=CUDA_ERROR_INVALID_VALUE", "sync_memops=0", "managed=0", "ordinal=0",
    "ipc_capable=1", "range_size=3145728", "mapped=1", "handle_types=0", "rdma_capable=1", "access=3",
    "pool=0", "mapping_size=4194304", "hw_decompress=1", "context=current", "range_start=origin+0",
    "buffer_id=some,as-at-base", "address_range=CUDA_SUCCESS,base+0,3145728"]

CAP = "4GiB"
GENERATE_CAP_MIB = 9000

# Written before any run; each is printed beside what was measured.
EXPECTED = {
    "e2e": "the same output bare, capped and under chaos; status 77 where a second die is needed",
    "hash": "capped, chaos and inside runs give the bytes of the bare runs; r >= 2; bytes on the host",
    "inside": "end-to-end time within 1.02 of bare, paired",
    "gate": "launch overhead p50 <= 150 ns added",
    "links": "h and d about 55 GB/s, z about 51 GB/s, w about 52 GB/s",
    "queries": "the same answers line by line, fresh and crowded",
    "twins": "every kernel's bytes equal on the die and on the simulated machine",
    "bench": "equal hashes in every row, and no plan at the cap faster than T*",
    "generate": "<= 1.15 x (bare + remote bytes / h); >= 4x as fast as accelerate;"
                " about 120 ms a token against 56 bare and 870 with accelerate",
    "bars": "held: stencil and gather, read in place; prefill and double_buffer near theirs once turns are"
            " kept; train between 1.6 and 3 T*; missed: gemm, which cannot compute while pages come in,"
            " and phases, whose new models are noticed late",
}
