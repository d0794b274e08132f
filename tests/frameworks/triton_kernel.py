"""A tiled matrix product and a row softmax written in Triton, without autotuning."""

import argparse

import torch
import triton
import triton.language as tl

import results

SIDE = 8192
ARRAY_MIB = SIDE * SIDE * 4 >> 20
TILE = 128
STEP = 32


@triton.jit
def product(a, b, c, side, tile: tl.constexpr, step: tl.constexpr):
    rows = tl.program_id(0) * tile + tl.arange(0, tile)
    columns = tl.program_id(1) * tile + tl.arange(0, tile)
    inner = tl.arange(0, step)
    total = tl.zeros((tile, tile), dtype=tl.float32)
    for start in range(0, side, step):
        left = tl.load(a + rows[:, None] * side + (start + inner)[None, :])
        right = tl.load(b + (start + inner)[:, None] * side + columns[None, :])
        total += tl.dot(left, right)
    tl.store(c + rows[:, None] * side + columns[None, :], total)


@triton.jit
def softmax(x, side, scale, block: tl.constexpr):
    cells = x + tl.program_id(0) * side + tl.arange(0, block)
    row = tl.load(cells) * scale
    row = tl.exp(row - tl.max(row, axis=0))
    tl.store(cells, row / tl.sum(row, axis=0))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=9500)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()

    count = max(2, options.mib // ARRAY_MIB - 1)
    generator = torch.Generator(device="cuda")
    generator.manual_seed(3)
    arrays = [torch.rand((SIDE, SIDE), device="cuda", generator=generator) for _ in range(count)]
    spare = torch.empty((SIDE, SIDE), device="cuda")
    grid = (SIDE // TILE, SIDE // TILE)

    def round_trip(index):
        nonlocal spare
        product[grid](arrays[index], arrays[(index + 1) % count], spare, SIDE, TILE, STEP,
                      num_warps=8, num_stages=3)
        softmax[(SIDE,)](spare, SIDE, 0.01, SIDE, num_warps=8)
        arrays[index], spare = spare, arrays[index]

    round_trip(0)  # Compiles.
    report = results.Results()
    with report.section(torch.cuda.synchronize):
        for _ in range(options.rounds):
            for index in range(count):
                round_trip(index)
    for array in arrays:
        report.add(array.cpu().numpy())
    report.report(torch.cuda.max_memory_reserved())


if __name__ == "__main__":
    main()
