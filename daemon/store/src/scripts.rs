//! The scripts: one a transition, each linked with what it uses of the library. Arguments are sent as pairs of name and value.

mod link;

use std::sync::LazyLock;

use redis::Script;

use self::link::Linker;

static LINKER: LazyLock<Linker> = LazyLock::new(Linker::new);

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(&LINKER.link(include_str!(concat!("lua/", $file, ".lua")))));)*

        /// Lists every script. The store loads all of them at its start, so that the first use of one costs no more than
        /// the next.
        pub fn list_all() -> Vec<&'static Script> {
            vec![$(&*$name),*]
        }

        /// The names of the scripts, in the same order.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// The linked texts of the scripts, in the same order.
        #[cfg(test)]
        pub fn link_all() -> Vec<String> {
            vec![$(LINKER.link(include_str!(concat!("lua/", $file, ".lua")))),*]
        }
    };
}

scripts! {
    HIT = "stage/hit";
    SUBMIT = "stage/submit";
    EXPLAIN = "stage/explain";
    CLAIM = "stage/claim";
    HEARTBEAT = "stage/heartbeat";
    FINISH = "stage/finish";
    RELEASE = "stage/release";
    CANCEL = "stage/cancel";
    DELETE = "task/delete";
    REAP = "stage/reap";
    REPAIR = "stage/repair";
    ADOPT = "foreign/adopt";
    NEWS = "foreign/news";
    NOTE = "foreign/note";
    ADD_EXTERNAL_SUBSCRIBER = "foreign/add_external_subscriber";
    LIST_EXTERNAL_SUBSCRIPTIONS = "foreign/list_external_subscriptions";
    GIVE_UP = "foreign/give_up";
    FIND_FOREIGN = "foreign/find";
    LIST = "task/list";
    TOTALS = "task/totals";
    EXPIRE = "task/expire";
    QUEUE = "stage/queue";
    GAUGES = "stage/gauges";
    HOLDING = "stage/holding";
    DISPATCH = "stage/dispatch";
    DISPATCH_NOTE = "stage/dispatch_note";
    DISPATCH_LINGER = "stage/dispatch_linger";
    DISPATCH_FORGET = "stage/dispatch_forget";
    DISPATCH_LIST = "stage/dispatch_list";
    REQUEUE = "stage/requeue";
    REROUTE = "stage/reroute";
    NOTE_MINUTE = "system/note_minute";
    READ_MINUTES = "system/read_minutes";
    OUTBOX_TAKE = "outbox/outbox_take";
    OUTBOX_TELL = "outbox/outbox_tell";
    OUTBOX_BODY = "outbox/outbox_body";
    OUTBOX_DONE = "outbox/outbox_done";
    OUTBOX_REDELIVER = "outbox/outbox_redeliver";
    OUTBOX_RELEASE = "outbox/outbox_release";
    OUTBOX_REPAIR = "outbox/outbox_repair";
    UPLOAD_TAKE = "upload/upload_take";
    UPLOAD_NOTE = "upload/upload_note";
    UPLOAD_LATER = "upload/upload_later";
    UPLOAD_DONE = "upload/upload_done";
    UPLOAD_FORGET = "upload/upload_forget";
    DELIVERIES = "outbox/deliveries";
    MEND = "stage/mend";
    MEND_DELIVERY = "outbox/mend_delivery";
    DELIVERY = "outbox/delivery";
    COLLECTABLE = "task/collectable";
    COLLECTED = "task/collected";
    DIRECTORY = "directory/directory";
    DIRECTORY_LEAVE = "directory/directory_leave";
    VIDEO_ADD = "video/video_add";
    VIDEO_START = "video/video_start";
    VIDEO_SAVE = "video/video_save";
    VIDEO_DELETE = "video/video_delete";
    VIDEO_LIST = "video/video_list";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Functions that a hit may create.
    const FEW: usize = 30;

    fn count_functions(text: &str) -> usize {
        text.lines().filter(|line| line.starts_with("local function ")).count()
    }

    #[expect(clippy::print_stdout, reason = "the figures show which script has become heavier")]
    #[test]
    fn a_hit_creates_few_functions_and_none_of_callbacks_or_views() {
        let linked: Vec<_> = NAMES.iter().zip(link_all()).collect();
        for (name, text) in &linked {
            println!("{name:<28} {:>3} functions", count_functions(text));
        }
        let text_of = |name: &str| &linked.iter().find(|(known, _)| **known == name).unwrap().1;
        let hit = text_of("HIT");
        assert!(count_functions(hit) <= FEW, "{}", count_functions(hit));
        for helper in [
            "add_delivery",
            "drop_damaged_fields",
            "build_summary_parts",
            "update_record",
        ] {
            assert!(!hit.contains(&format!("function {helper}(")), "a hit links {helper}");
        }
        assert!(!text_of("SUBMIT").contains("function read_task_view("));
    }
}
