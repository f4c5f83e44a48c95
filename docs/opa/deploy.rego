# METADATA
# title: Deployments to production need two people, and separate duties
# description: >-
#   Who deploys is in `engineering`. For production, somebody else who is in
#   `platform` of the same directory has approved, and nobody who sees salaries
#   deploys. The reasons of a refusal are told.
package deploy

import rego.v1

import data.lib.rosterd

# `not f(input.user)` says nothing at all when there is no user: no reason either.
default user := ""

user := input.user

default allow := false

allow if count(deny) == 0

deny contains "who deploys is not in engineering" if {
	not rosterd.active_member(user, "engineering")
}

# An environment that is missing or spelled otherwise does not take fewer people.
production if not elsewhere

elsewhere if input.environment in {"staging", "test"}

# `not member(…)` would hold of stale data too, and let everyone through.
deny contains "who deploys may be in payroll-access" if {
	production
	not rosterd.not_member(user, "payroll-access")
}

deny contains "nobody else in platform has approved" if {
	production
	count(approvers) == 0
}

# Persons are compared by their ids: one person has many spellings. Who has an
# account in another directory may be the same person again, so that is nobody else.
approvers contains approver if {
	some approver in input.approvals
	rosterd.active_member(approver, "platform")
	theirs := rosterd.only_pair(approver, "platform")
	mine := rosterd.only_pair(user, "engineering")
	theirs.directory == mine.directory
	theirs.user != mine.user
}
