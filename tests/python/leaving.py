"""Leaving an answer before its end, with whichever client."""

import sys
import time

# Length of the answer that is left, in tokens: some 8 s of the toy model's work.
LONG = 6_000
# How soon the next caller has to be served, in seconds: long before that answer would be over.
SOON = 4
# How long a caller waits where the answer that was left is worked off all the same, in seconds: beside builds that took over 66 s for twice as much.
PATIENT = 90
# Of about eighty answers that are left, a bare Ollama 0.17 works one off to its end. So one lapse is its
# own; what stands between it and the client and passes no leaving on lapses every time.
TRIES = 3


def leave(begin, ask, late):
    """Leaves a long answer and returns its beginning, and what the next caller was told soon after.

    `begin(tokens)` opens a stream; `ask(timeout)` has a short answer within that many seconds, or raises `late`.
    """
    for left in range(1, TRIES + 1):
        stream = begin(LONG)
        pieces = [next(stream) for _ in range(3)]
        stream.close()
        began = time.monotonic()
        try:
            return {"pieces": pieces, "next": ask(SOON)}
        except late:
            if left == TRIES:
                raise
            ask(PATIENT)
            print(f"the answer that was left kept the model for {time.monotonic() - began:.1f} s", file=sys.stderr)
