"""A prefill of 2,048 tokens with a transformers Llama of random weights, 12.6 GiB in bfloat16: each
weight is read many times over in one product, so that reading it in place is dear."""

import hashlib
import os
import pathlib
import sys

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "frameworks"))

import torch

import hf_generate
import passes


def main():
    parser = passes.parser(__doc__)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=hf_generate.PREFILL)
    options = parser.parse_args()

    synchronize = passes.prepare_torch(options.device, strict=False)
    torch.set_default_dtype(torch.bfloat16)
    model = hf_generate.build(hf_generate.llama(options.layers), "native", 0, options.device)
    tokens = (torch.arange(options.tokens, device=options.device) * 31 % hf_generate.VOCABULARY).view(1, -1)
    logits = None

    def prefill():
        nonlocal logits
        # Gone before the next are made, so that every pass holds the same.
        logits = None
        logits = model(tokens, use_cache=False).logits

    run = passes.Passes(options, synchronize)
    with torch.no_grad():
        run.run(prefill)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    print("weights", weights)
    print("held", passes.held_by_torch(options.device, weights))
    # float() is exact for bfloat16, and numpy has no bfloat16 to hash.
    run.report("prefill", hashlib.sha256(logits.float().cpu().numpy().tobytes()).hexdigest()[:16])


if __name__ == "__main__":
    main()
