//! The key of a service account, and the description of a workload identity.

use std::path::PathBuf;

use serde::Deserialize;

use crate::provider::http::jwt::SigningKey;
use crate::secret::Secret;

/// The key file of a service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceKey {
    pub client_email: String,
    /// What the Admin console calls the client id of the delegation.
    pub client_id: Option<String>,
    pub key_id: Option<String>,
    /// In PEM.
    pub private_key: Secret,
}

/// What workload identity federation needs ("external account" of AIP-4117).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub audience: String,
    pub subject_token_type: String,
    pub token_url: Option<String>,
    pub file: Option<PathBuf>,
    /// The member that holds the token, when the file is JSON.
    pub field: Option<String>,
}

#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_email: Option<String>,
    client_id: Option<String>,
    private_key_id: Option<String>,
    private_key: Option<String>,
}

#[derive(Deserialize)]
struct WorkloadFile {
    #[serde(rename = "type")]
    kind: Option<String>,
    audience: Option<String>,
    subject_token_type: Option<String>,
    token_url: Option<String>,
    credential_source: Option<Source>,
}

#[derive(Deserialize)]
struct Source {
    file: Option<PathBuf>,
    format: Option<Format>,
}

#[derive(Deserialize)]
struct Format {
    subject_token_field_name: Option<String>,
}

const JWT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";

impl ServiceKey {
    /// Reads the JSON file that Google makes.
    ///
    /// # Errors
    /// The reason, as a fragment that shows nothing of it.
    pub fn read(text: &Secret) -> Result<ServiceKey, String> {
        // The library's error may show parts of the text.
        let file: KeyFile = serde_json::from_str(text.expose())
            .map_err(|error| format!("it is not the JSON of a key (line {})", error.line()))?;
        check_kind(file.kind.as_deref(), "service_account")?;
        let private_key = file.private_key.ok_or("it has no `private_key`")?;
        SigningKey::from_pem(&private_key)?;
        Ok(ServiceKey {
            client_email: file.client_email.ok_or("it has no `client_email`")?,
            client_id: file.client_id,
            key_id: file.private_key_id,
            private_key: Secret::new(private_key),
        })
    }
}

impl Workload {
    /// Reads the JSON file that `gcloud` makes.
    ///
    /// # Errors
    /// The reason, as a fragment that shows nothing of it.
    pub fn read(text: &Secret) -> Result<Workload, String> {
        let file: WorkloadFile = serde_json::from_str(text.expose())
            .map_err(|error| format!("it is not the JSON that is meant (line {})", error.line()))?;
        check_kind(file.kind.as_deref(), "external_account")?;
        let source = file.credential_source;
        let format = source.as_ref().and_then(|source| source.format.as_ref());
        Ok(Workload {
            audience: file.audience.ok_or("it has no `audience`")?,
            subject_token_type: file.subject_token_type.unwrap_or_else(|| JWT_TYPE.to_owned()),
            token_url: file.token_url,
            field: format.and_then(|format| format.subject_token_field_name.clone()),
            file: source.and_then(|source| source.file),
        })
    }

    /// The token in what the file holds.
    ///
    /// # Errors
    /// The reason, as a fragment.
    pub fn subject_token(&self, content: &Secret) -> Result<Secret, String> {
        let Some(field) = &self.field else { return Ok(content.clone()) };
        let value: serde_json::Value = serde_json::from_str(content.expose())
            .map_err(|_| "the subject token's file is not JSON".to_owned())?;
        let token = value.get(field).and_then(|token| token.as_str());
        token
            .map(|token| Secret::new(token.to_owned()))
            .ok_or_else(|| format!("the subject token's file has no `{field}`"))
    }
}

fn check_kind(kind: Option<&str>, wanted: &str) -> Result<(), String> {
    match kind {
        Some(kind) if kind == wanted => Ok(()),
        Some(_) => Err(format!("its `type` is not \"{wanted}\"")),
        None => Err(format!("it has no `type`, which should be \"{wanted}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_none_is_refused_without_showing_it() {
        for (text, part) in [
            ("hunter2", "not the JSON"),
            ("{\"type\":\"authorized_user\",\"private_key\":\"hunter2\"}", "\"service_account\""),
            ("{\"type\":\"service_account\",\"private_key\":\"hunter2\"}", ""),
            ("{\"type\":\"service_account\"}", "`private_key`"),
        ] {
            let reason = ServiceKey::read(&Secret::new(text.into())).unwrap_err();
            assert!(reason.contains(part) && !reason.contains("hunter2"), "{reason}");
        }
    }

    #[test]
    fn a_workload_says_where_its_token_is() {
        let text = r#"{"type":"external_account","audience":"//iam.googleapis.com/x",
            "credential_source":{"file":"/run/token","format":{"type":"json","subject_token_field_name":"t"}}}"#;
        let workload = Workload::read(&Secret::new(text.into())).unwrap();
        assert_eq!(workload.subject_token_type, JWT_TYPE);
        let token = workload.subject_token(&Secret::new("{\"t\":\"abc\"}".into())).unwrap();
        assert_eq!(token.expose(), "abc");
        assert!(workload.subject_token(&Secret::new("{}".into())).is_err());
    }
}
