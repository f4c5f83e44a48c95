package lib.rosterd_test

import rego.v1

import data.lib.rosterd

now := 1763640000000000000

# `core` is in `eng`, and `eng` in `core`; another `ada` is in a directory that
# nobody read for an hour.
document := {
	"revision": "7-1-0-0",
	"seq": 7,
	"as_of": {"corp": "2025-11-20T11:55:00Z", "old": "2025-11-20T11:00:00Z", "new": null},
	"directories": {
		"corp": {
			"users": {
				"u1": {"username": "Ada", "email": "ada@x", "active": true, "groups": {"g2": true}},
				"u2": {"username": "bob", "active": false, "groups": {"g1": true}},
				"bob": {"username": "eve", "active": true, "groups": {}},
				"u4": {"username": "ΟΔΟΣ", "active": true, "groups": {"g3": true}},
				"u5": {"username": "twin", "active": true, "groups": {"g1": true}},
				"u6": {"username": "TWIN", "active": true, "groups": {}},
			},
			"groups": {
				"g1": {"name": "eng", "ancestors": {"g2": true, "g4": true}},
				"g2": {"name": "Core", "email": "core@x", "ancestors": {"g1": true, "g4": true}},
				"g3": {"name": "odd", "ancestors": {}},
				"g4": {"name": "staff", "ancestors": {}},
			},
			"usernames": {
				"ada": {"u1": true}, "bob": {"u2": true}, "eve": {"bob": true},
				"οδοσ": {"u4": true}, "twin": {"u5": true, "u6": true},
			},
			"emails": {"ada@x": {"u1": true}},
			"group_names": {"eng": {"g1": true}, "core": {"g2": true}, "odd": {"g3": true}, "staff": {"g4": true}},
			"group_emails": {"core@x": {"g2": true}},
		},
		"old": {
			"users": {"p1": {"username": "ada", "active": true, "groups": {"pg1": true}}},
			"groups": {"pg1": {"name": "guests", "ancestors": {}}},
			"usernames": {"ada": {"p1": true}}, "emails": {},
			"group_names": {"guests": {"pg1": true}}, "group_emails": {},
		},
		"new": {
			"users": {}, "groups": {}, "usernames": {}, "emails": {},
			"group_names": {}, "group_emails": {},
		},
	},
}

test_members_directly_and_through_nested_groups if {
	every case in [["ada", "core"], ["ada", "eng"], ["u1", "g4"], ["ADA@X", "core@X"], ["u2", "staff"]] {
		rosterd.member(case[0], case[1]) with data.rosterd as document with time.now_ns as now
		not rosterd.not_member(case[0], case[1]) with data.rosterd as document with time.now_ns as now
	}
}

test_no_members if {
	every case in [["u4", "eng"], ["ada", "odd"], ["eve", "eng"]] {
		not rosterd.member(case[0], case[1]) with data.rosterd as document with time.now_ns as now
		rosterd.not_member(case[0], case[1]) with data.rosterd as document with time.now_ns as now
	}
}

test_names_are_folded_and_ids_are_not if {
	every name in ["οδος", "ΟΔΟΣ", "οδοσ"] {
		rosterd.member(name, "odd") with data.rosterd as document with time.now_ns as now
	}
	not rosterd.member("U1", "eng") with data.rosterd as document with time.now_ns as now
}

test_an_id_wins_over_a_name if {
	# `bob` is an id, and somebody else's name.
	not rosterd.member("bob", "eng") with data.rosterd as document with time.now_ns as now
	rosterd.not_member("bob", "eng") with data.rosterd as document with time.now_ns as now
}

test_what_means_several_or_nobody_is_neither if {
	every case in [["twin", "eng"], ["nobody", "eng"], ["ada", "nothing"], ["", ""]] {
		not rosterd.member(case[0], case[1]) with data.rosterd as document with time.now_ns as now
		not rosterd.not_member(case[0], case[1]) with data.rosterd as document with time.now_ns as now
	}
}

test_stale_data_is_neither if {
	not rosterd.member("ada", "guests") with data.rosterd as document with time.now_ns as now
	not rosterd.not_member("ada", "guests") with data.rosterd as document with time.now_ns as now
	rosterd.member("ada", "guests") with data.rosterd as document
		with time.now_ns as now
		with data.settings.rosterd.max_age_seconds as 7200
	later := now + 3600000000000
	not rosterd.member("ada", "eng") with data.rosterd as document with time.now_ns as later
	long_before := now - 3600000000000
	not rosterd.member("ada", "eng") with data.rosterd as document with time.now_ns as long_before
}

test_nothing_is_true_without_data if {
	not rosterd.member("ada", "eng") with time.now_ns as now
	not rosterd.not_member("ada", "eng") with time.now_ns as now
	not rosterd.fresh("new") with data.rosterd as document with time.now_ns as now
}

test_active_members if {
	rosterd.active_member("ada", "eng") with data.rosterd as document with time.now_ns as now
	rosterd.member("u2", "eng") with data.rosterd as document with time.now_ns as now
	not rosterd.active_member("u2", "eng") with data.rosterd as document with time.now_ns as now
}
