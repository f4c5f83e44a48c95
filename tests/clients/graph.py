"""Reads a tenant with Microsoft's own client.

    graph.py URL CLIENT_ID < SECRET

Prints {"users": [id], "groups": {id: [member]}}, as lists show them, and the same
under "told", as the first round of changes shows them.
"""

import asyncio
import json
import sys
import urllib.parse
import urllib.request

from kiota_abstractions.authentication import AuthenticationProvider
from msgraph import GraphRequestAdapter, GraphServiceClient


class Bearer(AuthenticationProvider):
    def __init__(self, token):
        self.token = token

    async def authenticate_request(self, request, additional_authentication_context=None):
        request.headers.add("Authorization", "Bearer " + self.token)


def token(url, client, secret):
    form = {
        "client_id": client,
        "client_secret": secret,
        "grant_type": "client_credentials",
        "scope": url + "/.default",
    }
    body = urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(url + "/contoso.com/oauth2/v2.0/token", body) as answer:
        return json.load(answer)["access_token"]


async def every(builder):
    page = await builder.get()
    objects = []
    while True:
        objects += page.value or []
        if not page.odata_next_link:
            return objects
        page = await builder.with_url(page.odata_next_link).get()


async def told(client):
    users, groups = {}, {}
    for user in await every(client.users.delta):
        if "@removed" in user.additional_data:
            users.pop(user.id, None)
        else:
            users[user.id] = True
    for group in await every(client.groups.delta):
        if "@removed" in group.additional_data:
            groups.pop(group.id, None)
            continue
        members = groups.setdefault(group.id, {})
        for member in group.additional_data.get("members@delta", []):
            if "@removed" in member:
                members.pop(member["id"], None)
            else:
                members[member["id"]] = True
    return {"users": list(users), "groups": {id: list(members) for id, members in groups.items()}}


async def main():
    url, client_id = sys.argv[1:]
    adapter = GraphRequestAdapter(Bearer(token(url, client_id, sys.stdin.read())))
    adapter.base_url = url + "/v1.0"
    client = GraphServiceClient(request_adapter=adapter)
    groups = {}
    for group in await every(client.groups):
        members = await every(client.groups.by_group_id(group.id).members)
        groups[group.id] = [member.id for member in members]
    users = [user.id for user in await every(client.users)]
    json.dump({"users": users, "groups": groups, "told": await told(client)}, sys.stdout)


asyncio.run(main())
