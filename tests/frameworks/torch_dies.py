"""Programs that use several dies themselves: data-parallel training with one process a die (NCCL), and
all-reduces by NCCL in one process. Both have more to hold than a limit on each die would allow."""

import argparse
import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
os.environ.setdefault("NCCL_NVLS_ENABLE", "0")
os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
os.environ.setdefault("MASTER_PORT", "29517")

import torch
from torch import nn
from torch.nn import functional

import results

WIDTH = 4096


def train(rank, dies, mib, rounds, answers):
    torch.cuda.set_device(rank)
    torch.distributed.init_process_group("nccl", rank=rank, world_size=dies)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(1)
    # Weight, gradient, its bucket and two moments of each layer, in float32.
    layers = max(1, (mib << 20) // (5 * 4 * WIDTH * WIDTH))
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(layers))).cuda()
    model = nn.parallel.DistributedDataParallel(model, device_ids=[rank])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=False)
    generator = torch.Generator().manual_seed(100 + rank)
    out = results.Results()
    with out.section(torch.cuda.synchronize):
        for _ in range(rounds):
            x = torch.randn(64, WIDTH, generator=generator).cuda()
            optimizer.zero_grad()
            functional.mse_loss(model(x), x).backward()
            optimizer.step()
    for parameter in model.parameters():
        out.add(parameter.detach().cpu().numpy())
    if rank == 0:
        out.report(torch.cuda.max_memory_allocated())
    whole = torch.stack([parameter.detach().double().sum() for parameter in model.parameters()])
    other = whole.clone()
    torch.distributed.broadcast(other, 0)
    answers[rank] = bool((whole == other).all())
    torch.distributed.destroy_process_group()


def reduce_in_one(dies, mib, rounds):
    count = 12
    size = (mib << 20) // 4 // count
    tensors = [[torch.full((size,), float(die + number), device=f"cuda:{die}") for die in range(dies)]
               for number in range(count)]
    out = results.Results()

    def everywhere():
        for die in range(dies):
            torch.cuda.synchronize(die)

    with out.section(everywhere):
        for _ in range(rounds):
            for group in tensors:
                torch.cuda.nccl.all_reduce(group)
                for tensor in group:
                    tensor.mul_(0.5).add_(1.0)
    for group in tensors:
        assert all(torch.equal(group[0].cpu(), tensor.cpu()) for tensor in group[1:]), "dies differ"
        out.add(group[0].cpu().numpy())
    out.report(torch.cuda.max_memory_allocated())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=("ddp", "nccl"), default="ddp")
    parser.add_argument("--mib", type=int, default=6000, help="on each die")
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    dies = torch.cuda.device_count()
    if options.mode == "nccl":
        return reduce_in_one(dies, options.mib, options.rounds)
    answers = torch.multiprocessing.Manager().dict()
    torch.multiprocessing.spawn(train, (dies, options.mib, options.rounds, answers), nprocs=dies)
    assert all(answers.values()), "ranks differ"


if __name__ == "__main__":
    main()
