# METADATA
# title: Memberships from the document that rosterd feeds
# description: >-
#   `user` is an id, a username or an address, `group` an id, a name or an
#   address; usernames, names and addresses in any case. A text that means more
#   than one user or group means none of them. Nothing is true of a directory
#   that was not confirmed within `max_age_seconds`. Of a document with a
#   `group_prefix` ask by ids only: a name may have another owner out of scope,
#   which cannot be seen here.
package lib.rosterd

import rego.v1

# As with the daemon itself: beyond this, its data is not relied on.
default max_age_seconds := 900

max_age_seconds := data.settings.rosterd.max_age_seconds

# Whether the user is in the group, directly or through nested groups.
default member(_, _) := false

member(user, group) if {
	pair := only_pair(user, group)
	fresh(pair.directory)
	within(pair)
}

# The same, of a user whose account is active: what to ask before letting
# somebody in.
default active_member(_, _) := false

active_member(user, group) if {
	member(user, group)
	pair := only_pair(user, group)
	data.rosterd.directories[pair.directory].users[pair.user].active
}

# Whether the user is known not to be in the group. `not member(…)` is true also
# of stale data and of names that nobody has; a rule that forbids needs this one.
default not_member(_, _) := false

not_member(user, group) if {
	pair := only_pair(user, group)
	fresh(pair.directory)
	not within(pair)
}

# Whether a directory was confirmed lately. A clock may be a minute ahead.
fresh(directory) if {
	age := time.now_ns() - time.parse_rfc3339_ns(data.rosterd.as_of[directory])
	age <= max_age_seconds * 1000000000
	age >= -60000000000
}

# The user and the group that the two texts mean together: of one directory, and
# the only ones.
only_pair(user, group) := pair if {
	pairs := {{"directory": directory, "user": id, "group": gid} |
		some directory, _ in data.rosterd.as_of
		some id in users(directory, user)
		some gid in groups(directory, group)
	}
	count(pairs) == 1
	some pair in pairs
}

# An id wins: ids never change hands.
users(directory, text) := {text} if {
	is_boolean(data.rosterd.directories[directory].users[text].active)
} else := ids if {
	ids := {id |
		some index in ["usernames", "emails"]
		some id, _ in data.rosterd.directories[directory][index][folded(text)]
	}
}

groups(directory, text) := {text} if {
	is_string(data.rosterd.directories[directory].groups[text].name)
} else := ids if {
	ids := {id |
		some index in ["group_names", "group_emails"]
		some id, _ in data.rosterd.directories[directory][index][folded(text)]
	}
}

within(pair) if data.rosterd.directories[pair.directory].users[pair.user].groups[pair.group]

within(pair) if {
	some direct, _ in data.rosterd.directories[pair.directory].users[pair.user].groups
	data.rosterd.directories[pair.directory].groups[direct].ancestors[pair.group]
}

# As rosterd folds names: character by character, with one small sigma.
folded(text) := replace(lower(replace(text, "İ", "i̇")), "ς", "σ")
