"""Lists an organization as PyGithub sees it.

    pygithub.py URL ORGANIZATION [TEAM=LOGIN,LOGIN ...] < TOKEN

Prints {"members": {login: id}, "teams": {slug: {"id", "members": [login]}},
"outside": [login], "invited": [id]} in JSON, the last two where there are such
lists. Makes the teams that it is told to make before that.
"""
import json
import sys

from github import Auth, Github, UnknownObjectException
from github.NamedUser import NamedUser
from github.PaginatedList import PaginatedList

url, organization, *wanted = sys.argv[1:]
token = sys.stdin.read().strip()
client = Github(base_url=url, auth=Auth.Token(token), per_page=3, retry=None)
found = client.get_organization(organization)
for one in wanted:
    name, logins = one.split("=")
    made = found.create_team(name, privacy="closed")
    for login in logins.split(","):
        path = f"/orgs/{organization}/teams/{made.slug}/memberships/{login}"
        client.requester.requestJsonAndCheck("PUT", path, input={"role": "member"})


def listed(read):
    try:
        return sorted(read())
    except UnknownObjectException:
        return None


teams = {}
for team in found.get_teams():
    # By the documented path: the one that PyGithub takes is of an older API.
    path = f"/orgs/{organization}/teams/{team.slug}/members"
    members = PaginatedList(NamedUser, client.requester, path, None)
    teams[team.slug] = {"id": team.id, "members": sorted(one.login for one in members)}
print(json.dumps({
    "members": {one.login: one.id for one in found.get_members()},
    "teams": teams,
    "outside": listed(lambda: [one.login for one in found.get_outside_collaborators()]),
    "invited": listed(lambda: [one.id for one in found.invitations()]),
}))
