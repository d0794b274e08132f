"""Steps of training: a transformer of about a billion parameters, AdamW with float32 weights, gradients
and moments, products in bfloat16 by autocast.

Beside the lines of passes.py it prints `moved_state BYTES`: weights, gradients and both moments, each of
which a step both reads and writes.
"""

import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch
from torch import nn
from torch.nn import functional

import passes

HEAD = 128
VOCABULARY = 8192


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.LayerNorm(width)
        self.attend = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.second = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x):
        q, k, v = (part.view(*x.shape[:2], -1, HEAD).transpose(1, 2)
                   for part in self.attend(self.first(x)).chunk(3, dim=-1))
        # Its gradients are summed in a fixed order where deterministic algorithms are asked for.
        with nn.attention.sdpa_kernel(nn.attention.SDPBackend.FLASH_ATTENTION):
            seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(seen.transpose(1, 2).reshape(x.shape))
        return x + self.narrow(functional.gelu(self.widen(self.second(x))))


class Model(nn.Module):
    def __init__(self, blocks, width):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.last = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, tokens):
        return self.head(self.last(self.blocks(self.embed(tokens))))


class Training:
    def __init__(self, options):
        with torch.device(options.device):
            self.model = Model(options.blocks, options.width)
            self.tokens = torch.randint(VOCABULARY, (options.batch, options.length + 1))
        # One kernel for many tensors without temporaries of the model's size.
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.device = options.device
        self.held = 0

    def step(self):
        with torch.autocast(self.device, dtype=torch.bfloat16):
            logits = self.model(self.tokens[:, :-1]).float()
        wanted = self.tokens[:, 1:].reshape(-1)
        loss = functional.cross_entropy(logits.reshape(-1, VOCABULARY), wanted)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.loss = loss.detach()

    def state(self):
        yield self.loss
        for parameter in self.model.parameters():
            own = self.optimizer.state[parameter]
            yield from (parameter, parameter.grad, own["exp_avg"], own["exp_avg_sq"])

    def bytes(self):
        return sum(tensor.numel() * tensor.element_size() for tensor in self.state())

    def show(self, count):
        """Prints a hash of the state, whose making is not to count as memory that training holds."""
        self.held = max(self.held, passes.held_by_torch(self.device, self.bytes()))
        print("state", count, passes.hash_of_torch(self.state()), flush=True)
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()


def main():
    parser = passes.parser(__doc__)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--states", action="store_true", help="hash the state at every fifth step")
    options = parser.parse_args()

    synchronize = passes.prepare_torch(options.device)
    training = Training(options)

    def after(count):
        if options.states and count % passes.STATE_STEP == 0:
            training.show(count)

    run = passes.Passes(options, synchronize, after, passes.STATE_STEP)
    run.run(training.step)
    training.show(run.count)
    print("moved_state", training.bytes())
    print("held", training.held)
    run.report("train", passes.hash_of_torch([training.loss]))


if __name__ == "__main__":
    main()
