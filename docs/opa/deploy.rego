# METADATA
# title: Deployments to production need two people, and separate duties
# description: >-
#   Who deploys is in `engineering`. For production, somebody else who is in
#   `platform` has approved, and nobody who sees salaries deploys. The reasons of
#   a refusal are told.
package deploy

import rego.v1

import data.lib.rosterd

default allow := false

allow if count(deny) == 0

deny contains "who deploys is not in engineering" if {
	not rosterd.active_member(input.user, "engineering")
}

# `not member(…)` would hold of stale data too, and let everyone through.
deny contains "who deploys may be in payroll-access" if {
	input.environment == "production"
	not rosterd.not_member(input.user, "payroll-access")
}

deny contains "nobody else in platform has approved" if {
	input.environment == "production"
	count(approvers) == 0
}

approvers contains approver if {
	some approver in input.approvals
	approver != input.user
	rosterd.active_member(approver, "platform")
}
