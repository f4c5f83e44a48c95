# METADATA
# title: Roles of an application by groups
# description: >-
#   The groups of each role are settings, not code. A role is had by whoever is
#   in one of its groups, and an action needs one of its roles.
package app

import rego.v1

import data.lib.rosterd

default allow := false

allow if {
	some role in data.settings.app.actions[input.action]
	role in roles
}

roles contains role if {
	some role, groups in data.settings.app.roles
	some group in groups
	rosterd.active_member(input.user, group)
}
