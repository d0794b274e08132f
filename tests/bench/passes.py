"""How the programs of this folder time themselves and what they print. Nothing here knows of Barswap.

    held BYTES               what the program holds on the device at its peak, by its allocator's count
    NAME MS HASH T1 T2 ...   median of the timed passes in ms, SHA-256 of the outputs, the passes
    warm COUNT SECONDS       passes made before the timed ones
    state PASS HASH          for programs whose state goes on from pass to pass: its hash after one

Warm passes let whoever watches learn what repeats; they end early when --warm-s is over, so that a
slow run costs a known time, and so do the timed ones. A run whose state goes on ends only after a
whole multiple of STATE_STEP, where one that is told to (--states) has printed its state all along.
"""

import argparse
import hashlib
import statistics
import time

STATE_STEP = 5
FOLD_ITEMS = 1 << 22
FOLD_FACTOR = 0x9E3779B97F4A7C15 - (1 << 64)  # Odd, as a signed number; spreads neighbouring positions.


def parser(text, device=True):
    made = argparse.ArgumentParser(description=text)
    made.add_argument("--passes", type=int, default=5)
    made.add_argument("--warm", type=int, default=40)
    made.add_argument("--warm-s", type=float, default=12)
    if device:
        made.add_argument("--device", default="cuda")
    return made


class Passes:
    """`after` is told of each pass, warm or timed, when its time has been taken. Passes end at whole
    multiples of `step`."""

    def __init__(self, options, synchronize, after=lambda count: None, step=1):
        self.options = options
        self.synchronize = synchronize
        self.after = after
        self.step = step
        self.count = 0
        self.times = []

    def once(self, work):
        self.synchronize()
        begin = time.monotonic()
        work()
        self.synchronize()
        ms = (time.monotonic() - begin) * 1e3
        self.count += 1
        self.after(self.count)
        return ms

    def run(self, work):
        begin = time.monotonic()
        while self.count < self.options.warm and time.monotonic() - begin < self.options.warm_s:
            self.some(work)
        print(f"warm {self.count} {time.monotonic() - begin:.2f}", flush=True)
        end = time.monotonic() + self.options.warm_s
        while not self.times or (len(self.times) < self.options.passes and time.monotonic() < end):
            self.times += self.some(work)

    def some(self, work):
        return [self.once(work) for _ in range(self.step)]

    def report(self, name, seen):
        print(f"{name} {statistics.median(self.times):.3f} {seen}",
              " ".join(f"{value:.1f}" for value in self.times), flush=True)


def fold(words, places, widen, digest):
    """Feeds sums of words, each times a factor of its place, to a digest: a hash of gigabytes that is
    made where they lie. The sums are of whole numbers that wrap, so their order does not matter.
    `places` is 0 to FOLD_ITEMS - 1 as 64-bit numbers, `widen` makes such numbers of words."""
    factors = places * FOLD_FACTOR + 1
    for at in range(0, len(words), FOLD_ITEMS):
        piece = widen(words[at:at + FOLD_ITEMS])
        total = int((piece * (factors[:len(piece)] | 1)).sum())
        digest.update(total.to_bytes(8, "little", signed=True))


def hash_of_torch(tensors):
    import torch
    digest = hashlib.sha256()
    for tensor in tensors:
        flat = tensor.detach().contiguous().reshape(-1)
        words = flat.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[flat.element_size()])
        places = torch.arange(FOLD_ITEMS, dtype=torch.int64, device=flat.device)
        fold(words, places, lambda piece: piece.to(torch.int64), digest)
    return digest.hexdigest()[:16]


def hash_of_arrays(library, arrays):
    """For NumPy and CuPy alike."""
    digest = hashlib.sha256()
    for array in arrays:
        words = library.ascontiguousarray(array).reshape(-1).view(library.int32)
        places = library.arange(FOLD_ITEMS, dtype=library.int64)
        fold(words, places, lambda piece: piece.astype(library.int64), digest)
    return digest.hexdigest()[:16]


def prepare_torch(device, strict=True):
    """Same bytes in every run; fresh memory is not filled, which would be work nobody asked for. Not
    strict: for libraries that use operations of which torch has no deterministic form for all types."""
    import torch
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(strict)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def held_by_torch(device, otherwise):
    """`otherwise` is the program's own sum, for devices without a count."""
    import torch
    return torch.cuda.max_memory_allocated() if device == "cuda" else otherwise
