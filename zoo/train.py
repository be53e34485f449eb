"""Train the four models together on one GPU: every step, all of them see the same fresh batch.

    python -m zoo.train --out runs/zoo

Each model's whole step (forward, backward, clipping, AdamW) is one CUDA graph on a stream of its own; worker
processes draw the batches. Checkpoints of all models are kept along the way (`CHECKPOINTS`).
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import tokenizer
from zoo.config import CONFIGS, SEQUENCE, SEQUENCES, TASKS, Config
from zoo.model import Llama, initialise, rotary_tables
from zoo.rows import step_batch

WARM_UP = 0.03
DECAY = 0.35
"""Share of the steps over which the learning rate falls to zero at the end."""
CHECKPOINTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
"""Shares of the steps after which a checkpoint is kept."""
LOG_EVERY = 50


def learning_rate_factor(step: int, steps: int) -> float:
    """Return the share of the peak learning rate at a step: up, flat, down."""
    up = (step + 1) / (WARM_UP * steps)
    down = (steps - step) / (DECAY * steps)
    return max(0.0, min(1.0, up, down))


class Batch:
    """The step's inputs in fixed device memory, which the captured graphs read."""

    def __init__(self, device: torch.device) -> None:
        shape = (SEQUENCES, SEQUENCE)
        self.ids = torch.zeros(shape, dtype=torch.long, device=device)
        self.tasks = torch.zeros(shape, dtype=torch.long, device=device)
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.mask = torch.zeros((SEQUENCES, 1, SEQUENCE, SEQUENCE), dtype=dtype, device=device)
        self._causal = torch.ones(SEQUENCE, SEQUENCE, dtype=torch.bool, device=device).tril()

    def load(self, planes: np.ndarray) -> None:
        """Copy one packed batch in and build the mask that keeps documents apart."""
        ids, documents, tasks = torch.from_numpy(planes).to(self.ids.device).long()
        self.ids.copy_(ids)
        self.tasks.copy_(tasks)
        same = (documents[:, :, None] == documents[:, None, :]) & self._causal
        self.mask.copy_(torch.where(same, 0.0, -30_000.0)[:, None])


def task_losses(model: Llama, batch_ids: Tensor, tasks: Tensor, mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return each task's mean loss over its scored tokens."""
    logits = model(batch_ids, cos, sin, mask)
    losses = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), batch_ids[:, 1:].flatten(), reduction="none")
    chosen = F.one_hot(tasks[:, :-1].flatten(), len(TASKS) + 1)[:, 1:].float()
    return (losses[:, None] * chosen).sum(0) / chosen.sum(0).clamp_min(1.0)


class Trainer:
    """One model with its optimiser; `step` runs eagerly, or replays a graph once captured."""

    def __init__(
        self, config: Config, batch: Batch, *, seed: int, compiled: bool, start: dict[str, Tensor] | None = None
    ) -> None:
        device = batch.ids.device
        self.config, self.batch, self.cuda = config, batch, device.type == "cuda"
        self.model = Llama(config, len(tokenizer.vocabulary()))
        initialise(self.model, seed)
        if start is not None:
            self.model.load_state_dict(start)
        self.model.to(device)
        self.cos, self.sin = (table.to(device) for table in rotary_tables(SEQUENCE, config.head_width))
        self.rate = torch.zeros((), device=device) if self.cuda else 0.0
        self.losses = torch.zeros(len(TASKS), device=device)
        self.weights = torch.tensor(config.task_weights, device=device)
        self.optimiser = torch.optim.AdamW(
            self._groups(), lr=self.rate, betas=(0.9, 0.98), fused=self.cuda, capturable=self.cuda
        )
        self.loss_function: Callable[..., Tensor] = torch.compile(task_losses) if compiled else task_losses
        self.stream = torch.cuda.Stream() if self.cuda else None  # type: ignore[no-untyped-call]
        self.graph: torch.cuda.CUDAGraph | None = None

    def _groups(self) -> list[dict[str, object]]:
        parameters = list(self.model.parameters())
        return [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.05},
            {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
        ]

    def set_rate(self, step: int) -> None:
        """Set the learning rate of a step; from the last step on it is 0."""
        rate = learning_rate_factor(step, self.config.steps) * self.config.learning_rate
        if isinstance(self.rate, Tensor):
            self.rate.fill_(rate)
        else:
            for group in self.optimiser.param_groups:
                group["lr"] = rate

    def _eager_step(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.cuda, cache_enabled=False):
            losses = self.loss_function(
                self.model, self.batch.ids, self.batch.tasks, self.batch.mask, self.cos, self.sin
            )
        (losses * self.weights).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0, foreach=True)
        self.optimiser.step()
        self.losses.copy_(losses.detach())

    def capture(self) -> None:
        """Record the step as a CUDA graph; the warm-up steps run at learning rate 0 and leave no trace."""
        self.set_rate(self.config.steps)
        torch.cuda.synchronize()
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                self._eager_step()
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        # On the stream it will run on: cuBLAS keeps one workspace per stream, and graphs that share one may hang.
        with torch.cuda.graph(self.graph, stream=self.stream):
            self._eager_step()
        for state in self.optimiser.state.values():
            for value in state.values():
                value.zero_()

    def step(self) -> None:
        """Take one step on the loaded batch."""
        if self.graph is None or self.stream is None:
            return self._eager_step()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.graph.replay()

    def join(self) -> None:
        """Make later work wait for this model's step."""
        if self.stream is not None:
            torch.cuda.current_stream().wait_stream(self.stream)


def batches(draw: Callable[[int], np.ndarray], steps: int, workers: int) -> Iterator[np.ndarray]:
    """Yield the batches of all steps in order, drawn by worker processes."""
    if workers == 0:
        yield from map(draw, range(steps))
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(draw, range(steps), chunksize=2)


def capture(trainers: dict[str, Trainer], batch: Batch, planes: np.ndarray) -> None:
    """Record every model's step as a CUDA graph."""
    batch.load(planes)
    for trainer in trainers.values():
        trainer.capture()


def train(trainers: dict[str, Trainer], batch: Batch, source: Iterator[np.ndarray], out: Path) -> None:
    """Run the loop, log losses and keep checkpoints; a model whose training is over rests."""
    started = time.monotonic()
    with (out / "loss.csv").open("w") as log:
        print("step,seconds", *(f"{s}_{t}" for s in trainers for t in TASKS), sep=",", file=log, flush=True)
        for step, planes in enumerate(source):
            batch.load(planes)
            active = {size: trainer for size, trainer in trainers.items() if step < trainer.config.steps}
            for trainer in active.values():
                trainer.set_rate(step)
                trainer.step()
            for trainer in active.values():
                trainer.join()
            if step % LOG_EVERY == 0:
                values = [f"{v:.4f}" for trainer in trainers.values() for v in trainer.losses.tolist()]
                print(step, f"{time.monotonic() - started:.1f}", *values, sep=",", file=log, flush=True)
            save_due(active, step + 1, out)


def save_due(trainers: dict[str, Trainer], done: int, out: Path) -> None:
    """Keep a checkpoint of every model for which `done` steps is one of its marks."""
    for size, trainer in trainers.items():
        if done in {round(trainer.config.steps * share) for share in CHECKPOINTS}:
            torch.save(trainer.model.state_dict(), out / f"{size}-{done:05d}.pt")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description="Train the minihop models.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="length of every training, in place of each model's own")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sizes", nargs="+", default=list(CONFIGS))
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--eager", action="store_true", help="no torch.compile, no CUDA graphs")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = Batch(device)
    fast = device.type == "cuda" and not arguments.eager
    configs = {size: CONFIGS[size] for size in arguments.sizes}
    if arguments.steps:
        configs = {size: replace(config, steps=arguments.steps) for size, config in configs.items()}
    trainers = {s: Trainer(config, batch, seed=arguments.seed, compiled=fast) for s, config in configs.items()}
    if fast:
        capture(trainers, batch, step_batch(arguments.seed, 0))
    steps = max(config.steps for config in configs.values())
    train(trainers, batch, batches(partial(step_batch, arguments.seed), steps, arguments.workers), arguments.out)


if __name__ == "__main__":
    main()
