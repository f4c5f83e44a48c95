"""Reads an org with Okta's own client.

    okta_org.py URL < {"token": …} or {"clientId": …, "privateKey": PEM, "kid": …, "scopes": […], "dpopEnabled": …}

Prints {"users": [id], "groups": {id: [member]}, "events": number}.
"""

import asyncio
import json
import os
import sys

from okta.client import Client


async def main():
    settings = json.load(sys.stdin)
    # Plain HTTP, on loopback, can be allowed by the environment only.
    os.environ["OKTA_TESTING_TESTINGDISABLEHTTPSCHECK"] = "true"
    config = {"orgUrl": sys.argv[1], **settings}
    if "clientId" in settings:
        config["authorizationMode"] = "PrivateKey"
    client = Client(config)
    pages = Pages(client)
    every = pages.every
    users = await every(client.list_users, limit=200)
    users += await every(client.list_users, filter='status eq "DEPROVISIONED"', limit=200)
    groups = await every(client.list_groups, limit=200)
    members = {group.id: [user.id for user in await every(client.list_group_users, group.id, limit=1000)] for group in groups}
    bounds = {"since": "2020-01-01T00:00:00.000Z", "until": "2100-01-01T00:00:00.000Z"}
    events = await every(client.list_log_events, limit=1000, **bounds)
    json.dump({"users": [user.id for user in users], "groups": members, "events": len(events)}, sys.stdout)


class Pages:
    """Follows the links to next pages. What the listings hand back has only
    one of several `Link` headers; the request executor sees them all."""

    def __init__(self, client):
        executor = client._request_executor
        execute = executor.execute

        async def noting(*arguments, **parameters):
            answer = await execute(*arguments, **parameters)
            self.last = answer[0]
            return answer

        executor.execute = noting

    async def every(self, listing, *arguments, **parameters):
        objects, after = [], None
        while True:
            found, _, error = await listing(*arguments, after=after, **parameters)
            if error:
                raise SystemExit(f"{listing.__name__}: {error}")
            objects += found or []
            following = self.last.links.get("next")
            if following is None:
                return objects
            after = following["url"].query["after"]


asyncio.run(main())
