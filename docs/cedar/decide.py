"""Decides with Cedar whether somebody may do something.

    decide.py SOCKET USER ACTION SERVICE [mfa]
"""

import http.client
import json
import pathlib
import socket
import sys
import urllib.parse

import cedarpy

HERE = pathlib.Path(__file__).parent


class Rosterd(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("rosterd")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def fetch(path, request):
    rosterd = Rosterd(path)
    rosterd.request("GET", request)
    answer = rosterd.getresponse()
    body = answer.read().decode()
    if answer.status != 200:  # unknown, ambiguous, or too old: that is no yes
        sys.exit(body)
    return body


def main(path, user, action, service, *mfa):
    schema = fetch(path, "/v1/cedar/schema?format=cedar") + (HERE / "app.cedarschema").read_text()
    user = urllib.parse.quote(user, safe="")
    entities = json.loads(fetch(path, f"/v1/cedar/entities?user={user}&max_age=5m"))
    request = {
        "principal": entities[0]["uid"],  # the user comes first
        "action": {"type": "App::Action", "id": action},
        "resource": {"type": "App::Service", "id": service},
        "context": {"mfa": mfa == ("mfa",)},
    }
    entities += json.loads((HERE / "services.json").read_text())
    policies = (HERE / "policies.cedar").read_text()
    result = cedarpy.is_authorized(request, policies, entities, schema)
    print(result.decision.value)


main(*sys.argv[1:])
