"""Three models in turn, each for some cycles, and then all of them again: what a change of phase costs.
A cycle is one pass of a large batch through one model's chain of products.

Prints `phase NUMBER MODEL HASH MS MS ...` for each phase, with the time of every cycle in it. A phase
ends early when --phase-s is over. A cycle begins from the same input, so that its output does not depend
on how many there were.
"""

import argparse
import os
import time

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch

import passes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", type=int, default=3)
    parser.add_argument("--weights", type=int, default=48, help="of a model")
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=32768)
    parser.add_argument("--cycles", type=int, default=12, help="of a phase")
    parser.add_argument("--phase-s", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()

    synchronize = passes.prepare_torch(options.device)

    def drawn(rows, deviation):
        return torch.empty(rows, options.width, device=options.device,
                           dtype=torch.bfloat16).normal_(0, deviation)

    models = [[drawn(options.width, options.width ** -0.5) for _ in range(options.weights)]
              for _ in range(options.models)]
    start, *buffers = (drawn(options.batch, 1.0) for _ in range(3))

    def cycle(weights):
        """The last output. Two buffers in turn, so that no memory is asked for while time is taken."""
        out = start
        for index, weight in enumerate(weights):
            out = torch.matmul(out, weight, out=buffers[index % 2])
        return out

    def phase(number, weights):
        times, end = [], time.monotonic() + options.phase_s
        while len(times) < options.cycles and time.monotonic() < end:
            begin = time.monotonic()
            out = cycle(weights)
            synchronize()
            times.append((time.monotonic() - begin) * 1e3)
        print("phase", number, number % options.models, passes.hash_of_torch([out]),
              " ".join(f"{value:.2f}" for value in times), flush=True)

    # The library loads its kernel for this shape at the first product, which is no cost of a phase.
    torch.matmul(start, models[0][0], out=buffers[0])
    synchronize()
    for number in range(options.rounds * options.models):
        phase(number, models[number % options.models])
    own = sum(tensor.numel() * tensor.element_size() for tensor in (*sum(models, []), start, *buffers))
    print("held", own, flush=True)


if __name__ == "__main__":
    main()
