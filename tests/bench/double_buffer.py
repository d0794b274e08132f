"""The chained products of chain.py as a careful programmer would write them for a device too small for
the weights: those that do not fit lie in pinned host memory, spread evenly over the chain, and are
copied ahead on a second stream into two buffers. The same weights and products, so the same output.

--limit-mib is what all of it may hold on the device.
"""

import hashlib
import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch

import chain
import passes

MIB = 1 << 20
WEIGHT_BYTES = chain.WIDTH * chain.WIDTH * 2
WORK_MIB = 64  # cuBLAS's workspace of 32 MiB, and what the allocator rounds up.


def on_host(index, count, resident):
    """Whether a weight lies on the host: those that do are spread evenly, the first is not of them."""
    away = count - resident
    return (index + 1) * away // count > index * away // count


class Chain:
    """The weights, and the stream that brings those of the host in, one product ahead or two."""

    def __init__(self, count, resident):
        self.weights = []
        for index in range(count):
            weight = torch.empty(chain.WIDTH, chain.WIDTH, device="cuda",
                                 dtype=torch.bfloat16).normal_(0, 0.01)
            self.weights.append(weight.cpu().pin_memory() if on_host(index, count, resident) else weight)
        self.away = [weight for weight in self.weights if not weight.is_cuda]
        self.buffers = [torch.empty_like(self.weights[0], device="cuda") for _ in range(2)]
        self.copied = [torch.cuda.Event() for _ in range(2)]
        self.used = [torch.cuda.Event() for _ in range(2)]
        self.stream = torch.cuda.Stream()
        self.number = 0  # of the next weight from the host, counted through all passes

    def bring(self, number):
        """Begins the copy of a weight from the host. A buffer waits for the product that reads it."""
        slot = number % 2
        with torch.cuda.stream(self.stream):
            self.stream.wait_event(self.used[slot])
            self.buffers[slot].copy_(self.away[number % len(self.away)], non_blocking=True)
            self.copied[slot].record(self.stream)

    def next(self):
        """Every weight as its product may begin. The copies of the next pass begin in this one."""
        for weight in self.weights:
            if weight.is_cuda:
                yield weight
                continue
            slot = self.number % 2
            torch.cuda.current_stream().wait_event(self.copied[slot])
            yield self.buffers[slot]
            self.used[slot].record()
            self.bring(self.number + 2)
            self.number += 1


def resident_count(options):
    """As many weights as fit beside both buffers and the activations that live at once: the chain's
    input, its last output, a product's input, the product, and that divided by its norm."""
    activations = 5 * options.batch * chain.WIDTH * 2
    room = (options.limit_mib - WORK_MIB) * MIB - activations - 2 * WEIGHT_BYTES
    return min(options.weights, room // WEIGHT_BYTES)


def main():
    parser = passes.parser(__doc__, device=False)
    parser.add_argument("--weights", type=int, default=96)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--limit-mib", type=int, default=9300)
    options = parser.parse_args()

    torch.manual_seed(0)
    resident = resident_count(options)
    chained = Chain(options.weights, resident)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    start = torch.ones(options.batch, chain.WIDTH, device="cuda", dtype=torch.bfloat16)
    out = None

    def work():
        nonlocal out
        out = chain.products(chained.next(), start)

    torch.cuda.synchronize()
    for number in range(2 if chained.away else 0):
        chained.bring(number)
    run = passes.Passes(options, torch.cuda.synchronize)
    run.run(work)
    print("resident", resident)
    print("held", torch.cuda.max_memory_reserved())
    seen = hashlib.sha256(out.float().cpu().numpy().tobytes()).hexdigest()[:16]
    run.report("double_buffer", seen)


if __name__ == "__main__":
    main()
