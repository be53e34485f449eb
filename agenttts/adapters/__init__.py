"""Pipelines written in another framework, made searchable without a rewrite.

Each step of the user's graph or program gets `step_model(NAME)` in place of its model object; the pipeline's `run`
calls the graph. The step's model and number of samples then come from the allocation, its samples through the pool,
and its parser and aggregator are the subtask's. What the step sees is the whole first sample that was parsed as the
winning value, so the user's own code goes on parsing as before.

    stages = [at.Subtask("retrieve", models), at.Subtask("answer", models)]
    pipeline = at.Pipeline("mine", stages, metric, run=run_graph)

A program that calls the official client needs no model object: `adapters.openai` is that client, whose `step(NAME)`
goes through the allocation within a search.

Tools that are bound to a step's model, and images, go with its requests: each turn of an agent is a draw, and a vote of
samples that call tools compares names and arguments.

A step is asked with the subtask's `Sampling` and priced as one request per query; a step asked more often uses more.
A fingerprint covers the function `run` and what it names: the user's functions and constants, and what a compiled graph
or a DSPy module holds. `pipeline.uncovered` says what of that cannot be read: name a new study after a change there.
"""
