"""Batched inverses and solves of many small matrices, whose kernels find each matrix through an array of
pointers in device memory, among matrix products that name what they read."""

import argparse
import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch

import results

SIDE = 16
WIDE = 4096


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024, help="all that is held, about")
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.backends.cuda.preferred_linalg_library("cusolver")
    share = max(options.mib // 8, 64) << 20
    batch = share // (SIDE * SIDE * 4)
    matrices = torch.randn(batch, SIDE, SIDE, device="cuda") + SIDE * torch.eye(SIDE, device="cuda")
    weights = [torch.randn(WIDE, WIDE, device="cuda") / WIDE**0.5
               for _ in range(max(options.mib // 2 // (WIDE * WIDE * 4 >> 20), 2))]
    state = torch.ones(64, WIDE, device="cuda")
    report = results.Results()
    with report.section(torch.cuda.synchronize):
        for _ in range(options.rounds):
            for weight in weights:
                state = torch.tanh(state @ weight)
            inverse = torch.linalg.inv(matrices)
            matrices = matrices + 1e-3 * inverse
    for result in (state, inverse, matrices):
        report.add(result.cpu().numpy())
    report.report(torch.cuda.max_memory_reserved())


if __name__ == "__main__":
    main()
