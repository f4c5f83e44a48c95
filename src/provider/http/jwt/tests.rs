//! Signatures against the verifiers of ring. The keys guard nothing.

use rcgen::{KeyPair as Made, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};

use super::*;

const RSA: &str = "\
-----BEGIN PRIVATE KEY-----
MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQC8Cqb0dO0uuWBD
1D2f0h7bpC3iqwP5pOvpBYMbCMEf4Uta6+nNLDACDRfs0NIKGYAxPM06TbLnjulJ
2ms16lAP+DOoZ2m+wHT8y9YrKfibhEC2lQIXqigWLRfoALY5C9ncOuX29W8lpxqK
zvheJp7wxSqZz+sdUM4NEkgyLet9XTUvfl3w9lW8kUUF0D5PukDpNbjCWT7oS+JA
47qG6vaTu8uPjrgqQ5SBm9cP0u4aXRK12q+isFzC8K8DLSK99xQkLX+lCaMv3U2j
Njo2/ckFmy1wDqtQaehlSkR68DQBp08lqJ+UFGlQjv6X2+UNCetp5lUH4t67lhRn
DUpoIsxXAgMBAAECggEADBlJpQCmGYqEvq9ciEHRwHWB+AKaTrtJ7DsD2TXf/OXX
DBb/w+2ZxAW77sbt9eL3lCEnOYyx+/61QnvuNbUkyL/5FlbtmrbMxwVzn85+zuGl
qyLh1ExAA8CwbvDd7TH/3cfOFFps5Z+6+VFqXwNLtCC5OIyWna5mld0Bsr6MMsIz
s5h2Z9ozRgvEqwSZsEoRst+tHIjNruhIB624EPkQQcDixaWir8pRRha7EP0oe+Ys
jpdocKVtFkHT7X0iniQ9aWXnylAtZTno7hvc0LM7xRe4nwOj6ndDisjK75LYgsyR
T2/Jcg109g4cgMWrAKFb6c9/629rHpjgyZ9768bh6QKBgQDzcCkV2vrZCbcUXP5H
AIDIell4tvdNeFtC7usrvjeMEe17SXKyFVyDxE/CceEHhy6QI3e9xXORKbqWZkUJ
0F4la5ofKbX9Pq+B6G+jiRQ1Sk1vpJzYWOWETlMqYmSG1i6zxBHtyPcUFKB4mpKg
WDBrRS1wuT3ncVWu2mnBOijcwwKBgQDFvrLfG0MZz9W2/9ZNkZ9B0qVnOY3Qq8bi
Fk62kXjgfOWjUeN9jUzs7hu+zmnGmB65PAO47EIuGWlgeaofX2dv3bqROB8z/4gN
+PtwBkLPi/IKyIpoU4bEUnEEelryUtd04bMoXNXFfe/yUmRv5946oMOTccRI+tMc
e9/0E09o3QKBgQDt6iYdOACE8Vu+SQwx9CnoxLqAocCcNA5tIfcwrxy2hibkoOm5
Zese1FNnI8jbhKBbOm6iR0ElE/VJW/YJG12HkNv1rNwx/nukqLfCygu38UAw5l5r
iqX1Yl8hQzwgE19dTTiAfjILrAURGXBHySi5DcjVLBV2BmvJEajdsauR5QKBgQCD
L65PITD08NLhovyzXUaATpT41E/m/e7lktMJf5znoTRfkzYO1y0Pii/R9/JolAbd
8Jivl92X47frDwvz4EEpD7p0GP1qa74BNwroGN89/aPHz58y8ybXG7JqvBmV5auW
mR1YS65uZMxIwKxtKTBfSMQ3DySfHffsT6oVrLHj6QKBgBMYVP6CcyIhrO1BwNDZ
HrExqtt28+JZ6+j/3lb5sVIovOfobCL8FlWGE47JaUJKAqUuxzAI6J2F1MzAtBSZ
CrsyKo6MPJBFTbUfXC1FIOqN18WgGIY4mADXuy9OCmaHd60wvpS4q+Vn/uqKT67q
vsQm7r44BwlIsRyawg4N0eDm
-----END PRIVATE KEY-----
";
const RSA_SHORT: &str = "\
-----BEGIN PRIVATE KEY-----
MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBAKLwUtmITfTTdWg0
HNixqjHWWyAnR8Tq3CW6RJNoXBfqS3jA8M33fjzBIPmLBKPbMT3KYyzt8LC+1r+i
UxHWTNmvakyNfwCmE3dgJBIzKNzlJdJBJoa+x374EBowHdeoruIAO3FRWn1+6ow6
dTr0P/g+jqxYZ3hx9gSiaLRZhUeZAgMBAAECgYEAh6KcpR61HjekxXCUDsKelcwF
oVdxg/ep+PH8weSevP25g7TBAAOlHzf5liFmZGxDqlc+hZkwwkCqjW23zuJgp4Td
y3HiWDPz2XZcz3DUeSi4rxCDwV+Es5jV++9gaUiSo3ekREEvtWLvUS9EOPDw0bQF
WnN+XBm8bWvwV6E7HQECQQDV2JoaJAr32ozsue8hcI6jMuO0lydt3dQ4TVlwW2y6
0RKq76MnLauK7VjhleqIC8D9C5F5GInzJkwGOEG25rd5AkEAww7D4Bry33+G3FQY
4PcT1b2INFZD1d67nu3g0OUWasbbzyvZjSUgXKgtJ63GOjhvox7tUDwJanUfP2op
u/9pIQJBALz47iUPmMmyTjqbjKAmUUYSoHpj4KoMD4+5esH5aLomK7L2lVz31NGu
MI8Y5epXSLHU2TcD4lQGkcQlTp0MgTECQAU9w1OlRbttsNEAzX5WBUlsA1nsq3v2
tTHrEGxsi3KpD0T816asRbdXqYb0a2wrEgzfCt9qDZK3vPQ2RRLRJSECQAqpawgp
VkXtyW0usSXqaUH/ZmTlKGHynS/84OhrsqSgPQ0jQfBrXk3tojxeDYMTAbqaRLLK
4+zy46K5h6FSKGk=
-----END PRIVATE KEY-----
";
const SEC1: &str = "\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEICM1oVHNXviado1X0iRjEKrAFwf5I6rBAEQJ42hBh26QoAoGCCqGSM49
AwEHoUQDQgAEQQPMI3Fxpelc7g4adAa+4eswESW4EMqP4BR5GsZca0lQNAoiRxZU
RutJ+8NZR1W04BdsySv3xeIy8oFJDqadsw==
-----END EC PRIVATE KEY-----
";

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn jwk(key: &SigningKey, name: &str) -> Vec<u8> {
    decode(key.public_jwk()[name].as_str().unwrap())
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn sign(key: &SigningKey, algorithm: Algorithm) -> String {
    let header = object(json!({ "kid": "k1", "alg": "none" }));
    key.sign(algorithm, &header, &object(json!({ "iss": "me" }))).unwrap()
}

/// Checks the parts of a token, and returns what is signed and the signature.
fn take_apart(token: &str, algorithm: Algorithm) -> (String, Vec<u8>) {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decode(header)).unwrap();
    assert_eq!(header, json!({ "alg": algorithm.name(), "kid": "k1", "typ": "JWT" }));
    let claims: Value = serde_json::from_slice(&decode(claims)).unwrap();
    assert_eq!(claims, json!({ "iss": "me" }));
    (message.to_owned(), decode(signature))
}

fn verify_ec(key: &SigningKey, verifier: &'static dyn VerificationAlgorithm) {
    let algorithm = key.natural();
    let (message, signature) = take_apart(&sign(key, algorithm), algorithm);
    let point = [vec![4], jwk(key, "x"), jwk(key, "y")].concat();
    UnparsedPublicKey::new(verifier, point).verify(message.as_bytes(), &signature).unwrap();
}

fn verify_rsa(key: &SigningKey) {
    let public = RsaPublicKeyComponents { n: jwk(key, "n"), e: jwk(key, "e") };
    for (algorithm, parameters) in [
        (Algorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
        (Algorithm::Rs384, &RSA_PKCS1_2048_8192_SHA384),
        (Algorithm::Rs512, &RSA_PKCS1_2048_8192_SHA512),
        (Algorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
    ] {
        let (message, signature) = take_apart(&sign(key, algorithm), algorithm);
        public.verify(parameters, message.as_bytes(), &signature).unwrap();
    }
}

fn refusal(pem: &str) -> String {
    SigningKey::from_pem(pem).unwrap_err()
}

#[test]
fn rsa_keys_sign_in_either_envelope() {
    verify_rsa(&SigningKey::from_pem(RSA).unwrap());
    // A PKCS#8 envelope of this size is 26 bytes, then comes PKCS#1.
    let der = PrivateKeyDer::from_pem_slice(RSA.as_bytes()).unwrap();
    let inner = base64::engine::general_purpose::STANDARD.encode(&der.secret_der()[26..]);
    let label = "RSA PRIVATE KEY";
    let pem = format!("-----BEGIN {label}-----\n{inner}\n-----END {label}-----\n");
    verify_rsa(&SigningKey::from_pem(&pem).unwrap());
}

#[test]
fn ec_keys_sign_in_either_envelope() {
    verify_ec(&SigningKey::from_pem(SEC1).unwrap(), &ECDSA_P256_SHA256_FIXED);
    verify_ec(&SigningKey::generate_es256().unwrap(), &ECDSA_P256_SHA256_FIXED);
    let made = Made::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
    verify_ec(&SigningKey::from_pem(&made).unwrap(), &ECDSA_P384_SHA384_FIXED);
}

#[test]
fn typ_can_be_another() {
    let key = SigningKey::generate_es256().unwrap();
    let header = object(json!({ "typ": "dpop+jwt", "jwk": key.public_jwk() }));
    let token = key.sign(Algorithm::Es256, &header, &Map::new()).unwrap();
    let header: Value = serde_json::from_slice(&decode(token.split('.').next().unwrap())).unwrap();
    assert_eq!(header["typ"], "dpop+jwt");
    assert_eq!(header["jwk"]["crv"], "P-256");
    assert_eq!(header["jwk"].get("d"), None);
}

#[test]
fn a_key_signs_only_with_its_own_algorithms() {
    let key = SigningKey::from_pem(SEC1).unwrap();
    let refusal = key.sign(Algorithm::Rs256, &Map::new(), &Map::new()).unwrap_err();
    assert!(refusal.contains("EC P-256") && refusal.contains("ES256"), "{refusal}");
    assert!(key.sign(Algorithm::Es384, &Map::new(), &Map::new()).is_err());
}

#[test]
fn what_is_no_usable_key_is_told_apart() {
    let certificate = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
    let ed25519 = Made::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
    for (pem, part) in [
        (RSA.replace(" PRIVATE", " ENCRYPTED PRIVATE").as_str(), "passphrase"),
        (&certificate.signing_key.public_key_pem(), "public key"),
        (&certificate.cert.pem(), "certificate"),
        (RSA_SHORT, "shorter than 2048"),
        (&ed25519, "neither RSA nor EC"),
        (&RSA.replace("END", "DNE"), "damaged"),
        ("{}", "no private key in PEM"),
    ] {
        assert!(refusal(pem).contains(part), "{part}: {}", refusal(pem));
    }
}

#[test]
fn debug_shows_the_kind_only() {
    assert_eq!(format!("{:?}", SigningKey::from_pem(RSA).unwrap()), "SigningKey(RSA, …)");
}

#[test]
fn the_thumbprint_is_that_of_the_first_certificate() {
    let [first, second] =
        ["a", "b"].map(|name| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert);
    let pem = format!("{RSA}{}{}", first.pem(), second.pem());
    let expected = digest::digest(&digest::SHA256, first.der());
    assert_eq!(certificate_thumbprint_sha256(&pem).unwrap(), expected.as_ref());
    assert!(certificate_thumbprint_sha256(RSA).is_err());
}

#[test]
fn ids_of_tokens_do_not_follow_from_a_seed() {
    let seeded = || {
        fastrand::seed(7);
        token_id().unwrap()
    };
    let (first, second) = (seeded(), seeded());
    assert_ne!(first, second);
    assert_eq!(uuid::Uuid::parse_str(&first).unwrap().get_version_num(), 4);
}
