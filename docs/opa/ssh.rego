# METADATA
# title: Who may log in to a host, asked of the daemon each time
# description: >-
#   Logins are few and matter, so each asks the daemon over its socket instead of
#   relying on data that may be some seconds old. `oncall` opens every host.
package ssh

import rego.v1

import data.lib.rosterd_socket as rosterd

default allow := false

allow if {
	some group in wanted
	rosterd.active_member(input.user, group)
}

# An environment that is missing or spelled otherwise is production.
wanted := {"oncall", "production-access"} if not elsewhere

wanted := {"oncall", "engineering"} if elsewhere

elsewhere if input.environment in {"staging", "test"}

# Of each group that would have opened the host, why it did not.
refusals[group] := rosterd.reason(input.user, group) if {
	not allow
	some group in wanted
}
