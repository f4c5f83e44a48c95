//! Which attributes and object classes mean what, by the kind of server.

/// The ready-made sets of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Groups list their members by distinguished name (`groupOfNames`).
    Rfc2307bis,
    /// Groups list their members by user name (`posixGroup`, `memberUid`).
    Rfc2307,
    /// Active Directory and Samba AD.
    Ad,
}

/// The names of the attributes that make a user. An empty name is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNames {
    /// The immutable id. Empty: what the server is known to have
    /// (`objectGUID`, `entryUUID`, `nsUniqueId`).
    pub id: String,
    pub username: String,
    pub email: String,
    pub display_name: String,
    pub given_name: String,
    pub family_name: String,
    pub title: String,
    pub department: String,
    pub manager: String,
}

/// The names of the attributes that make a group. An empty name is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupNames {
    pub id: String,
    pub name: String,
    pub email: String,
    pub description: String,
    /// Attributes that hold members as distinguished names.
    pub members: Vec<String>,
    /// The attribute that holds members as user names.
    pub member_names: String,
}

impl Schema {
    pub const WORDS: [(&'static str, Schema); 3] =
        [("rfc2307bis", Schema::Rfc2307bis), ("rfc2307", Schema::Rfc2307), ("ad", Schema::Ad)];

    pub fn as_str(self) -> &'static str {
        match self {
            Schema::Rfc2307bis => "rfc2307bis",
            Schema::Rfc2307 => "rfc2307",
            Schema::Ad => "ad",
        }
    }

    pub fn users_filter(self) -> &'static str {
        match self {
            Schema::Rfc2307bis => "(|(objectClass=inetOrgPerson)(objectClass=posixAccount))",
            Schema::Rfc2307 => "(objectClass=posixAccount)",
            Schema::Ad => {
                "(|(&(objectCategory=person)(objectClass=user))\
                 (&(objectClass=foreignSecurityPrincipal)(cn=S-1-5-21-*)))"
            }
        }
    }

    pub fn groups_filter(self) -> &'static str {
        match self {
            Schema::Rfc2307bis => {
                "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)\
                 (objectClass=groupOfMembers)(objectClass=posixGroup))"
            }
            Schema::Rfc2307 => "(objectClass=posixGroup)",
            Schema::Ad => "(objectClass=group)",
        }
    }

    pub fn user_names(self) -> UserNames {
        let ad = self == Schema::Ad;
        UserNames {
            id: String::new(),
            username: if ad { "sAMAccountName" } else { "uid" }.to_owned(),
            email: "mail".to_owned(),
            display_name: if ad { "displayName" } else { "cn" }.to_owned(),
            given_name: "givenName".to_owned(),
            family_name: "sn".to_owned(),
            title: "title".to_owned(),
            department: if ad { "department" } else { "departmentNumber" }.to_owned(),
            manager: "manager".to_owned(),
        }
    }

    pub fn group_names(self) -> GroupNames {
        let members: &[&str] = match self {
            Schema::Rfc2307bis => &["member", "uniqueMember"],
            Schema::Rfc2307 => &[],
            Schema::Ad => &["member"],
        };
        GroupNames {
            id: String::new(),
            name: if self == Schema::Ad { "sAMAccountName" } else { "cn" }.to_owned(),
            email: "mail".to_owned(),
            description: "description".to_owned(),
            members: members.iter().map(|&name| name.to_owned()).collect(),
            member_names: if self == Schema::Rfc2307 { "memberUid" } else { "" }.to_owned(),
        }
    }

    /// Whether a user's own record names a group by default: AD's
    /// `primaryGroupID`, POSIX `gidNumber`.
    pub fn primary_group(self) -> bool {
        self != Schema::Rfc2307bis
    }
}
