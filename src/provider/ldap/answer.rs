//! What a result code means to the poller, and to the person who reads of it.

use crate::provider::PullError;

/// The end of an operation (`LDAPResult`, RFC 4511 section 4.1.9).
#[derive(Clone, Debug, Default)]
pub struct Done {
    pub code: u32,
    pub text: String,
    /// Where the server refers to.
    pub referrals: Vec<String>,
    pub controls: Vec<ldap3::controls::RawControl>,
}

pub const SUCCESS: u32 = 0;
pub const TIME_LIMIT: u32 = 3;
pub const SIZE_LIMIT: u32 = 4;
pub const ADMIN_LIMIT: u32 = 11;
pub const UNAVAILABLE_CRITICAL_EXTENSION: u32 = 12;
pub const NO_SUCH_OBJECT: u32 = 32;
pub const INSUFFICIENT_ACCESS: u32 = 50;
pub const UNWILLING: u32 = 53;
/// `e-syncRefreshRequired` (RFC 4533 section 2.1).
pub const SYNC_REFRESH_REQUIRED: u32 = 4096;

impl Done {
    /// Whether a control with this number came back, and what it says.
    pub fn control(&self, number: &str) -> Option<&[u8]> {
        let control = self.controls.iter().find(|control| control.ctype == number)?;
        Some(control.val.as_deref().unwrap_or_default())
    }

    /// The error that this result is. `doing` says what was asked, like
    /// `searching dc=example,dc=org`.
    pub fn error(&self, server: &str, doing: &str) -> PullError {
        let what = server.to_owned();
        let reason = |sentence: &str| {
            let code = self.code;
            match self.said() {
                "" => format!("{doing}: {sentence} (result {code})"),
                said => format!("{doing}: {sentence} (result {code}: {said})"),
            }
        };
        let unreachable = |sentence: &str| PullError::Unreachable {
            what: what.clone(),
            reason: reason(sentence),
        };
        let incomplete =
            |sentence: &str| PullError::Incomplete { what: what.clone(), reason: reason(sentence) };
        let refused = |sentence: &str, permission: Option<&str>| PullError::Unauthorized {
            what: what.clone(),
            reason: reason(sentence),
            permission: permission.map(str::to_owned),
        };
        let misconfigured = |sentence: &str, hint: &str| PullError::Misconfigured {
            what: what.clone(),
            reason: reason(sentence),
            hint: hint.to_owned(),
        };
        match self.code {
            1 if self.text.contains("successful bind") => refused(
                "the server answers only those who sign in",
                Some("set `bind_dn` and `bind_password`"),
            ),
            TIME_LIMIT => {
                incomplete("the server's time limit ended the search before everything was read")
            }
            SIZE_LIMIT => incomplete(
                "the server's size limit ended the search before everything was read; \
                 allow this account more (OpenLDAP: `limits … size.prtotal=unlimited`)",
            ),
            7 => misconfigured(
                "the server does not offer this way to sign in",
                "use `bind_dn` and `bind_password`, or `sasl = \"external\"` over `ldapi://`",
            ),
            8 | 13 => misconfigured(
                "the server asks for a protected connection",
                "use `ldaps://`, or leave `starttls` on",
            ),
            10 => misconfigured(
                &format!("the server does not hold this part and refers to {}", self.referred()),
                "point `url` at a server that holds `base`, or correct `base`; referrals are not followed",
            ),
            ADMIN_LIMIT => incomplete(
                "an administrative limit ended the search before everything was read, \
                 also with the smallest pages; allow this account more",
            ),
            UNAVAILABLE_CRITICAL_EXTENSION => misconfigured(
                "the server does not support what this reading needs",
                "set `incremental = \"off\"`, or let the account use the control",
            ),
            NO_SUCH_OBJECT => misconfigured(
                "there is no such entry, or this account may not see it",
                "correct `base`, `users_base` or `groups_base`, or let the account read there",
            ),
            34 => misconfigured("this is no distinguished name", "correct the base or `bind_dn`"),
            48 => refused("the account cannot sign in like this", None),
            49 => refused(credential_words(&self.text), None),
            INSUFFICIENT_ACCESS => {
                refused("the account may not do this", Some("read access there"))
            }
            51 => unreachable("the server is too busy"),
            52 => unreachable("the server is not available, it may be starting or stopping"),
            UNWILLING => misconfigured(
                "the server is unwilling to do this",
                "its own words say which rule forbids it; often the account is not allowed to sign in, or a limit applies",
            ),
            18 | 21 | 87 => misconfigured(
                "the server does not understand the filter",
                "correct `users_filter` or `groups_filter`",
            ),
            _ => unreachable("the server reports trouble"),
        }
    }

    /// The server's own words in one line, without what AD pads them with.
    fn said(&self) -> &str {
        self.text.trim_matches(['\0', '\n', '\r', ' '])
    }

    fn referred(&self) -> String {
        if self.referrals.is_empty() {
            "another server".to_owned()
        } else {
            self.referrals.join(", ")
        }
    }
}

/// Active Directory hides the reason of a refused sign-in in the text:
/// `… AcceptSecurityContext error, data 52e, v4563` (Microsoft, "System error
/// codes").
fn credential_words(text: &str) -> &'static str {
    let code = text
        .split_once("data ")
        .map(|(_, rest)| rest.split([',', ' ', '\0']).next().unwrap_or_default().to_lowercase());
    match code.as_deref() {
        Some("525") => "no such account",
        Some("52e") => "wrong account name or password",
        Some("52f") => "the account is restricted from signing in like this",
        Some("530") => "the account may not sign in at this time of day",
        Some("531") => "the account may not sign in from this computer",
        Some("532") => "the account's password has expired",
        Some("533") => "the account is disabled",
        Some("568") => "the account is in too many groups to sign in",
        Some("701") => "the account has expired",
        Some("773") => "the account must change its password before it can sign in",
        Some("775") => "the account is locked out",
        _ => "wrong account name or password",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u32, text: &str) -> PullError {
        Done { code, text: text.into(), ..Done::default() }.error("ldap://a", "searching dc=org")
    }

    #[test]
    fn ad_says_in_words_why_it_refuses() {
        let told = |data: &str| {
            let text = format!(
                "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data {data}, v4563\0"
            );
            match error(49, &text) {
                PullError::Unauthorized { reason, .. } => reason,
                other => panic!("{other:?}"),
            }
        };
        for (data, words) in [
            ("525", "no such account"),
            ("52e", "wrong account name or password"),
            ("530", "time of day"),
            ("531", "from this computer"),
            ("532", "password has expired"),
            ("533", "is disabled"),
            ("701", "account has expired"),
            ("773", "must change its password"),
            ("775", "is locked out"),
        ] {
            assert!(told(data).contains(words), "{data}: {}", told(data));
        }
    }

    #[test]
    fn limits_are_never_success() {
        for code in [TIME_LIMIT, SIZE_LIMIT, ADMIN_LIMIT] {
            assert!(matches!(error(code, ""), PullError::Incomplete { .. }), "{code}");
        }
    }

    #[test]
    fn each_code_has_its_reaction() {
        for code in [51, 52, 80, 1] {
            assert!(matches!(error(code, ""), PullError::Unreachable { .. }), "{code}");
        }
        for code in [48, 49, 50] {
            assert!(matches!(error(code, ""), PullError::Unauthorized { .. }), "{code}");
        }
        for code in [7, 8, 10, 12, 32, 34, 53] {
            assert!(matches!(error(code, ""), PullError::Misconfigured { .. }), "{code}");
        }
    }

    #[test]
    fn a_referral_is_named() {
        let done = Done { code: 10, referrals: vec!["ldap://b/dc=org".into()], ..Done::default() };
        assert!(done.error("ldap://a", "searching").to_string().contains("ldap://b/dc=org"));
    }
}
