"""Lists an organization as PyGithub sees it.

    github.py URL ORGANIZATION < TOKEN

Prints {"members": {login: id}, "teams": {slug: {"id", "members": [login]}},
"outside": [login], "invited": [id]} in JSON.
"""
import json
import sys

from github import Auth, Github

url, organization = sys.argv[1:]
token = sys.stdin.read().strip()
client = Github(base_url=url, auth=Auth.Token(token), per_page=3, retry=None)
found = client.get_organization(organization)
teams = {}
for team in found.get_teams():
    teams[team.slug] = {"id": team.id, "members": sorted(one.login for one in team.get_members())}
print(json.dumps({
    "members": {one.login: one.id for one in found.get_members()},
    "teams": teams,
    "outside": sorted(one.login for one in found.get_outside_collaborators()),
    "invited": sorted(one.id for one in found.invitations()),
}))
