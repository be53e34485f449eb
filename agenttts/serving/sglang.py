"""SGLang servers, by its documented arguments and endpoints; run with SGLang 0.5.16 on one H200.

Tests run this with a program that plays SGLang's part. A server that sleeps keeps its weights in the host's memory
(`--enable-weights-cpu-backup`). SGLang takes no heed of seeds, so the same request may be answered otherwise again.
"""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from urllib.error import HTTPError

from agenttts._util.extras import installed
from agenttts.errors import ConfigError
from agenttts.pipeline import Model
from agenttts.serving._server import ServerCall, ServerEngine, answer
from agenttts.serving.gpu_servers import GpuServing
from agenttts.serving.placement import Placed

_STATIC_SHARE = 0.9
"""Of a card's memory, for weights and KV cache: what bounds the KV cache is `--max-total-tokens`."""

_IDLE_WITHIN_S = 30


def _is_ours(address: str, mark: str) -> bool:
    """The mark is what the version of its weights is called; it is healthy once it has generated something."""
    try:
        info = answer(f"{address}/model_info")
    except HTTPError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise
        info = answer(f"{address}/get_model_info")  # of older releases
    told: object = json.loads(info)["weight_version"]
    answer(f"{address}/health_generate")
    return told == mark


class SglangServing(GpuServing):
    """Serves the models of a pipeline through SGLang."""

    engine = ServerEngine(
        name="SGLang",
        is_ours=_is_ours,
        # It ends when it is told to release memory while it still has work: that of a request given up, or the last
        # step of one that it has answered.
        sleep=[
            ServerCall("/abort_request", {"abort_all": True}),
            ServerCall(f"/flush_cache?timeout={_IDLE_WITHIN_S}"),
            ServerCall("/release_memory_occupation"),
        ],
        wake=ServerCall("/resume_memory_occupation"),
    )

    def program(self) -> list[str]:
        """See `GpuServing.program`."""
        if not installed("sglang"):
            raise ConfigError(
                "there is no SGLang in this Python: install it as its documentation says, or attach servers by "
                "--endpoint MODEL=URL"
            )
        return [sys.executable, "-m", "sglang.launch_server", "--model-path"]

    def words(self, model: Model, placed: Placed, *, mark: str, port: int, sleeps: bool) -> list[str]:
        """See `GpuServing.words`."""
        options = {
            "--host": "127.0.0.1",
            "--port": port,
            "--served-model-name": model.served_name,
            "--weight-version": mark,
            "--context-length": placed.demand.context,
            "--tp-size": len(placed.cards),
            "--mem-fraction-static": _STATIC_SHARE,
            "--max-total-tokens": placed.sequences * placed.demand.context,
            # Sampling defaults are OpenAI's, whatever the weights' generation_config.json says.
            "--sampling-defaults": "openai",
        }
        return [
            self.source(model),
            *(str(word) for option in options.items() for word in option),
            "--enable-metrics",
            *(["--enable-memory-saver", "--enable-weights-cpu-backup"] if sleeps else []),
        ]
