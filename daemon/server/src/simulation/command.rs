//! Commands as a daemon sends them, read for the trace and for what they say of a run's owner.

use redis::{Connection, ConnectionLike as _, RedisResult, Value};

use onceover_store::name_of_script;

/// What a daemon sends at once: a command, or several that Redis carries out as one transaction.
#[derive(Debug, Clone)]
pub(super) struct SentStep {
    commands: Vec<SentCommand>,
    is_transaction: bool,
}

impl SentStep {
    pub(super) fn command(packed: Vec<u8>) -> Self {
        Self {
            commands: vec![SentCommand::new(packed)],
            is_transaction: false,
        }
    }

    pub(super) fn transaction(packed: Vec<Vec<u8>>) -> Self {
        Self {
            commands: packed.into_iter().map(SentCommand::new).collect(),
            is_transaction: true,
        }
    }

    pub(super) fn commands(&self) -> &[SentCommand] {
        &self.commands
    }

    /// Whether it only prepares a connection or asks what the server is: no fault of these tells anything.
    pub(super) fn is_of_setup(&self) -> bool {
        self.commands.iter().all(SentCommand::is_of_setup)
    }

    /// Carries it out. Returns the reply of each command; an error of one in a transaction is its reply.
    pub(super) fn carry_out(&self, redis: &mut Connection) -> RedisResult<Vec<Value>> {
        if !self.is_transaction {
            let replies = self.commands.iter().map(|command| {
                let reply = redis.req_packed_command(&command.packed);
                reply.and_then(Value::extract_error)
            });
            return replies.collect();
        }
        let mut packed = redis::cmd("MULTI").get_packed_command();
        for command in &self.commands {
            packed.extend_from_slice(&command.packed);
        }
        packed.extend(redis::cmd("EXEC").get_packed_command());
        let mut replies = redis.req_packed_commands(&packed, self.commands.len() + 1, 1)?;
        match replies.pop() {
            Some(Value::Array(replies)) => Ok(replies),
            other => panic!("EXEC answered {other:?}"),
        }
    }

    pub(super) fn in_words(&self) -> String {
        if !self.is_transaction {
            let words: Vec<_> = self.commands.iter().map(SentCommand::in_words).collect();
            return words.join(", ");
        }
        // Its scripts, and the task that it reads: the list of stages is named after that.
        let words = self
            .commands
            .iter()
            .filter_map(|command| match command.words.as_slice() {
                _ if command.script().is_some() => Some(command.in_words()),
                [name, key, ..] if name == "ZRANGE" => Some(format!("ZRANGE {key}")),
                _ => None,
            });
        format!("MULTI {}", words.collect::<Vec<_>>().join(", "))
    }
}

/// A command, packed in Redis's protocol.
#[derive(Debug, Clone)]
pub(super) struct SentCommand {
    packed: Vec<u8>,
    words: Vec<String>,
}

impl SentCommand {
    fn new(packed: Vec<u8>) -> Self {
        let words = words(&packed);
        Self { packed, words }
    }

    fn is_of_setup(&self) -> bool {
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

    fn in_words(&self) -> String {
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
    fn a_transaction_is_named_after_the_task_that_it_reads() {
        let mut list = redis::cmd("ZRANGE");
        list.arg("onceover:task:t1:stages").arg(0).arg(-1);
        let mut sequence = redis::cmd("GET");
        sequence.arg("onceover:seq");
        let packed = vec![sequence.get_packed_command(), list.get_packed_command()];
        assert_eq!(
            SentStep::transaction(packed).in_words(),
            "MULTI ZRANGE onceover:task:t1:stages"
        );
        assert_eq!(
            SentStep::command(sequence.get_packed_command()).in_words(),
            "GET onceover:seq"
        );
    }

    #[test]
    fn a_packed_command_is_read_into_its_words() {
        let mut command = redis::cmd("HSET");
        command.arg("key").arg("a\r\nb").arg(7);
        assert_eq!(words(&command.get_packed_command()), ["HSET", "key", "a\r\nb", "7"]);
    }
}
