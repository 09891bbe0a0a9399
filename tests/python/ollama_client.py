"""Uses Ollama's own client on an address that speaks its dialect, and prints what it saw as JSON.

Standard input: `url`, `key`, `model`; `leave` when the model never ends by itself and has one slot. Works on the platform and on an Ollama alike.
"""

import json
import sys

import httpx
import ollama

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


def leave(api):
    """Leaves an answer without end; the next caller has the model long before that answer would be over, or is told nothing."""
    endless = {"num_predict": 100_000, "temperature": 1}
    stream = api.chat(model=model, messages=messages, options=endless, stream=True)
    pieces = [next(stream).message.content for _ in range(3)]
    stream.close()
    hasty = client(given["key"], timeout=20)
    try:
        told = hasty.chat(model=model, messages=messages, options=options).message.content
    except httpx.TimeoutException:
        told = None
    return {"pieces": pieces, "next": told}


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
        seen["left"] = leave(api)
    json.dump(seen, sys.stdout)


main()
