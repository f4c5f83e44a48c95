package policies_test

import rego.v1

import data.app
import data.deploy
import data.ssh

now := 1763640000000000000

# zoe and dan are in `platform`, which is in `engineering`; thi is in
# `engineering` itself, pay in that and in `payroll-access`, sam in `support`,
# and gone was in `platform`.
document := {
	"revision": "7-1-0-0",
	"seq": 7,
	"as_of": {"acme": "2025-11-20T11:59:30Z"},
	"directories": {"acme": {
		"users": {
			"zoe": {"username": "Zoe.K", "email": "zoe@x", "active": true, "groups": {"g-platform": true}},
			"dan": {"username": "dan", "active": true, "groups": {"g-platform": true}},
			"thi": {"username": "thi", "active": true, "groups": {"g-engineering": true}},
			"pay": {
				"username": "pay", "active": true,
				"groups": {"g-engineering": true, "g-payroll": true},
			},
			"sam": {"username": "sam", "active": true, "groups": {"g-support": true}},
			"gone": {"username": "gone", "active": false, "groups": {"g-platform": true}},
		},
		"groups": {
			"g-engineering": {"name": "engineering", "ancestors": {}},
			"g-platform": {"name": "platform", "ancestors": {"g-engineering": true}},
			"g-payroll": {"name": "payroll-access", "ancestors": {}},
			"g-support": {"name": "support", "ancestors": {}},
		},
		"usernames": {"zoe.k": {"zoe": true}, "dan.b": {"dan": true}},
		"emails": {"zoe@x": {"zoe": true}, "dan@x": {"dan": true}},
		"group_emails": {},
		"group_names": {
			"engineering": {"g-engineering": true}, "platform": {"g-platform": true},
			"payroll-access": {"g-payroll": true}, "support": {"g-support": true},
		},
	}},
}

test_app_roles if {
	roles("zoe") == {"viewer", "editor"}
	roles("thi") == {"viewer"}
	roles("sam") == {"viewer"}
	roles("gone") == set()
	roles("nobody") == set()
}

roles(user) := found if {
	found := app.roles with input.user as user with data.rosterd as document with time.now_ns as now
}

test_app_actions if {
	app.allow with input as {"user": "thi", "action": "read"}
		with data.rosterd as document
		with time.now_ns as now
	not app.allow with input as {"user": "thi", "action": "write"}
		with data.rosterd as document
		with time.now_ns as now
	not app.allow with input as {"user": "zoe", "action": "unknown"}
		with data.rosterd as document
		with time.now_ns as now
}

test_app_fails_closed if {
	hour := 3600000000000
	not app.allow with input as {"user": "zoe", "action": "read"}
		with data.rosterd as document
		with time.now_ns as now + hour
	not app.allow with input as {"user": "zoe", "action": "read"}
}

test_deploy_elsewhere_needs_nobody_else if {
	refused({"user": "thi", "environment": "staging"}) == set()
	refused({"user": "sam", "environment": "staging"}) == {"who deploys is not in engineering"}
}

test_deploy_to_production_needs_somebody_else if {
	refused({"user": "thi", "environment": "production", "approvals": ["zoe"]}) == set()
	refused({"user": "zoe", "environment": "production", "approvals": ["dan"]}) == set()
	nobody := {"nobody else in platform has approved"}
	refused({"user": "zoe", "environment": "production", "approvals": ["zoe", "gone", "sam"]}) == nobody
	refused({"user": "zoe", "environment": "production"}) == nobody
}

test_deploy_knows_one_person_by_all_spellings if {
	nobody := {"nobody else in platform has approved"}
	every user in ["zoe", "zoe.k", "Zoe.K", "zoe@x", "ZOE@X"] {
		every approver in ["zoe", "zoe.k", "Zoe.K", "zoe@x", "ZOE@X"] {
			refused({"user": user, "environment": "production", "approvals": [approver]}) == nobody
		}
		every approver in ["dan", "Dan.B", "dan@x"] {
			refused({"user": user, "environment": "production", "approvals": ["zoe@x", approver]}) == set()
		}
	}
}

# zoe's other account, in a directory of partners with groups of other names.
test_deploy_takes_no_approval_from_another_directory if {
	partners := {
		"users": {"z9": {"username": "zoe.p", "active": true, "groups": {"g1": true}}},
		"groups": {"g1": {"name": "platform", "ancestors": {}}},
		"usernames": {"zoe.p": {"z9": true}}, "emails": {},
		"group_names": {"platform": {"g1": true}}, "group_emails": {},
	}
	both := object.union(document, {
		"as_of": {"partners": "2025-11-20T11:59:30Z"},
		"directories": {"partners": partners},
	})
	request := {"user": "zoe", "environment": "production", "approvals": ["zoe.p"]}
	found := data.lib.rosterd.active_member("zoe.p", "platform") with data.rosterd as both
		with time.now_ns as now
	found
	reasons := deploy.deny with input as request with data.rosterd as both with time.now_ns as now
	reasons == {"nobody else in platform has approved"}
}

test_deploy_takes_an_unknown_environment_for_production if {
	every environment in ["Production", "prod", "", null, 1] {
		request := {"user": "pay", "environment": environment}
		count(refused(request)) == 2
	}
	count(refused({"user": "pay"})) == 2
	refused({"user": "pay", "environment": "test"}) == set()
}

test_deploy_needs_a_user if {
	every request in [{}, {"environment": "test"}, {"user": null, "environment": "test"}] {
		not deploy.allow with input as request with data.rosterd as document with time.now_ns as now
		"who deploys is not in engineering" in refused(request)
	}
}

test_deploy_separates_duties if {
	request := {"user": "pay", "environment": "production", "approvals": ["zoe"]}
	refused(request) == {"who deploys may be in payroll-access"}
}

test_deploy_fails_closed if {
	hour := 3600000000000
	request := {"user": "thi", "environment": "production", "approvals": ["zoe"]}
	not deploy.allow with input as request with data.rosterd as document with time.now_ns as now + hour
	not deploy.allow with input as request
}

refused(request) := reasons if {
	reasons := deploy.deny with input as request with data.rosterd as document with time.now_ns as now
}

yes(request) := {
	"status_code": 200,
	"body": {
		"member": contains(request.url, "=oncall"),
		"user": {"active": not_gone(request.url)},
	},
}

default not_gone(_) := true

not_gone(url) := false if contains(url, "user=gone")

stale(_) := {"status_code": 503, "body": {"detail": "the directory acme was last confirmed 3600 s ago"}}

down(_) := {"status_code": 0, "error": {"message": "connection refused"}}

test_ssh_asks_the_daemon if {
	ssh.allow with input as {"user": "zoe", "environment": "production"} with http.send as yes
	request := {"user": "gone", "environment": "test"}
	not ssh.allow with input as request with http.send as yes
	refusals := ssh.refusals with input as request with http.send as yes
	refusals == {"oncall": "not active", "engineering": "not a member"}
}

test_ssh_takes_an_unknown_environment_for_production if {
	production := {"oncall", "production-access"}
	every environment in ["Production", "prod", "", null, 1] {
		wanted := ssh.wanted with input as {"user": "zoe", "environment": environment}
		wanted == production
	}
	missing := ssh.wanted with input as {"user": "zoe"}
	missing == production
	staging := ssh.wanted with input as {"user": "zoe", "environment": "staging"}
	staging == {"oncall", "engineering"}
}

test_ssh_fails_closed if {
	request := {"user": "zoe", "environment": "production"}
	not ssh.allow with input as request with http.send as stale
	not ssh.allow with input as request with http.send as down
	refusals := ssh.refusals with input as request with http.send as stale
	refusals.oncall == "the directory acme was last confirmed 3600 s ago"
	unreachable := ssh.refusals with input as request with http.send as down
	unreachable.oncall == "the daemon cannot be reached"
}

test_what_is_asked_is_encoded if {
	ssh.allow with input as {"user": "a b&c=d/é", "environment": "production"} with http.send as echo
}

echo(request) := {"status_code": 200, "body": {"member": true, "user": {"active": true}}} if {
	contains(request.url, "user=a+b%26c%3Dd%2F%C3%A9&group=")
	startswith(request.url, "unix://localhost/v1/check?")
	endswith(request.url, "&socket=%2Frun%2Frosterd%2Fquery.sock")
}
