"""Prints the SYNTHETIC table `scores.csv`, in which nothing was measured: `make_scores.py > scores.csv`.

How often an example is solved grows with the model of either stage and, for answers, with the number of samples.
"""

import random
from itertools import product

MODELS, SAMPLES = ("3B", "8B", "70B"), (1, 4, 16)
FINDS = {"3B": 0.35, "8B": 0.6, "70B": 0.92}
ANSWERS = {"3B": (0.45, 0.6, 0.7), "8B": (0.65, 0.8, 0.85), "70B": (0.85, 0.87, 0.88)}  # with 1, 4 and 16 samples

luck = random.Random(0)
difficulty = {f"q{number}": (luck.random(), luck.random()) for number in range(1, 61)}

print("retrieve.model,retrieve.samples,answer.model,answer.samples,example,score,held_out,simulated")
for finder, finder_samples, answerer, answerer_samples in product(MODELS, SAMPLES[:1], MODELS, SAMPLES):
    for number, (to_find, to_answer) in enumerate(difficulty.values(), start=1):
        solved = to_find < FINDS[finder] and to_answer < ANSWERS[answerer][SAMPLES.index(answerer_samples)]
        held_out = str(number > 30).lower()
        print(f"{finder},{finder_samples},{answerer},{answerer_samples},q{number},{int(solved)},{held_out},true")
