# METADATA
# title: Memberships asked of the daemon, one request a decision
# description: >-
#   For decisions that must rest on what the daemon knows this moment. Whatever
#   is not a plain yes (an unknown name, stale data, no daemon) is a no.
package lib.rosterd_socket

import rego.v1

default socket := "/run/rosterd/query.sock"

socket := opa.runtime().env.ROSTERD_SOCKET

# Older data than this is not relied on.
default max_age := "15m"

max_age := data.settings.rosterd.max_age

# Whether the user is in the group, directly or through nested groups.
default member(_, _) := false

member(user, group) if answer(user, group).body.member == true

# The same, of a user whose account is active: what to ask before letting
# somebody in.
default active_member(_, _) := false

active_member(user, group) if {
	member(user, group)
	answer(user, group).body.user.active == true
}

# Why not: what the answer says, or the reason for which there is none.
reason(user, group) := "not a member" if {
	answer(user, group).body.member == false
} else := "not active" if {
	answer(user, group).body.user.active == false
} else := answer(user, group).body.detail if {
	true
} else := "the daemon cannot be reached"

answer(user, group) := http.send({
	"method": "GET",
	"url": sprintf("unix://localhost/v1/check?user=%s&group=%s&max_age=%s&socket=%s", [
		urlquery.encode(user),
		urlquery.encode(group),
		urlquery.encode(max_age),
		urlquery.encode(socket),
	]),
	"timeout": "1s",
	"raise_error": false,
	# Refusals are `application/problem+json`, which OPA does not take for JSON.
	"force_json_decode": true,
})

# All groups of a user, as the daemon lists them (up to 1,000).
groups(user) := {group.name | some group in response.body.groups} if {
	response := http.send({
		"method": "GET",
		"url": sprintf("unix://localhost/v1/users/%s/groups?nested=true&limit=1000&max_age=%s&socket=%s", [
			# A `+` is a plus sign in a path.
			replace(urlquery.encode(user), "+", "%20"),
			urlquery.encode(max_age),
			urlquery.encode(socket),
		]),
		"timeout": "1s",
		"raise_error": false,
	})
	response.status_code == 200
}
