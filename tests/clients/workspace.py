"""Reads a directory with Google's own client.

    workspace.py URL ADMIN < KEY

KEY is the service account's key file. Prints {"users": [id], "groups": {id: [member]},
"events": number}, a member being an id, or an address where there is none.
"""

import json
import sys

from google.oauth2 import service_account
from googleapiclient.discovery import build

SCOPES = ["admin.directory.user.readonly", "admin.directory.group.readonly"]
REPORTS = ["admin.reports.audit.readonly"]


def main():
    url, admin = sys.argv[1:]
    key = json.load(sys.stdin)

    def service(name, version, scopes):
        credentials = service_account.Credentials.from_service_account_info(
            key, scopes=["https://www.googleapis.com/auth/" + scope for scope in scopes], subject=admin
        )
        options = {"api_endpoint": url}
        return build(name, version, credentials=credentials, static_discovery=True, client_options=options)

    directory = service("admin", "directory_v1", SCOPES)
    users = every(directory.users(), "users", customer="my_customer", maxResults=500)
    groups = every(directory.groups(), "groups", customer="my_customer", maxResults=200)
    members = {
        group["id"]: [
            member.get("id") or member["email"]
            for member in every(directory.members(), "members", groupKey=group["id"], maxResults=200)
        ]
        for group in groups
    }
    reports = service("admin", "reports_v1", REPORTS)
    events = every(
        reports.activities(), "items", userKey="all", applicationName="admin", maxResults=1000
    )
    read = {"users": [user["id"] for user in users], "groups": members, "events": len(events)}
    json.dump(read, sys.stdout)


def every(collection, name, **parameters):
    objects = []
    request = collection.list(**parameters)
    while request is not None:
        page = request.execute()
        objects += page.get(name, [])
        request = collection.list_next(request, page)
    return objects


main()
