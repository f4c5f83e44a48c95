//! What the numbers in refusals of the token endpoint mean, and what to do.

/// By number (`AADSTS…`), from Microsoft's list of authentication errors.
const HINTS: &[(&str, &str)] = &[
    ("AADSTS7000215", "`client_secret` must hold the secret's Value, not its Secret ID"),
    (
        "AADSTS7000222",
        "the client secret has expired: make a new one in the app registration under Certificates & secrets",
    ),
    (
        "AADSTS700016",
        "the tenant knows no such application: check `client_id`, `tenant_id`, and whether `authority` is the right cloud",
    ),
    ("AADSTS90002", "there is no such tenant in this cloud: check `tenant_id` and `authority`"),
    ("AADSTS900023", "`tenant_id` is neither a GUID nor a domain of the tenant"),
    (
        "AADSTS500011",
        "the tenant does not know Graph at this address: `graph` belongs to another cloud than `authority`",
    ),
    (
        "AADSTS700027",
        "the certificate is not registered for the application: upload it under Certificates & secrets",
    ),
    ("AADSTS700024", "the assertion is not valid now: check this machine's clock"),
    (
        "AADSTS700021",
        "the token of the other issuer is refused: compare issuer, subject and audience with the federated credential of the application",
    ),
    (
        "AADSTS70021",
        "no federated credential of the application matches the token: compare issuer, subject and audience",
    ),
    ("AADSTS7000112", "the application is disabled in the tenant"),
    ("AADSTS53003", "a conditional access policy for workload identities blocks it"),
];

/// What to do about a refusal with this description.
pub(super) fn hint(description: &str) -> Option<&'static str> {
    let number = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        text[..end].to_owned()
    };
    let at = description.find("AADSTS")?;
    let told = number(&description[at..]);
    HINTS.iter().find(|(known, _)| *known == told).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_told_from_one_that_begins_alike() {
        assert!(hint("AADSTS700021: No matching").unwrap().contains("other issuer"));
        assert!(hint("AADSTS70021: No matching").unwrap().contains("no federated"));
        assert!(hint("AADSTS7000215: Invalid client secret").unwrap().contains("Secret ID"));
        assert_eq!(hint("AADSTS1: new"), None);
        assert_eq!(hint("nothing"), None);
    }
}
