"""What no schema can say, for the requests that are meant to be right.

A seq must have been given, a moment must have been, a cursor must come from the
page before, and of two parameters that say the same only one may be there.
"""

import os

import schemathesis

HOLD = os.environ["ROSTERD_HOLD"]

# Lists of numbers that are given one by one: none of them is past the first few.
GIVEN = 3
# Known to the fixture, so that not every answer is "unknown"; as a path has them.
PATHS = {
    "/v1/users/": ["u-1001", "mlind", "aokafor@acme.example", "acme%2Fu-1003"],
    "/v1/groups/": ["g-staff", "platform", "engineering@acme.example", "acme%2Fg-sales"],
    "/v1/directories/": ["acme"],
    "/v1/webhooks/": ["hook"],
}
# What `id` of Pomerium's bundle may say.
IDS = ["id", "username", "acme/email", "attribute:floor"]
MEMBERS = {
    "user": ["u-1001", "mlind", "acme/u-1003"],
    "group": ["g-staff", "platform", "acme/g-sales"],
}


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Here is the side of TCP, where the token is not optional."""
    raw_schema["security"] = [{"bearer": []}]


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    pick = sum(map(ord, str(case.path_parameters) + str(case.query)))
    in_path(case, pick)
    in_query(case, pick)
    for name in list(case.headers):
        if name.lower() == "last-event-id":
            case.headers[name] = str(pick % GIVEN)


def in_path(case, pick):
    for prefix, known in PATHS.items():
        if case.path.startswith(prefix) and pick % 4:
            for name in ("ref", "name"):
                if name in (case.path_parameters or {}):
                    case.path_parameters[name] = known[pick % len(known)]
    if "id" in (case.path_parameters or {}) and pick % 2:
        case.path_parameters["id"] = HOLD


def in_query(case, pick):
    query = case.query or {}
    for name, known in MEMBERS.items():
        if name in query and pick % 4:
            query[name] = known[pick % len(known)]
    if not case.path.endswith(("/events", "/audit")):
        query.pop("cursor", None)
    if "after" in query:
        query.pop("cursor", None)
    for name in ("after", "cursor", "from", "to"):
        if name in query:
            query[name] = pick % GIVEN
    if "user" in query and case.path.endswith("/entities"):
        for name in ("directory", "tenant", "product"):
            query.pop(name, None)
    if "id" in query:
        query["id"] = IDS[pick % len(IDS)]
    if "to" in query:
        query["to"] = query["from"] + 1
    for name in ("at", "since", "until"):
        if name in query:
            moment = name == "since" and case.path.endswith("/audit")
            query[name] = "2020-02-29T12:00:00Z" if moment or pick % 2 else pick % GIVEN
    if isinstance(case.body, dict) and "at" in case.body:
        case.body["at"] = pick % GIVEN
