//! The scripts: one a transition, each with what all share before it. Arguments go as pairs of name and value.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($name:ident = $($file:literal)+;)*) => {
        $(pub static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("lua/prelude.lua"), "\n", include_str!("lua/outbox.lua"), "\n",
                include_str!("lua/ending.lua"), $("\n", include_str!(concat!("lua/", $file, ".lua")),)+))
        });)*

        /// Loads every script, so that the first use of one costs no more than the next.
        pub fn all() -> Vec<&'static Script> {
            vec![$(&*$name),*]
        }

        /// Their names, in the same order.
        #[cfg(test)]
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

scripts! {
    SUBMIT = "view" "foreign" "decide" "submit";
    EXPLAIN = "foreign" "decide" "explain";
    READ = "view" "read";
    CLAIM = "view" "claim";
    BEAT = "beat";
    FINISH = "finish";
    RELEASE = "release";
    CANCEL = "cancel";
    DELETE = "delete";
    REAP = "reap";
    REPAIR = "repair";
    ADOPT = "enter" "adopt";
    NEWS = "foreign" "news";
    NOTE = "enter" "note";
    WATCH = "watch";
    WATCHES = "watches";
    UNWATCH = "foreign" "enter" "unwatch";
    LOOK = "foreign" "look";
    LIST = "list";
    TOTALS = "sweep" "totals";
    EXPIRE = "sweep" "expire";
    QUEUE = "queue";
    GAUGES = "gauges";
    HOLDING = "holding";
    OUTBOX_TAKE = "outbox_take";
    OUTBOX_TELL = "outbox_tell";
    OUTBOX_BODY = "outbox_body";
    OUTBOX_DONE = "outbox_done";
    OUTBOX_REDELIVER = "outbox_redeliver";
    OUTBOX_RELEASE = "outbox_release";
    OUTBOX_REPAIR = "outbox_repair";
    UPLOAD_TAKE = "upload_take";
    UPLOAD_NOTE = "upload_note";
    UPLOAD_LATER = "upload_later";
    UPLOAD_DONE = "upload_done";
    UPLOAD_FORGET = "upload_forget";
    DELIVERIES = "deliveries";
    MEND = "mend";
    MEND_DELIVERY = "mend_delivery";
    DELIVERY = "delivery";
    COLLECTABLE = "view" "collectable";
    COLLECTED = "collected";
    DIRECTORY = "directory_key" "directory";
    DIRECTORY_LEAVE = "directory_key" "directory_leave";
    VIDEO_ADD = "video_add";
    VIDEO_START = "video_start";
    VIDEO_SAVE = "video_save";
    VIDEO_DELETE = "video_delete";
    VIDEO_LIST = "video_list";
}
