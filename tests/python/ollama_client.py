"""Uses Ollama's own client on an address that speaks its dialect, and prints what it saw as JSON.

Standard input: `url`, `key`, `model`; `leave` when the model goes on for as long as it is asked to and has one slot. Works on the platform and on an Ollama alike.
"""

import json
import sys
from contextlib import closing

import httpx
import ollama

from leaving import leave

given = json.load(sys.stdin)
model = given["model"]
options = {"num_predict": 16, "seed": 1, "temperature": 0}
messages = [{"role": "user", "content": "hello"}]


def client(key, timeout=60):
    return ollama.Client(host=given["url"], headers={"Authorization": f"Bearer {key}"}, timeout=timeout)


def refusal(call):
    """Returns what the client makes of an error."""
    try:
        return repr(call())
    except ollama.ResponseError as error:
        return {"status": error.status_code, "message": error.error}


def left(api):
    """Leaves an answer; the next caller has the model long before that answer would be over."""

    def begin(tokens):
        options = {"num_predict": tokens, "temperature": 1}
        with closing(api.chat(model=model, messages=messages, options=options, stream=True)) as stream:
            for chunk in stream:
                yield chunk.message.content

    def ask(timeout):
        return client(given["key"], timeout).chat(model=model, messages=messages, options=options).message.content

    return leave(begin, ask, httpx.TimeoutException)


def main():
    api = client(given["key"])
    chat = api.chat(model=model, messages=messages, options=options)
    chunks = list(api.chat(model=model, messages=messages, options=options, stream=True))
    text = api.generate(model=model, prompt="hello", options=options)
    parts = list(api.generate(model=model, prompt="hello", options=options, stream=True))
    seen = {
        "models": [entry.model for entry in api.list().models],
        "details": api.show(model).details is not None,
        "running": [entry.model for entry in api.ps().models],
        "chat": {"text": chat.message.content, "done": chat.done},
        "chunks": {"pieces": [chunk.message.content for chunk in chunks], "done": [chunk.done for chunk in chunks]},
        "text": {"text": text.response, "done": text.done},
        "parts": {"pieces": [part.response for part in parts], "done": [part.done for part in parts]},
        "embed": [list(vector) for vector in api.embed(model=model, input=["one text", "another"]).embeddings],
        "embeddings": list(api.embeddings(model=model, prompt="one text").embedding),
        "missing": refusal(lambda: api.chat(model="no-such-model", messages=messages)),
        "missing_stream": refusal(lambda: list(api.chat(model="no-such-model", messages=messages, stream=True))),
        "stranger": refusal(lambda: client("wrong").list()),
    }
    if given.get("leave"):
        seen["left"] = left(api)
    json.dump(seen, sys.stdout)


main()
