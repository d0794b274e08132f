"""Reads a statistics file of Barswap. The layout is taken from the installed header."""

import ctypes
import pathlib
import re

HEADER = pathlib.Path(__file__).resolve().parents[2] / "include/barswap/stats.h"
SCALARS = {"uint8_t": ctypes.c_uint8, "uint16_t": ctypes.c_uint16, "uint32_t": ctypes.c_uint32,
           "uint64_t": ctypes.c_uint64, "char": ctypes.c_char}


def read_layout(text):
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    numbers = {name: int(value.rstrip("ul"), 0) for name, value in
               re.findall(r"#define (BARSWAP_STATS_\w+)\s+(0x\w+|\d+u?)", text)}
    types = dict(SCALARS)
    for name, body in re.findall(r"^struct (\w+) \{(.*?)^\};", text, flags=re.DOTALL | re.MULTILINE):
        fields = []
        for kind, field, count in re.findall(r"(?:struct )?(\w+) (\w+)(?:\[(\w+)\])?;", body):
            one = types[kind]
            fields.append((field, one * int(numbers.get(count, count or 0)) if count else one))
        types[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
    return numbers, types["barswap_stats"]


NUMBERS, Stats = read_layout(HEADER.read_text())
STATES = {1: "active", 2: "place-only", 3: "bypass", 4: "closing"}
CAUSES = ["headroom", "small", "refill", "hot", "pin", "pressure", "chaos", "turn", "carry"]


def read(path):
    """The file as a Stats, or None while it is not whole or of another version."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) < ctypes.sizeof(Stats):
        return None
    stats = Stats.from_buffer_copy(data)
    if stats.magic != NUMBERS["BARSWAP_STATS_MAGIC"] or stats.version != NUMBERS["BARSWAP_STATS_VERSION"]:
        return None
    return stats


def summary(stats):
    """The figures that a table shows, in bytes and nanoseconds, dies taken together."""
    dies = list(stats.die[:stats.dies])
    out = {"state": STATES.get(stats.state, "unknown"), "reason": stats.reason.decode(errors="replace"),
           "program": stats.program.decode(errors="replace"), "page": stats.page_bytes}
    for name in ("limit", "budget", "asked", "asked_peak", "small_hbm", "small_host", "large_hbm",
                 "large_host", "outside", "pinned"):
        out[name] = sum(getattr(die, name) for die in dies)
    out["hbm"], out["peer"], out["host"] = (sum(die.tier[i] for die in dies) for i in range(3))
    for name in ("host_limit", "host_bytes", "host_prepared", "host_copies", "clean_bytes", "beside_bytes",
                 "allocations", "frees", "out_of_memory",
                 "driver_retries", "drains", "drains_failed", "drain_ns", "stalls", "stall_ns",
                 "unknown_functions", "moves_off", "routed", "die_changes"):
        out[name] = getattr(stats, name)
    out["causes"] = {cause: {name: getattr(row, name) for name, _ in row._fields_}
                     for cause, row in zip(CAUSES, stats.causes) if row.pages_out or row.pages_in}
    out["bytes_out"] = sum(row.bytes_out for row in stats.causes)
    out["bytes_in"] = sum(row.bytes_in for row in stats.causes)
    return out
