//! Makes the client that commands call the daemon with.

use onceover_wire::client::{Client, token_from_environment};

use super::failure::Failure;

/// The daemon's address if none is given.
pub const DEFAULT_DAEMON: &str = "http://127.0.0.1:8788";

/// Makes the daemon's client, with the token of the environment.
pub fn connect(daemon: &str) -> Result<Client, Failure> {
    let client = token_from_environment().and_then(|token| Client::with_token(daemon, token.as_deref()));
    // A field that is mistyped has to be refused before anything runs.
    client
        .map(Client::strict)
        .map_err(|error| Failure::new(error.to_string()))
}
