"""Says what it was given: shows that scripts run as the harness promises."""

import json
import os
import sys

given = json.load(sys.stdin)
if given.get("fail"):
    sys.exit("asked to fail")
print(json.dumps({"given": given, "word": os.environ["WORD"]}))
