//! The token that a client sends: where it comes from, and how it is read again when the daemon refuses it.

use std::{fs, io, path::PathBuf};

use onceover_types::text_file::without_mark;
use reqwest::header::HeaderValue;

use crate::command_line::variable;

/// The variable with a token for the daemon.
pub const TOKEN_VARIABLE: &str = "ONCEOVER_TOKEN";
/// The variable that names a file with such a token.
pub const TOKEN_FILE_VARIABLE: &str = "ONCEOVER_TOKEN_FILE";

/// Why there is no token to send.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{origin}={path}: {source}")]
    File {
        origin: &'static str,
        path: String,
        source: io::Error,
    },
    #[error("{origin}={path}: the file is empty")]
    Empty { origin: &'static str, path: String },
    #[error("a token is one word of visible ASCII characters")]
    NotAWord,
}

/// Where a token comes from. It is never an argument: those are seen by every user of the machine.
#[derive(Debug, Clone, Default)]
pub struct TokenSource {
    /// The file that the configuration names; the environment comes first.
    configured: Option<PathBuf>,
}

impl TokenSource {
    pub fn new(configured: Option<PathBuf>) -> Self {
        Self { configured }
    }

    /// Reads the token of `ONCEOVER_TOKEN`, else the first word of the file `ONCEOVER_TOKEN_FILE`, else that of the
    /// configured file. Returns `None` where none of them is set.
    pub fn read(&self) -> Result<Option<String>, TokenError> {
        if let Some(token) = variable(TOKEN_VARIABLE) {
            return Ok(Some(token.trim().to_owned()));
        }
        let configured = self.configured.as_ref().map(|path| path.display().to_string());
        let (origin, path) = match (variable(TOKEN_FILE_VARIABLE), configured) {
            (Some(path), _) => (TOKEN_FILE_VARIABLE, path),
            (None, Some(path)) => ("token_file", path),
            (None, None) => return Ok(None),
        };
        match fs::read_to_string(&path) {
            Ok(text) => match without_mark(&text).split_whitespace().next() {
                Some(token) => Ok(Some(token.to_owned())),
                None => Err(TokenError::Empty { origin, path }),
            },
            Err(source) => Err(TokenError::File { origin, path, source }),
        }
    }
}

/// Makes the header that carries a token. It is never written to a log.
pub fn make_header(token: &str) -> Result<HeaderValue, TokenError> {
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|_| TokenError::NotAWord)?;
    value.set_sensitive(true);
    Ok(value)
}
