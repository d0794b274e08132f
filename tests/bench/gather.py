"""Random rows of 128 bytes from a table of which no part is read more than another, each pass with rows
of its own: nothing is worth moving, and reading in place is the best there is.

Prints `table BYTES` and `rows COUNT` beside the lines of passes.py. `mapped COUNT MS`, with --mapped-mib:
so many random rows of a table in pinned host memory of that size, read in place by the same kernel. What
a die reaches there without walking page tables is about 512 MiB: beyond that random rows are slower than the
link, by how much depends on the size.
"""

import torch

import passes

ROW_ITEMS = 32  # Of four bytes: a row is what one warp reads at once.


class Pinned:
    """Pinned host memory, as a tensor of the die."""

    def __init__(self, count):
        self.memory = torch.zeros(count, ROW_ITEMS, pin_memory=True)
        self.__cuda_array_interface__ = {
            "shape": tuple(self.memory.shape), "typestr": "<f4", "data": (self.memory.data_ptr(), False),
            "strides": None, "version": 3}


def show_mapped(options, count, rows, out, synchronize):
    table = torch.as_tensor(Pinned(count), device=options.device)
    run = passes.Passes(options, synchronize)
    times = []
    for _ in range(5):
        rows.random_(0, count)
        synchronize()
        times.append(run.once(lambda: torch.index_select(table, 0, rows, out=out)))
    print("mapped", rows.numel(), f"{sorted(times)[2]:.3f}", flush=True)


def main():
    parser = passes.parser(__doc__)
    parser.add_argument("--table-mib", type=int, default=8192)
    parser.add_argument("--rows", type=int, default=1 << 22, help="read in a pass")
    parser.add_argument("--mapped-mib", type=int, default=0)
    options = parser.parse_args()

    synchronize = passes.prepare_torch(options.device)
    count = (options.table_mib << 20) // (4 * ROW_ITEMS)
    generator = torch.Generator(device=options.device)
    generator.manual_seed(1)
    table = torch.empty(count, ROW_ITEMS, device=options.device).normal_(generator=generator)
    rows = torch.empty(options.rows, dtype=torch.int64, device=options.device)
    out = torch.empty(options.rows, ROW_ITEMS, device=options.device)

    if options.mapped_mib:
        show_mapped(options, (options.mapped_mib << 20) // (4 * ROW_ITEMS), rows, out, synchronize)

    def draw(seed):
        """Outside of the time taken, and before the pass that reads them."""
        generator.manual_seed(seed)
        rows.random_(0, count, generator=generator)

    draw(0)
    run = passes.Passes(options, synchronize, draw)
    run.run(lambda: torch.index_select(table, 0, rows, out=out))
    # However many passes there were, the output of one and the same draw is compared.
    draw(1 << 20)
    torch.index_select(table, 0, rows, out=out)
    sizes = [tensor.numel() * tensor.element_size() for tensor in (table, rows, out)]
    print("table", sizes[0])
    print("rows", options.rows)
    print("held", passes.held_by_torch(options.device, sum(sizes)))
    run.report("gather", passes.hash_of_torch([out]))


if __name__ == "__main__":
    main()
