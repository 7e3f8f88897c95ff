//! Makes the client that commands call the daemon with.

use onceover_wire::client::{Client, TokenSource};

use super::failure::Failure;

/// The daemon's address if none is given.
pub const DEFAULT_DAEMON: &str = "http://127.0.0.1:8788";

/// Makes the daemon's client, with the token of the environment or of the configuration.
pub fn connect(daemon: &str, tokens: TokenSource) -> Result<Client, Failure> {
    // A field that is mistyped has to be refused before anything runs.
    Client::with_tokens_of(daemon, tokens)
        .map(Client::strict)
        .map_err(|error| Failure::new(error.to_string()))
}
