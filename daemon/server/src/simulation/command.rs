//! A command as a daemon sends it, read for the trace and for what it says of a run's owner.

use redis::Value;

use onceover_store::name_of_script;

/// A command, packed in Redis's protocol.
#[derive(Debug, Clone)]
pub(super) struct SentCommand {
    pub(super) packed: Vec<u8>,
    words: Vec<String>,
}

impl SentCommand {
    pub(super) fn new(packed: Vec<u8>) -> Self {
        let words = words(&packed);
        Self { packed, words }
    }

    /// Whether it only prepares a connection or asks what the server is: no fault of these tells anything.
    pub(super) fn is_of_setup(&self) -> bool {
        let name = self.words.first().map(|word| word.to_ascii_uppercase());
        matches!(
            name.as_deref(),
            Some("SCRIPT" | "INFO" | "CONFIG" | "PING" | "CLIENT" | "HELLO")
        )
    }

    /// The script it calls.
    fn script(&self) -> Option<&'static str> {
        match self.words.as_slice() {
            [name, hash, ..] if name.eq_ignore_ascii_case("EVALSHA") => name_of_script(hash),
            _ => None,
        }
    }

    /// An argument of a script: they come as pairs behind the number of keys.
    fn argument(&self, name: &str) -> Option<&str> {
        let pairs = self.words.get(3..)?;
        pairs
            .chunks_exact(2)
            .find(|pair| pair[0] == name)
            .map(|pair| pair[1].as_str())
    }

    /// The task that it deletes.
    pub(super) fn deleted_task(&self) -> Option<&str> {
        (self.script() == Some("DELETE")).then(|| self.argument("task"))?
    }

    pub(super) fn in_words(&self) -> String {
        let Some(script) = self.script() else {
            // Without the ids in a key: those of data directories differ each time.
            let key = self.words.get(1).map_or("", String::as_str);
            let key: Vec<_> = key.split(':').take(2).collect();
            return format!("{} {}", self.words[0], key.join(":"));
        };
        let named = ["task", "name", "run", "queue", "mode", "outcome", "id"];
        let known = named
            .iter()
            .filter_map(|name| Some(format!("{name}={}", self.argument(name)?)));
        format!("{script} {}", known.collect::<Vec<_>>().join(" "))
    }

    /// The run whose owner was heard of by this call, if it was.
    pub(super) fn heard_run(&self, reply: &Value) -> Option<String> {
        match self.script()? {
            "HEARTBEAT" if matches!(reply, Value::BulkString(text) if text == b"ok") => {
                self.argument("run").map(ToOwned::to_owned)
            }
            _ => None,
        }
    }
}

/// The words of a packed command: `*N`, then `$LENGTH` and the bytes of each.
fn words(packed: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = packed;
    let line = |rest: &mut &[u8]| -> Option<usize> {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let number = std::str::from_utf8(rest.get(1..end)?).ok()?.parse().ok();
        *rest = &rest[end + 2..];
        number
    };
    let Some(count) = line(&mut rest) else { return words };
    for _ in 0..count {
        let Some(length) = line(&mut rest) else { break };
        let Some(word) = rest.get(..length) else { break };
        words.push(String::from_utf8_lossy(word).into_owned());
        rest = rest.get(length + 2..).unwrap_or_default();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_command_is_read_into_its_words() {
        let mut command = redis::cmd("HSET");
        command.arg("key").arg("a\r\nb").arg(7);
        assert_eq!(words(&command.get_packed_command()), ["HSET", "key", "a\r\nb", "7"]);
    }
}
