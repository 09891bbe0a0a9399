"""Judges events by the JSON Schemas of `proto/events`, and prints what is wrong with them."""

import json
import pathlib
import sys

from jsonschema import Draft202012Validator

given = json.load(sys.stdin)
faults = []
for event in given["events"]:
    path = pathlib.Path(given["folder"], event["type"] + ".schema.json")
    schema = json.loads(path.read_text())
    Draft202012Validator.check_schema(schema)
    found = Draft202012Validator(schema).iter_errors(event)
    faults += [f"{event['type']} {fault.json_path}: {fault.message}" for fault in found]
print(json.dumps(faults))
