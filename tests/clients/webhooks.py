"""Verifies recorded deliveries in Python.

Standard input: one JSON object a line with `format`, `headers` (by lower-case
name), `body` and `secrets`, each of which must verify it alone. Prints how many
verifications were right; ends with an error at the first that was not.
"""

import hashlib
import hmac
import json
import sys

import standardwebhooks

WRONG = {"standard": "whsec_" + "d3Jvbmc" * 6, "polis": "not the secret at all"}


def standard(secret, headers, body):
    try:
        standardwebhooks.Webhook(secret).verify(body, headers)
        return True
    except standardwebhooks.WebhookVerificationError:
        return False


def polis(secret, headers, body):
    header = headers["boxyhq-signature"]
    if headers["ory-signature"] != header:
        return False
    # Both ways of reading it that receivers have: by place and by name.
    parts = [part.split("=", 1) for part in header.split(",")]
    (_, at), (_, first) = parts[0], parts[1]
    if (at, first) != (dict(parts)["t"], dict(parts)["s"]):
        return False
    signed = hmac.new(secret.encode(), f"{at}.{body}".encode(), hashlib.sha256)
    return hmac.compare_digest(signed.hexdigest(), first)


def main():
    verifiers = {"standard": standard, "polis": polis}
    count = 0
    for line in sys.stdin:
        delivery = json.loads(line)
        kind, headers, body = (delivery[key] for key in ("format", "headers", "body"))
        cases = [(secret, body, True) for secret in delivery["secrets"]]
        cases += [(secret, body + " ", False) for secret in delivery["secrets"]]
        cases.append((WRONG[kind], body, False))
        for secret, content, expected in cases:
            if verifiers[kind](secret, headers, content) is not expected:
                sys.exit(f"{kind}: verified should be {expected}: {headers} {content!r}")
            count += 1
    print(json.dumps({"right": count}))


main()
