"""vLLM servers. Weights are what `vllm serve` takes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib import metadata

from agenttts._util.extras import installed
from agenttts._util.hints import install
from agenttts.errors import ConfigError
from agenttts.pipeline import Model
from agenttts.serving._server import ServerCall, ServerEngine, answer
from agenttts.serving.gpu_servers import GpuServing
from agenttts.serving.placement import GIB, Placed

_OLDEST = (0, 25)
"""The oldest release that this was run with."""
_VERSION_S = 120.0
_MODULE = "vllm.entrypoints.openai.api_server"
_QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


def _is_ours(address: str, mark: str) -> bool:
    """The mark is a second name that a model is served under."""
    return mark in {served["id"] for served in json.loads(answer(f"{address}/v1/models"))["data"]}


class VllmServing(GpuServing):
    """Serves the models of a pipeline through vLLM."""

    engine = ServerEngine(
        name="vLLM", is_ours=_is_ours, sleep=[ServerCall("/sleep?level=1")], wake=ServerCall("/wake_up")
    )

    def program(self) -> list[str]:
        """This Python's own vLLM, else the `vllm` on the path; see `GpuServing.program`."""
        if installed("vllm"):
            _require_new(_installed_version())
            return [sys.executable, "-m", _MODULE, "--model"]
        path = shutil.which("vllm")
        if path is None:
            raise ConfigError(f"there is no vLLM: {install('vllm')}, or attach servers by --endpoint MODEL=URL")
        try:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_VERSION_S).stdout
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"{path} does not tell its version: {type(error).__name__}") from error
        _require_new(said.split()[-1] if said.split() else "")
        return [path, "serve"]

    def words(self, model: Model, placed: Placed, *, mark: str, port: int, sleeps: bool) -> list[str]:
        """See `GpuServing.words`."""
        options = {
            "--host": "127.0.0.1",
            "--port": port,
            "--max-model-len": placed.demand.context,
            "--tensor-parallel-size": len(placed.cards),
            # What is free at the start is checked against this share; the KV cache is not measured but given.
            "--gpu-memory-utilization": f"{placed.awake_gib / self.smallest_gib(placed):.4f}",
            "--kv-cache-memory-bytes": int(placed.kv_gib * GIB),
            # Sampling defaults are OpenAI's, whatever the weights' generation_config.json says.
            "--generation-config": "vllm",
        }
        return [
            self.source(model),
            *(str(word) for option in options.items() for word in option),
            *("--served-model-name", model.served_name, mark),
            *(["--enable-sleep-mode"] if sleeps else []),
        ]

    def variables(self, placed: Placed, *, sleeps: bool) -> dict[str, str]:
        """See `GpuServing.variables`."""
        # The endpoints of sleep mode are only there in development mode; the server listens on this machine alone.
        found = {
            **super().variables(placed, sleeps=sleeps),
            **_QUIET,
            **({"VLLM_SERVER_DEV_MODE": "1"} if sleeps else {}),
        }
        found.pop("VLLM_API_KEY", None)
        return found


def _installed_version() -> str:
    """The version of this Python's vLLM, under whichever name it was installed."""
    for name in metadata.packages_distributions().get("vllm", ()):
        return metadata.version(name)
    return ""


def _require_new(version: str) -> None:
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None:
        raise ConfigError(f"vLLM does not tell its version, it says {version!r}: see `vllm --version`")
    if (int(found[1]), int(found[2])) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise ConfigError(
            f"vLLM {version} is too old: at least {oldest} is needed, as {install('vllm', upgrade=True)} brings it"
        )
