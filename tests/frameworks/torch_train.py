"""Trains a small transformer with AdamW in PyTorch, in float32 and with deterministic algorithms."""

import argparse
import os

# cuBLAS picks its workspace per stream otherwise, and with it the order of its sums.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch
from torch import nn
from torch.nn import functional

import results

WIDTH = 2048
HEADS = 16
VOCABULARY = 8192
BATCH = 4
LENGTH = 128
# Of a block: twelve weight matrices, held as weight, gradient, two moments and one temporary of the
# optimiser, and about twenty activations.
BLOCK_BYTES = 5 * 12 * WIDTH * WIDTH * 4 + 20 * BATCH * LENGTH * WIDTH * 4


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.LayerNorm(WIDTH)
        self.attend = nn.Linear(WIDTH, 3 * WIDTH)
        self.project = nn.Linear(WIDTH, WIDTH)
        self.second = nn.LayerNorm(WIDTH)
        self.widen = nn.Linear(WIDTH, 4 * WIDTH)
        self.narrow = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        shape = (x.shape[0], x.shape[1], HEADS, WIDTH // HEADS)
        q, k, v = (part.view(shape).transpose(1, 2)
                   for part in self.attend(self.first(x)).chunk(3, dim=-1))
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(seen.transpose(1, 2).reshape(x.shape))
        return x + self.narrow(functional.gelu(self.widen(self.second(x))))


class Model(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(blocks)))
        self.last = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens):
        return self.head(self.last(self.blocks(self.embed(tokens))))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=9500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    # The mathematical form of attention: the fused ones sum gradients with atomics.
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)

    blocks = max(1, (options.mib << 20) // BLOCK_BYTES)
    with torch.device("cuda"):
        model = Model(blocks)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    tokens = torch.randint(VOCABULARY, (BATCH, LENGTH + 1), device="cuda")
    losses = []

    def step():
        logits = model(tokens[:, :-1])
        loss = functional.cross_entropy(logits.reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())

    step()
    report = results.Results()
    with report.section(torch.cuda.synchronize):
        for _ in range(options.rounds):
            step()
    report.add(torch.stack(losses).cpu().numpy())
    for parameter in model.parameters():
        report.add(parameter.detach().cpu().numpy())
        state = optimizer.state[parameter]
        report.add(state["exp_avg"].cpu().numpy())
        report.add(state["exp_avg_sq"].cpu().numpy())
    report.report(torch.cuda.max_memory_reserved())


if __name__ == "__main__":
    main()
