//! Signatures of Standard Webhooks 1.0.0 (<https://www.standardwebhooks.com>).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// Maximum number of secrets: the new one, and during a rotation the old one.
const MOST: usize = 2;
/// Permitted lengths of a secret, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// Signs callbacks, with each of its secrets.
#[derive(Clone, Debug, Default)]
pub struct Signer {
    keys: Vec<hmac::Key>,
}

impl Signer {
    /// Reads secrets of the form `whsec_<base64>`.
    pub fn parse<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let keys: Vec<_> = secrets.into_iter().map(key).collect::<Result<_, _>>()?;
        if keys.len() > MOST {
            return Err(format!("there are more than {MOST} secrets: `{}`", keys.len()));
        }
        Ok(Self { keys })
    }

    /// The header `webhook-signature`; `None` without a secret.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: u64, body: &str) -> Option<String> {
        let text = format!("{id}.{timestamp}.{body}");
        let sign =
            |key| format!("v1,{}", STANDARD.encode(hmac::sign(key, text.as_bytes()).as_ref()));
        let signatures: Vec<_> = self.keys.iter().map(sign).collect();
        (!signatures.is_empty()).then(|| signatures.join(" "))
    }
}

/// Reads a secret. The error message does not contain it.
fn key(secret: &str) -> Result<hmac::Key, String> {
    let hint = "hint: `whsec_` and the base64 of 24 to 64 random bytes, such as \
                `echo whsec_$(head -c 32 /dev/urandom | base64)`";
    let encoded = secret
        .strip_prefix("whsec_")
        .ok_or_else(|| format!("a secret does not begin with `whsec_`; {hint}"))?;
    let bytes = STANDARD.decode(encoded).map_err(|_| format!("a secret is no base64; {hint}"))?;
    if !LENGTHS.contains(&bytes.len()) {
        return Err(format!("a secret has {} bytes; {hint}", bytes.len()));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use super::Signer;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_example_of_the_standard_has_its_signature() {
        let signer = Signer::parse([SECRET]).unwrap();
        let signature =
            signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signature.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_sign_twice_and_none_does_not() {
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let both = Signer::parse([SECRET, other]).unwrap().sign("a", 1, "b").unwrap();
        assert_eq!(both.split(' ').filter(|one| one.starts_with("v1,")).count(), 2);
        assert!(both.starts_with(&Signer::parse([SECRET]).unwrap().sign("a", 1, "b").unwrap()));
        assert_eq!(Signer::parse([]).unwrap().sign("a", 1, "b"), None);
    }

    #[test]
    fn an_invalid_secret_is_refused_and_not_shown() {
        for secret in ["", "secret", "whsec_", "whsec_****", "whsec_QUJD"] {
            let error = Signer::parse([secret]).unwrap_err();
            assert!(error.contains("hint: "), "{error}");
            assert!(!error.contains("QUJD"), "{error}");
        }
        assert!(Signer::parse([SECRET, SECRET, SECRET]).is_err());
    }
}
