//! TOML that an operator has written: configuration, nodes, pipelines.

use std::thread;

use serde::de::{DeserializeOwned, Error};

/// Bytes of the largest text that is read.
const LARGEST: usize = 256 * 1024;
/// Bytes of the stack on which texts are read. The parser (toml 1.2.1) takes a level of it for each inline table that a
/// damaged text opens and does not close. This is enough for the largest text; only what is used takes memory.
const STACK: usize = 128 << 20;

/// Reads a text. An error names the line.
pub fn read_toml<T: DeserializeOwned + Send>(text: &str) -> Result<T, toml::de::Error> {
    if text.len() > LARGEST {
        let why = format!("it has {} bytes, and {LARGEST} are read at most", text.len());
        return Err(toml::de::Error::custom(why));
    }
    thread::scope(|scope| {
        let reading = thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, || toml::from_str(text));
        match reading.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(read)) => read,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(why) => Err(toml::de::Error::custom(format!("no thread to read it with: {why}"))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_text_is_an_error_however_deep_it_is() {
        let deep = "p = { v = 1\n\n[[s = ]]\n".repeat(LARGEST / 24);
        assert!(read_toml::<toml::Table>(&deep).is_err());
        let large = format!("a = '{}'", "x".repeat(LARGEST));
        let error = read_toml::<toml::Table>(&large).unwrap_err().to_string();
        assert!(error.contains("262144 are read at most"), "{error}");
        assert!(read_toml::<toml::Table>("a = 1").is_ok());
    }
}
