"""The workload `decode` of `barswap bench`: a transformers Llama of random weights generates tokens, each
of which reads every weight once. Alone, all of it lies on the device (with or without Barswap, of which
this program knows nothing); with --accelerate, accelerate keeps the cap there and the rest on the CPU.

Prints one line of JSON, holds everything until standard input ends, and needs no file beside it: it is
handed to `python3 -c`.
"""

import argparse
import hashlib
import json
import os
import sys
import time

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
import transformers
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

PROMPT = 32
VOCABULARY = 1024
HEAD = 128


def shape(layer_bytes):
    """(width, inner width) of a layer of about so many bytes: four square matrices and three of width
    times inner width, two bytes a weight."""
    width = 512
    while width < 4096 and 20 * (2 * width) ** 2 <= layer_bytes:
        width *= 2
    return width, max(64, (layer_bytes - 8 * width * width) // (6 * width) // 64 * 64)


def config_of(layers, layer_bytes):
    width, inner = shape(layer_bytes)
    return transformers.LlamaConfig(
        hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, vocab_size=VOCABULARY,
        num_attention_heads=width // HEAD, num_key_value_heads=width // HEAD)


def draw_weights(model, seed):
    """Drawn on the device wherever they lie, so that every run computes with the same bytes."""
    generator = torch.Generator(device="cuda")
    for index, parameter in enumerate(model.parameters()):
        generator.manual_seed(seed + index)
        if parameter.is_cuda:
            parameter.data.normal_(0, 0.02, generator=generator)
        else:
            drawn = torch.empty(parameter.shape, dtype=parameter.dtype, device="cuda")
            parameter.data.copy_(drawn.normal_(0, 0.02, generator=generator))


def build(config, cap_bytes, with_accelerate, seed):
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    model = model.to_empty(device="cpu" if with_accelerate else "cuda")
    draw_weights(model, seed)
    # The inverse frequencies are a buffer, which to_empty left unset.
    model.model.rotary_emb = LlamaRotaryEmbedding(config)
    if not with_accelerate:
        model.model.rotary_emb = model.model.rotary_emb.to("cuda")
        return model.eval()
    import accelerate
    torch.cuda.empty_cache()
    bytes_held = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return accelerate.dispatch_model(model, device_map=accelerate.infer_auto_device_map(
        model, max_memory={0: cap_bytes, "cpu": 2 * bytes_held},
        no_split_module_classes=["LlamaDecoderLayer"])).eval()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--layer-bytes", type=int, required=True)
    parser.add_argument("--cap", type=int, required=True)
    parser.add_argument("--warm", type=int, required=True)
    parser.add_argument("--cycles", type=int, required=True)
    parser.add_argument("--accelerate", action="store_true")
    parser.add_argument("--spoil", action="store_true")
    options = parser.parse_args()

    torch.use_deterministic_algorithms(True)
    torch.set_default_dtype(torch.bfloat16)
    model = build(config_of(options.layers, options.layer_bytes), options.cap, options.accelerate,
                  1 if options.spoil else 0)
    prompt = (torch.arange(PROMPT, device="cuda") * 37 % VOCABULARY).view(1, -1)
    # Each pass makes a token, and begins once the token before it is known.
    starts = []
    model.register_forward_pre_hook(lambda *_: starts.append(time.monotonic()))
    tokens = options.warm + options.cycles
    with torch.no_grad():
        made = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens,
                              min_new_tokens=tokens, do_sample=False, pad_token_id=0,
                              return_dict_in_generate=True, output_logits=True)
    torch.cuda.synchronize()
    seconds = (time.monotonic() - starts[-options.cycles]) / options.cycles
    digest = hashlib.sha256(made.sequences.cpu().numpy().tobytes())
    # float() is exact for bfloat16, which numpy does not know.
    for logits in made.logits[-options.cycles:]:
        digest.update(logits.float().cpu().numpy().tobytes())
    print(json.dumps({"cycle_s": seconds, "hash": digest.hexdigest()[:16],
                      "bytes": torch.cuda.max_memory_allocated()}), flush=True)
    sys.stdin.read()


main()
