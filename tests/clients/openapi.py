"""Holds a running daemon to its own description, with schemathesis.

usage: openapi.py URL TOKEN HOLD

First the document itself is held to the schema of OpenAPI 3.1. Then requests
are made from it, right ones and wrong ones, and every answer is held to it.
Prints `{"operations": N, "tested": N, "requests": N}`; fails with the findings on standard error.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31

HERE = pathlib.Path(__file__).resolve().parent
PATH = "/openapi.json"


def main(url, token, hold):
    request = urllib.request.Request(
        url + PATH, headers={"Authorization": "Bearer " + token}
    )
    with urllib.request.urlopen(request) as answer:
        document = json.load(answer)
    complaints = [
        f"{error.json_path}: {error.message}"
        for error in Draft202012Validator(OPENAPI_31).iter_errors(document)
    ]
    if complaints:
        sys.exit("the document is no OpenAPI 3.1:\n" + "\n".join(complaints))
    # Schemathesis leaves out what it read the document from.
    asked = {path: methods for path, methods in document["paths"].items() if path != PATH}
    operations = sum(len(methods) for methods in asked.values())
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [
                pathlib.Path(sys.executable).parent / "schemathesis",
                "--config-file", HERE / "schemathesis.toml",
                "run", url + PATH,
                "--header", "Authorization: Bearer " + token,
            ],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(HERE),
                "PYTHONDONTWRITEBYTECODE": "1",
                "SCHEMATHESIS_HOOKS": "openapi_hooks",
                "ROSTERD_HOLD": hold,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    if run.returncode != 0:
        sys.exit(run.stdout)
    tested = re.search(r"Tested: +(\d+)", run.stdout)
    cases = re.search(r"(\d+) generated", run.stdout)
    if tested is None or cases is None:
        sys.exit("the outcome is not told:\n" + run.stdout)
    print(json.dumps({
        "operations": operations,
        "tested": int(tested.group(1)),
        "requests": int(cases.group(1)),
    }))


main(*sys.argv[1:])
