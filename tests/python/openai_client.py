"""Uses OpenAI's own client on an address that speaks its dialect, and prints what it saw as JSON.

Standard input: `url` (ends in /v1), `key`, `model`; `leave` when the model never ends by itself and has one slot. Works on the platform and on an Ollama alike.
"""

import json
import sys

import openai

given = json.load(sys.stdin)
model = given["model"]
ask = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 16, "seed": 1, "temperature": 0}


def client(key, timeout=60):
    return openai.OpenAI(base_url=given["url"], api_key=key, max_retries=0, timeout=timeout)


def streamed(api):
    """Reads a streamed answer with its usage at the end."""
    pieces, reason, usage = [], None, None
    for chunk in api.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            reason = choice.finish_reason or reason
        usage = chunk.usage.model_dump() if chunk.usage else usage
    return {"pieces": pieces, "reason": reason, "usage": usage}


def refusal(call):
    """Returns what the client makes of an error."""
    try:
        return repr(call())
    except openai.APIStatusError as error:
        return {"kind": type(error).__name__, "status": error.status_code, "message": error.message, "body": error.body}


def leave(api):
    """Leaves an answer without end; the next caller has the model long before that answer would be over, or is told nothing."""
    stream = api.chat.completions.create(**{**ask, "max_tokens": 100_000, "temperature": 1}, stream=True)
    chunks = [next(stream) for _ in range(3)]
    stream.close()
    hasty = client(given["key"], timeout=20)
    try:
        told = hasty.chat.completions.create(**ask).choices[0].message.content
    except openai.APITimeoutError:
        told = None
    return {"pieces": [choice.delta.content or "" for chunk in chunks for choice in chunk.choices], "next": told}


def main():
    api = client(given["key"])
    whole = api.chat.completions.create(**ask)
    texts = ["one text", "another"]
    # Without a wish the client asks for base64 and decodes it.
    packed = api.embeddings.create(model=model, input=texts)
    plain = api.embeddings.create(model=model, input=texts, encoding_format="float")
    seen = {
        "models": [entry.id for entry in api.models.list()],
        "model": api.models.retrieve(model).id,
        "whole": {"text": whole.choices[0].message.content, "reason": whole.choices[0].finish_reason, "usage": whole.usage.model_dump()},
        "streamed": streamed(api),
        "packed": [entry.embedding for entry in packed.data],
        "plain": [entry.embedding for entry in plain.data],
        "missing": refusal(lambda: api.chat.completions.create(**{**ask, "model": "no-such-model"})),
        "stranger": refusal(lambda: client("wrong").models.list()),
    }
    if given.get("leave"):
        seen["left"] = leave(api)
    json.dump(seen, sys.stdout)


main()
