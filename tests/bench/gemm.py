"""A matrix product by blocks, as a program writes it whose matrices are larger than one product should
be: C[i][j] += A[i][k] @ B[k][j] by plain torch.matmul.

Prints `block BYTES` and `order NAME NAME ...` beside the lines of passes.py: the blocks in the
order in which a pass reads them, those of C behind a `+` where they are made and need not be read.
"""

import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch

import passes


def order(side):
    """(i, j, k) of each product of a pass."""
    return [(i, j, k) for i in range(side) for j in range(side) for k in range(side)]


def main():
    parser = passes.parser(__doc__)
    parser.add_argument("--side", type=int, default=5, help="blocks in a row of a matrix")
    parser.add_argument("--width", type=int, default=4096, help="of a block")
    options = parser.parse_args()

    synchronize = passes.prepare_torch(options.device)
    places = [(i, j) for i in range(options.side) for j in range(options.side)]

    def matrix():
        return {place: torch.empty(options.width, options.width, device=options.device,
                                   dtype=torch.bfloat16).normal_(0, 0.1) for place in places}

    a, b, c = matrix(), matrix(), matrix()

    def multiply():
        for i, j, k in order(options.side):
            if k == 0:
                torch.matmul(a[i, k], b[k, j], out=c[i, j])
            else:
                c[i, j].addmm_(a[i, k], b[k, j])

    run = passes.Passes(options, synchronize)
    run.run(multiply)
    block = a[0, 0].numel() * a[0, 0].element_size()
    print("block", block)
    print("order", " ".join(f"a{i}.{k} b{k}.{j} {'' if k else '+'}c{i}.{j}"
                            for i, j, k in order(options.side)))
    print("held", passes.held_by_torch(options.device, 3 * len(places) * block))
    run.report("gemm", passes.hash_of_torch(c.values()))


if __name__ == "__main__":
    main()
