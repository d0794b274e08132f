"""Jitted matrix products and their gradients in JAX, with plain gradient descent.

The allocator is chosen from outside, by XLA_PYTHON_CLIENT_ALLOCATOR and _PREALLOCATE. Autotuning,
which times candidates and so may choose another kernel each run, is off.
"""

import argparse
import os

XLA_FLAGS = ("--xla_gpu_autotune_level=0 --xla_gpu_deterministic_ops=true"
             " --xla_gpu_enable_triton_gemm=false")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", XLA_FLAGS)

import jax
import jax.numpy as jnp
import numpy

import results

SIDE = 8192
BATCH = 512
LAYER_MIB = SIDE * SIDE * 4 >> 20


def forward(weights, x):
    for weight in weights:
        x = jnp.tanh(x @ weight)
    return x


def loss(weights, x, target):
    return jnp.mean((forward(weights, x) - target) ** 2)


@jax.jit
def gradient(weights, x, target):
    return jax.value_and_grad(loss)(weights, x, target)


def descend(weights, slopes):
    return [weight - 100.0 * slope for weight, slope in zip(weights, slopes)]


descend = jax.jit(descend, donate_argnums=(0,))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=9500)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()

    # Weights and slopes are held together; the backward pass needs two layers' room more.
    layers = max(1, (options.mib // LAYER_MIB - 2) // 2)
    keys = jax.random.split(jax.random.PRNGKey(0), layers + 2)
    weights = [jax.random.normal(key, (SIDE, SIDE), jnp.float32) * (1.5 / SIDE ** 0.5)
               for key in keys[:layers]]
    x = jax.random.normal(keys[layers], (BATCH, SIDE), jnp.float32)
    target = jax.random.uniform(keys[layers + 1], (BATCH, SIDE), jnp.float32)
    losses = []
    held = 0

    def step():
        nonlocal weights, held
        value, slopes = gradient(weights, x, target)
        held = max(held, sum(array.nbytes for array in jax.live_arrays()))
        weights = descend(weights, slopes)
        losses.append(value)

    step()  # Compiles.
    report = results.Results()
    with report.section(lambda: jax.block_until_ready(weights)):
        for _ in range(options.rounds):
            step()
    statistics = jax.local_devices()[0].memory_stats() or {}
    # The platform allocator keeps no statistics; then the arrays alive are the figure.
    peak_bytes = statistics.get("peak_bytes_in_use") or held
    report.add(numpy.asarray([float(value) for value in losses]))
    for weight in weights:
        report.add(numpy.asarray(weight))
    report.report(peak_bytes)


if __name__ == "__main__":
    main()
