"""Asks Cedar's own engine about entities and a schema.

    cedar.py < JSON

The input is {"schema", "entities", "policies", "requests"}: the schema as text
in Cedar's syntax or as a JSON object, the entities as a list, the policies as
text, and each request {"principal", "action", "resource", "context"} with the
first three in Cedar's syntax. Prints {"error"} when the engine refuses any of
it, else {"mistakes", "decisions"}: what is wrong with the policies, and for each
request "Allow" or "Deny" with the ids of the policies that decided.
"""

import json
import sys

import cedarpy


def main():
    told = json.load(sys.stdin)
    try:
        answer = ask(told)
    except ValueError as error:
        answer = {"error": str(error)}
    json.dump(answer, sys.stdout)


def ask(told):
    schema = told["schema"]
    if isinstance(schema, dict):
        parsed = cedarpy.Schema.from_json_str(json.dumps(schema))
    else:
        parsed = cedarpy.Schema.from_str(schema)
    entities = cedarpy.Entities.from_json_str(json.dumps(told["entities"]), schema=parsed)
    policies = told.get("policies", "")
    mistakes = []
    if policies:
        result = cedarpy.validate_policies(policies, parsed)
        mistakes = [str(error) for error in result.errors]
    decisions = []
    for request in told.get("requests", []):
        result = cedarpy.is_authorized(request, policies, entities, parsed)
        decisions.append(
            {
                "decision": result.decision.value,
                "reasons": sorted(result.diagnostics.reasons),
                "errors": [str(error) for error in result.diagnostics.errors],
            }
        )
    return {"mistakes": mistakes, "decisions": decisions}


main()
