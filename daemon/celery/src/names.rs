//! Names of keys and channels, as kombu and Celery make them.

use super::MessageId;

/// What separates a queue from a priority, and the parts of a binding.
pub(crate) const SEPARATOR: &str = "\u{6}\u{16}";
/// The exchange that control requests go to.
pub(crate) const CONTROL_EXCHANGE: &str = "celery.pidbox";
/// The exchange that their replies go to.
pub(crate) const REPLY_EXCHANGE: &str = "reply.celery.pidbox";

/// What keys of results begin with.
pub(crate) const RESULT: &str = "celery-task-meta-";

/// The names of one Redis: what Celery is configured to put before each of them, and the database that channels carry
/// in their names since pub/sub ignores databases.
#[derive(Debug, Clone)]
pub(crate) struct KombuNames {
    prefix: String,
    database: i64,
    /// Whether workers may be of a kombu before 5.4 behind Sentinel, which leaves `{db}` in channels as it is.
    has_literal_database: bool,
}

impl KombuNames {
    pub(crate) fn new(prefix: &str, database: i64, is_sentinel: bool) -> Self {
        Self {
            prefix: prefix.to_owned(),
            database,
            has_literal_database: is_sentinel,
        }
    }

    /// Returns the list of a queue that is sent to, that of priority 0, which workers take from first.
    pub(crate) fn queue(&self, queue: &str) -> String {
        format!("{}{queue}", self.prefix)
    }

    /// Returns all lists of a queue in the order in which workers take from them: a message that others sent or a
    /// worker put back may be in any.
    pub(crate) fn queue_lists(&self, queue: &str) -> [String; 4] {
        let first = self.queue(queue);
        let lower = |priority: u8| format!("{first}{SEPARATOR}{priority}");
        [first.clone(), lower(3), lower(6), lower(9)]
    }

    /// Returns the hash of what workers have taken and not acknowledged, of all queues of the database together.
    pub(crate) fn unacked(&self) -> String {
        format!("{}unacked", self.prefix)
    }

    /// Returns the keys that a result may have, which are the channels of its changes as well.
    pub(crate) fn result_keys(&self, id: &MessageId) -> Vec<String> {
        let key = |prefix: &String| format!("{prefix}{RESULT}{id}");
        self.result_prefixes().iter().map(key).collect()
    }

    /// Returns the patterns of all channels of results.
    pub(crate) fn result_patterns(&self) -> Vec<String> {
        let pattern = |prefix: &String| format!("{}{RESULT}*", escape_pattern(prefix));
        self.result_prefixes().iter().map(pattern).collect()
    }

    /// Says whether a channel is that of a result.
    pub(crate) fn is_result_channel(&self, channel: &str) -> bool {
        let is_after = |prefix: &String| {
            channel
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.starts_with(RESULT))
        };
        self.result_prefixes().iter().any(is_after)
    }

    /// What is before the keys of results: Celery adds an underscore to the prefix, which newer versions leave out where
    /// it ends in a separator already.
    fn result_prefixes(&self) -> Vec<String> {
        let prefix = &self.prefix;
        if prefix.is_empty() {
            return vec![String::new()];
        }
        let mut prefixes = vec![format!("{prefix}_")];
        if prefix.ends_with([':', '_', '-', '.']) {
            prefixes.push(prefix.clone());
        }
        prefixes
    }

    /// Returns the patterns of the channels of events.
    pub(crate) fn event_patterns(&self) -> Vec<String> {
        let prefix = escape_pattern(&self.prefix);
        self.databases()
            .iter()
            .map(|database| format!("{prefix}/{database}.celeryev/*"))
            .collect()
    }

    /// Returns the channels on which workers hear control requests: the exchange is a fanout, so there is no list.
    pub(crate) fn control_channels(&self) -> Vec<String> {
        self.databases()
            .iter()
            .map(|database| format!("{}/{database}.{CONTROL_EXCHANGE}", self.prefix))
            .collect()
    }

    /// Returns the set that workers read to find the list of a reply.
    pub(crate) fn reply_bindings(&self) -> String {
        format!("{}_kombu.binding.{REPLY_EXCHANGE}", self.prefix)
    }

    /// Returns the list to which workers reply, by the id of the one who asked.
    pub(crate) fn reply_list(&self, asker: &str) -> String {
        format!("{}{}", self.prefix, reply_queue(asker))
    }

    fn databases(&self) -> Vec<String> {
        let mut databases = vec![self.database.to_string()];
        if self.has_literal_database {
            databases.push("{db}".to_owned());
        }
        databases
    }
}

/// Returns the entry of the set of bindings for one who asks: routing key, pattern, queue. It has no key prefix.
pub(crate) fn reply_binding(asker: &str) -> String {
    format!("{asker}{SEPARATOR}{SEPARATOR}{}", reply_queue(asker))
}

fn reply_queue(asker: &str) -> String {
    format!("{asker}.{REPLY_EXCHANGE}")
}

/// Returns a text as a pattern that matches it alone.
fn escape_pattern(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_a_list_for_each_step_of_priority_with_zero_first() {
        let names = KombuNames::new("", 0, false);
        assert_eq!(
            names.queue_lists("q"),
            ["q", "q\u{6}\u{16}3", "q\u{6}\u{16}6", "q\u{6}\u{16}9"]
        );
    }

    #[test]
    fn channels_carry_the_database_of_the_broker() {
        let names = KombuNames::new("", 2, false);
        assert_eq!(names.control_channels(), ["/2.celery.pidbox"]);
        assert_eq!(names.event_patterns(), ["/2.celeryev/*"]);
    }

    #[test]
    fn behind_sentinel_older_workers_have_the_placeholder_in_their_channels() {
        let names = KombuNames::new("", 2, true);
        assert_eq!(names.control_channels(), ["/2.celery.pidbox", "/{db}.celery.pidbox"]);
        assert_eq!(names.event_patterns(), ["/2.celeryev/*", "/{db}.celeryev/*"]);
    }

    #[test]
    fn a_global_prefix_is_before_every_key_and_channel_and_matches_itself_alone() {
        let names = KombuNames::new("a*:", 0, false);
        assert_eq!(names.queue_lists("q")[3], "a*:q\u{6}\u{16}9");
        assert_eq!(names.unacked(), "a*:unacked");
        assert_eq!(names.event_patterns(), ["a\\*:/0.celeryev/*"]);
        assert_eq!(names.control_channels(), ["a*:/0.celery.pidbox"]);
        assert_eq!(names.reply_bindings(), "a*:_kombu.binding.reply.celery.pidbox");
        assert_eq!(names.reply_list("me"), "a*:me.reply.celery.pidbox");
        assert_eq!(reply_binding("me"), "me\u{6}\u{16}\u{6}\u{16}me.reply.celery.pidbox");
    }

    #[test]
    fn keys_of_results_have_an_underscore_after_the_prefix_where_a_version_adds_one() {
        let id = MessageId::generate();
        let keys = |prefix: &str| KombuNames::new(prefix, 0, false).result_keys(&id);
        assert_eq!(keys(""), [format!("celery-task-meta-{id}")]);
        assert_eq!(keys("a"), [format!("a_celery-task-meta-{id}")]);
        let both = [format!("a:_celery-task-meta-{id}"), format!("a:celery-task-meta-{id}")];
        assert_eq!(keys("a:"), both);
        let names = KombuNames::new("a*:", 0, false);
        assert_eq!(
            names.result_patterns(),
            ["a\\*:_celery-task-meta-*", "a\\*:celery-task-meta-*"]
        );
        assert!(names.is_result_channel("a*:celery-task-meta-x"));
        assert!(names.is_result_channel("a*:_celery-task-meta-x"));
        assert!(!names.is_result_channel("celery-task-meta-x"));
        assert!(!names.is_result_channel("ab:celery-task-meta-x"));
    }
}
