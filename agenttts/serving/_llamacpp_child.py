"""One llama.cpp server: prints its address, serves until standard input closes."""

import os
import sys


def main() -> None:
    """Serve the model file named in the arguments: path, alias, slots, context, threads."""
    path, alias, slots, context, threads = sys.argv[1:]
    # llama.cpp logs to standard output too: keep a private copy of it for the address alone.
    address = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {alias}
    params.n_parallel = int(slots)
    params.n_ctx = int(slots) * int(context)
    # Slots of their own keep a sample independent of what else is being generated.
    params.kv_unified = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
    params.cache_ram_mib = 0
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.verbosity = -1
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        print(error, file=address, flush=True)
        return
    print(server.listening_address, file=address, flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
