"""Chained 8192 x 8192 bfloat16 products, the load that shows what reading weights in place costs and
what moving them gains: at batch 1 each weight is read once, at batch 2,048 eight times over.

Prints one line a batch size, `chain BATCH graph|eager MS HASH`, where MS is the median of the timed
passes and HASH is SHA-256 over the last output, and the bytes of the weights. Nothing here knows of
Barswap.
"""

import argparse
import hashlib
import os
import statistics
import time

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch

WIDTH = 8192


def products(weights, start):
    out = start
    for weight in weights:
        out = torch.nn.functional.rms_norm(out @ weight, (WIDTH,))
    return out


def timed(work, passes, warm):
    for _ in range(warm):
        work()
        torch.cuda.synchronize()
    times = []
    for _ in range(passes):
        begin = time.monotonic()
        work()
        torch.cuda.synchronize()
        times.append((time.monotonic() - begin) * 1e3)
    return times


def captured(weights, start):
    """Batch 1 is bound by launches when eager; a graph shows the link alone."""
    products(weights, start)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = products(weights, start)
    return graph, out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=int, default=96)
    parser.add_argument("--batches", default="1,16,256,2048")
    parser.add_argument("--modes", default="graph,eager")
    parser.add_argument("--passes", type=int, default=7)
    parser.add_argument("--warm", type=int, default=4)
    options = parser.parse_args()

    torch.manual_seed(0)
    weights = [torch.empty(WIDTH, WIDTH, device="cuda", dtype=torch.bfloat16).normal_(0, 0.01)
               for _ in range(options.weights)]
    print("weights", sum(weight.numel() * weight.element_size() for weight in weights), flush=True)
    for mode in options.modes.split(","):
        for batch in map(int, options.batches.split(",")):
            start = torch.ones(batch, WIDTH, device="cuda", dtype=torch.bfloat16)
            if mode == "graph":
                graph, out = captured(weights, start)
                times = timed(graph.replay, options.passes, options.warm)
            else:
                out = None

                def work():
                    nonlocal out
                    out = products(weights, start)
                times = timed(work, options.passes, options.warm)
            seen = hashlib.sha256(out.float().cpu().numpy().tobytes()).hexdigest()[:16]
            print(f"chain {batch} {mode} {statistics.median(times):.3f} {seen}"
                  f" {' '.join(f'{value:.1f}' for value in times)}", flush=True)


if __name__ == "__main__":
    main()
