"""Turn checkpoints into the GGUF files that ship.

python -m zoo.export --run runs/zoo
python -m zoo.export --run runs/verifier --verifier
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from zoo.config import CONFIGS, VERIFIER_SIZE, verifier_config
from zoo.weights import Precision, write_gguf
from zoo.worldfile import PACKAGE


def main() -> None:
    """Parse the command line and write one file per size."""
    parser = argparse.ArgumentParser(description="Export checkpoints as GGUF.")
    parser.add_argument("--run", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument("--verifier", action="store_true", help="the checkpoints are a verifier's")
    parser.add_argument("--steps", nargs="*", default=[], metavar="SIZE=STEP", help="other steps than those shipped")
    parser.add_argument("--out", type=Path, default=PACKAGE / "weights")
    parser.add_argument("--precision", choices=["q8_0", "f16"], default="q8_0")
    arguments = parser.parse_args()
    precision: Precision = arguments.precision
    arguments.out.mkdir(parents=True, exist_ok=True)
    configs = {VERIFIER_SIZE: verifier_config(VERIFIER_SIZE)} if arguments.verifier else CONFIGS
    steps = {size: config.shipped for size, config in configs.items()}
    steps |= {size: int(step) for size, step in (pair.split("=") for pair in arguments.steps)}
    for size, step in steps.items():
        state = torch.load(arguments.run / f"{size}-{step:05d}.pt", map_location="cpu")
        write_gguf(state, configs[size], arguments.out / f"{configs[size].name}.gguf", precision)


if __name__ == "__main__":
    main()
