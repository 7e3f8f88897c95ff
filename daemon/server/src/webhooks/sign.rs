//! Signatures of callbacks, as Standard Webhooks has them: the secrets, and the header made with them.

use std::{fmt, path::Path, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use onceover_types::text_file::without_mark;
use sha2::Sha256;

/// Secrets in the environment, blank-separated; they go before those of the file.
pub const SECRETS_VARIABLE: &str = "ONCEOVER_CALLBACK_SECRETS";

const PREFIX: &str = "whsec_";
/// Bytes of a secret.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;
/// The one in use, and the one it replaces or that will replace it.
const AT_MOST: usize = 2;
const MAKE_ONE: &str = r#"echo "whsec_$(head -c 32 /dev/urandom | base64 -w0)" makes one"#;

/// Why callbacks cannot be signed. A secret itself is never named.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("callbacks.secrets_file: {path} cannot be read: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{place}: {what}; {MAKE_ONE}")]
    Bad { place: String, what: String },
    #[error("{place} has {count} secrets; there are at most {AT_MOST}, a new one and the one it replaces")]
    TooMany { place: String, count: usize },
    #[error("{place} has no secret in it; {MAKE_ONE}, or leave it out to send callbacks without a signature")]
    None { place: String },
}

/// What callbacks are signed with: nothing, one secret, or two while it is being changed. Cheap to clone.
#[derive(Clone, Default)]
pub struct Secrets(Arc<[Vec<u8>]>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl Secrets {
    /// Those of the environment, else those of the file, else none.
    pub fn load(environment: Option<&str>, file: Option<&Path>) -> Result<Self, SecretError> {
        if let Some(text) = environment.filter(|text| !text.trim().is_empty()) {
            let named = text.split_whitespace().enumerate();
            return Self::parse(
                SECRETS_VARIABLE,
                named.map(|(index, text)| (format!("{SECRETS_VARIABLE}, secret {}", index + 1), text)),
            );
        }
        let Some(path) = file else { return Ok(Self::default()) };
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| SecretError::Read {
            path: shown.clone(),
            source,
        })?;
        let named = without_mark(&text).lines().map(str::trim).enumerate();
        Self::parse(
            &shown,
            named
                .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
                .map(|(index, line)| (format!("{shown}, line {}", index + 1), line)),
        )
    }

    fn parse<'a>(whole: &str, named: impl Iterator<Item = (String, &'a str)>) -> Result<Self, SecretError> {
        let secrets = named
            .map(|(place, text)| secret(text).map_err(|what| SecretError::Bad { place, what }))
            .collect::<Result<Vec<_>, _>>()?;
        let place = whole.to_owned();
        match secrets.len() {
            0 => Err(SecretError::None { place }),
            count if count > AT_MOST => Err(SecretError::TooMany { place, count }),
            _ => Ok(Self(secrets.into())),
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The `webhook-signature` of a try: a signature for each secret, blank-separated. None without a secret.
    pub fn signature(&self, id: &str, timestamp: i64, body: &str) -> Option<String> {
        let signatures: Vec<_> = self
            .0
            .iter()
            .map(|secret| {
                let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length will do");
                mac.update(format!("{id}.{timestamp}.").as_bytes());
                mac.update(body.as_bytes());
                format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
            })
            .collect();
        (!signatures.is_empty()).then(|| signatures.join(" "))
    }
}

fn secret(text: &str) -> Result<Vec<u8>, String> {
    let encoded = text
        .strip_prefix(PREFIX)
        .ok_or_else(|| format!("a secret begins with {PREFIX}"))?;
    let bytes = BASE64_STANDARD
        .decode(encoded)
        .map_err(|_| format!("what follows {PREFIX} is not base64"))?;
    if !LENGTHS.contains(&bytes.len()) {
        return Err(format!(
            "a secret is {} to {} bytes before base64, and this one is {}",
            LENGTHS.start(),
            LENGTHS.end(),
            bytes.len()
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whsec(length: usize) -> String {
        format!("{PREFIX}{}", BASE64_STANDARD.encode(vec![7u8; length]))
    }

    #[test]
    fn req13_the_published_examples_are_signed_as_published() {
        for (secret, id, time, body, signature) in [
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
        ] {
            let secrets = Secrets::load(Some(secret), None).unwrap();
            assert_eq!(secrets.signature(id, time, body), Some(signature.into()));
        }
    }

    #[test]
    fn each_secret_signs_and_none_signs_nothing() {
        let two = format!("{} {}", whsec(24), whsec(64));
        let signature = Secrets::load(Some(&two), None).unwrap().signature("a", 1, "b").unwrap();
        assert_eq!(signature.split(' ').count(), 2);
        assert!(Secrets::load(None, None).unwrap().signature("a", 1, "b").is_none());
        assert!(Secrets::load(Some("  "), None).unwrap().is_empty());
    }

    #[test]
    fn a_bad_secret_is_named_by_its_place_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secrets");
        for (bad, word) in [
            (whsec(23), "24 to 64"),
            (whsec(65), "24 to 64"),
            ("whsec_$$$$".into(), "base64"),
            ("secret_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(), "whsec_"),
        ] {
            std::fs::write(&file, format!("# comment\n\n{}\n{bad}\n", whsec(32))).unwrap();
            let error = Secrets::load(None, Some(&file)).unwrap_err().to_string();
            assert!(error.contains("line 4") && error.contains(word), "{error}");
            assert!(!error.contains(&bad), "{error}");
            let error = Secrets::load(Some(&bad), Some(&file)).unwrap_err().to_string();
            assert!(error.contains("ONCEOVER_CALLBACK_SECRETS, secret 1"), "{error}");
        }
        std::fs::write(&file, "\n").unwrap();
        assert!(
            Secrets::load(None, Some(&file))
                .unwrap_err()
                .to_string()
                .contains("no secret")
        );
        std::fs::write(&file, format!("{0}\n{0}\n{0}\n", whsec(32))).unwrap();
        assert!(
            Secrets::load(None, Some(&file))
                .unwrap_err()
                .to_string()
                .contains("at most 2")
        );
        let missing = Secrets::load(None, Some(&dir.path().join("nothing"))).unwrap_err();
        assert!(missing.to_string().contains("nothing"), "{missing}");
    }
}
