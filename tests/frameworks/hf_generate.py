"""Greedy `generate` and a prefill of 2,048 tokens with a transformers Llama of random weights.

The default shape holds 12.6 GiB in bfloat16. Weights are drawn on the device from one seeded
generator a tensor, so that every mode computes with the same bytes.
    native      the whole model on the device
    accelerate  dispatched by accelerate with --limit-mib on the device and the rest on the CPU
"""

import argparse
import os
import time

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch
import transformers
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

import results

WIDTH = 4096
VOCABULARY = 32000
PROMPT = 64
PREFILL = 2048
LAYER_MIB = 386  # Four square matrices and three of 4096 x 11008, two bytes a weight.
EMBEDDINGS_MIB = 500


def llama(layers):
    return transformers.LlamaConfig(
        hidden_size=WIDTH, intermediate_size=11008, num_hidden_layers=layers,
        num_attention_heads=32, num_key_value_heads=32, vocab_size=VOCABULARY)


def draw_weights(model, device):
    generator = torch.Generator(device=device)
    for index, parameter in enumerate(model.parameters()):
        generator.manual_seed(index)
        if parameter.device.type == device:
            parameter.data.normal_(0, 0.02, generator=generator)
        else:
            drawn = torch.empty(parameter.shape, device=device).normal_(0, 0.02, generator=generator)
            parameter.data.copy_(drawn)


def build(config, mode, limit_mib, device="cuda"):
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    model = model.to_empty(device=device if mode == "native" else "cpu")
    draw_weights(model, device)
    # The inverse frequencies are a buffer, which to_empty left unset.
    model.model.rotary_emb = LlamaRotaryEmbedding(config)
    if mode == "native":
        model.model.rotary_emb = model.model.rotary_emb.to(device)
    else:
        import accelerate
        placement = accelerate.infer_auto_device_map(
            model, max_memory={0: limit_mib << 20, "cpu": "80GiB"},
            no_split_module_classes=["LlamaDecoderLayer"])
        places = list(placement.values())
        print("placement", ",".join(f"{place}:{places.count(place)}" for place in dict.fromkeys(places)))
        model = accelerate.dispatch_model(model, device_map=placement)
    if device == "cuda":
        torch.cuda.empty_cache()
    return model.eval()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=["native", "accelerate"], default="native")
    parser.add_argument("--layers", type=int, default=0)
    parser.add_argument("--mib", type=int, default=12900, help="chooses the layers if --layers is 0")
    parser.add_argument("--limit-mib", type=int, default=9000, help="for accelerate")
    parser.add_argument("--rounds", type=int, default=12, help="tokens to generate")
    options = parser.parse_args()

    layers = options.layers or max(1, (options.mib - EMBEDDINGS_MIB) // LAYER_MIB)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model = build(llama(layers), options.mode, options.limit_mib)
    print("weights", sum(p.numel() * p.element_size() for p in model.parameters()) >> 20)

    prompt = (torch.arange(PROMPT, device="cuda") * 37 % VOCABULARY).view(1, -1)
    # The main section generates; the prefill is timed beside it, in lines of its own.
    report = results.Results()
    with torch.no_grad():
        def generate(tokens):
            return model.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens,
                min_new_tokens=tokens, do_sample=False, pad_token_id=0,
                return_dict_in_generate=True, output_logits=True)

        generate(2)
        # One pass a token, and each begins once the token before it is known.
        starts = []
        hook = model.register_forward_pre_hook(lambda *_: starts.append(time.monotonic()))
        with report.section(torch.cuda.synchronize):
            out = generate(options.rounds)
        hook.remove()
        starts.append(time.monotonic())
        long = (torch.arange(PREFILL, device="cuda") * 31 % VOCABULARY).view(1, -1)
        model(long, use_cache=False)
        torch.cuda.synchronize()
        start = time.monotonic()
        logits = model(long, use_cache=False).logits
        torch.cuda.synchronize()
        print(f"prefill_ms {(time.monotonic() - start) * 1e3:.2f}")
    print("token_ms_each", ",".join(f"{(end - start) * 1e3:.1f}" for start, end in zip(starts, starts[1:])))
    print(f"token_ms {report.seconds / options.rounds * 1e3:.3f}")
    report.add(out.sequences.cpu().numpy())
    for scores in (*out.logits, logits):
        # float() is exact for bfloat16, and numpy has no bfloat16 to hash.
        report.add(scores.float().cpu().numpy())
    report.report(torch.cuda.max_memory_reserved())


if __name__ == "__main__":
    main()
