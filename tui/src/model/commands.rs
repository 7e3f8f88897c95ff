//! The actions of this session, each as the command that does the same.

use std::collections::VecDeque;

use onceover_types::Timestamp;

use super::list::List;

/// Commands that are kept.
const MOST_COMMANDS: usize = 500;
/// Characters that are kept of a command: a request can be long.
const MOST_CHARS: usize = 8_192;

/// One action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoneCommand {
    /// The number of its request.
    pub id: u64,
    pub at: Timestamp,
    /// The `onceover` command; `None` where there is none for it.
    pub command: Option<String>,
    /// The same with curl. Without the token, which belongs into no list.
    pub curl: String,
}

/// The newest actions.
#[derive(Debug, Default)]
pub struct CommandLog {
    /// Newest first.
    items: VecDeque<DoneCommand>,
    pub list: List<u64>,
}

impl CommandLog {
    /// Keeps an action. What was kept longest goes.
    pub fn add(&mut self, mut done: DoneCommand) {
        // A command that is cut does something else.
        done.command = done.command.filter(|text| text.len() <= MOST_CHARS);
        if done.curl.len() > MOST_CHARS {
            done.curl = done.curl.chars().take(100).collect::<String>() + " … (too long to be kept)";
        }
        self.items.truncate(MOST_COMMANDS - 1);
        self.items.push_front(done);
        let is_at_newest = self.list.index() == 0;
        self.list.set(self.items.iter().map(|item| item.id).collect());
        if is_at_newest {
            self.list.go(0);
        }
    }

    pub fn get(&self, id: u64) -> Option<&DoneCommand> {
        self.items.iter().find(|item| item.id == id)
    }

    pub fn at_cursor(&self) -> Option<&DoneCommand> {
        self.items.get(self.list.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_none_is_cut_into_another_command() {
        let mut log = CommandLog::default();
        for id in 0..MOST_COMMANDS as u64 + 5 {
            log.add(DoneCommand {
                id,
                at: Timestamp::from_millis(0),
                command: Some("x".repeat(MOST_CHARS + 1)),
                curl: "y".repeat(MOST_CHARS + 1),
            });
        }
        assert_eq!(log.list.keys().len(), MOST_COMMANDS);
        let newest = log.at_cursor().unwrap();
        assert_eq!((newest.id, &newest.command), (MOST_COMMANDS as u64 + 4, &None));
        assert!(newest.curl.ends_with("(too long to be kept)"));
    }
}
