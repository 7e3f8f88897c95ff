//! The order that the code keeps: which module may name which, and that no two types have one name. The tables below
//! say how it is meant, and list what does not keep to it yet; those lists may only become shorter. Tests read the
//! sources and fail where an arrow goes up that is not listed, and where a listed one is not there any more: their
//! messages have the line to add or to take off. A new module gets a place in its order above what it names.

mod layers;
pub(crate) mod sources;
mod types;

use layers::{
    Border, LayerOrder, Siblings, find_backward_arrows, find_calls_between, find_crossings, find_other_dependencies,
};
use sources::{SourceModule, SourceTree, read_modules, workspace_root};
use types::find_types_defined_twice;

/// The crates of the workspace, and with which others each is built.
const CRATES: [(&str, &[&str]); 13] = [
    ("common/types", &[]),
    ("daemon/limits", &[]),
    ("daemon/celery", &["common/types", "daemon/limits"]),
    ("tests/fuzz", &[]),
    ("common/catalog", &["common/types"]),
    ("common/wire", &["common/catalog", "common/types"]),
    (
        "daemon/run",
        &["common/catalog", "common/types", "common/wire", "daemon/limits"],
    ),
    ("daemon/store", &["common/types", "common/wire", "daemon/limits"]),
    ("tests", &["common/catalog", "common/types", "common/wire"]),
    ("tui", &["common/catalog", "common/types", "common/wire"]),
    (
        "daemon/nodes",
        &[
            "common/catalog",
            "common/types",
            "common/wire",
            "daemon/limits",
            "daemon/run",
        ],
    ),
    ("daemon/process", &["common/types", "daemon/limits", "daemon/run"]),
    (
        "daemon/server",
        &[
            "common/catalog",
            "common/types",
            "common/wire",
            "daemon/celery",
            "daemon/limits",
            "daemon/nodes",
            "daemon/process",
            "daemon/run",
            "daemon/store",
        ],
    ),
];

const ORDERS: [LayerOrder; 15] = [
    LayerOrder {
        within: "common/types",
        modules: &[
            "toml_text",
            "url_path",
            "time",
            "humane",
            "shorten",
            "causes",
            "object",
            "text_file",
            "runner",
            "spans",
            "ids",
            "problem",
            "status",
            "suggest",
            "keys",
        ],
        backward: &[],
    },
    LayerOrder {
        within: "common/catalog",
        modules: &[
            "runner",
            "shipped",
            "variant",
            "pipeline",
            "completion",
            "profile",
            "parameter",
            "unknown",
            "every",
            "schema",
            "queue",
        ],
        backward: &[],
    },
    LayerOrder {
        within: "common/wire",
        modules: &[
            "deletion",
            "nodes",
            "videos",
            "address",
            "links",
            "warnings",
            "event",
            "files",
            "logs",
            "machine",
            "clock",
            "results",
            "runs",
            "tasks",
            "rows",
            "workers",
            "command_line",
            "token",
            "client",
        ],
        backward: &[],
    },
    LayerOrder {
        within: "daemon/run",
        modules: &["error", "paths", "log", "warnings", "tool", "context", "fixture"],
        backward: &[],
    },
    LayerOrder {
        within: "daemon/store",
        modules: &[
            "transport",
            "turns",
            "task_memory",
            "links",
            "keyspace",
            "subscription",
            "scripts",
            "args",
            "reply",
            "record",
            "history",
            "task_snapshot",
            "statistics",
            "task_read",
            "connection",
            "disk",
            "observe",
            "minutes",
            "videos",
            "outbox",
            "runs",
            "dispatch",
            "decide",
            "hits",
            "directories",
            "tasks",
            "rows",
            "mend",
            "reach",
            "foreign",
            "uploads",
            "memory",
        ],
        backward: &[],
    },
    LayerOrder {
        within: "daemon/celery",
        modules: &[
            "message_id",
            "settings",
            "error",
            "names",
            "kombu",
            "envelope",
            "result",
            "event",
            "control",
            "redis_link",
            "worker_lock",
            "search",
            "broadcast",
            "follow",
            "client",
        ],
        backward: &[],
    },
    LayerOrder {
        within: "daemon/nodes",
        modules: &[
            "input",
            "similarity",
            "spoken",
            "timed_text",
            "transcript",
            "subtitles",
            "cue_list",
            "diarization",
            "speech",
            "ffmpeg",
            "paddleocr",
            "llm",
        ],
        backward: &[],
    },
    LayerOrder {
        within: "daemon/process",
        modules: &[
            "environment",
            "init",
            "sweep",
            "reaper",
            "lines",
            "guard",
            "spawned",
            "served",
            "programs",
        ],
        backward: &[],
    },
    LayerOrder {
        within: "daemon/server",
        modules: &[
            "blocking",
            "shared_body",
            "ssrf_guard",
            "python",
            "data_dir",
            "machine_load",
            "private_redis",
            "readiness",
            "events",
            "config",
            "objects",
            "metrics",
            "warm",
            "logging",
            "tenure",
            "evidence",
            "downloads",
            "services",
            "webhooks",
            "gpu_lock",
            "run_wait",
            "dispatch",
            "executor",
            "uploads",
            "gc",
            "console",
            "catalog",
            "access",
            "pipelines",
            "http",
            "app",
            "commands",
        ],
        backward: &[],
    },
    LayerOrder {
        within: "tui",
        modules: &[
            "key",
            "glyphs",
            "figures",
            "layout",
            "theme",
            "log_file",
            "clipboard",
            "images",
            "pointer",
            "model",
            "kept_view",
            "actions",
            "view",
            "paint",
            "update",
            "notify",
            "settings",
            "record",
            "feed",
            "driver",
            "cli",
        ],
        backward: &[],
    },
    LayerOrder {
        within: "tui::model",
        modules: &[
            "page",
            "link",
            "access",
            "pointer",
            "return_point",
            "reads",
            "trail",
            "log",
            "log_view",
            "list",
            "preview",
            "row",
            "stage",
            "watch",
            "pipeline",
            "task",
            "estimate",
            "task_log",
            "past",
            "store",
            "part_failures",
            "timeline",
            "compare",
            "filter",
            "sort",
            "tree",
            "totals",
            "json_tree",
            "detail",
            "deliveries",
            "secrets",
            "difference",
            "palette",
            "copy_menu",
            "dialog",
            "outcome",
            "observed",
            "workers",
            "events",
            "commands",
            "form",
            "drafts",
            "nodes",
            "register",
            "videos",
            "wake",
        ],
        backward: &[],
    },
    LayerOrder {
        within: "tui::view",
        modules: &[
            "text",
            "block",
            "frame",
            "line",
            "list_page",
            "warned",
            "pipeline",
            "reasons",
            "card",
            "graph",
            "tabs",
            "events",
            "empty",
            "past",
            "header",
            "footer",
            "callbacks",
            "queues",
            "machine",
            "workers",
            "commands",
            "nodes",
            "videos",
            "reuse",
            "form",
            "register",
            "task_detail",
            "timeline",
            "compare",
            "log_pane",
            "json_tree",
            "preview",
            "detail",
            "tree",
            "video_dialogs",
            "rerun",
            "sort",
            "review",
            "palette",
            "copy_menu",
            "dialogs",
            "hit",
        ],
        backward: &[],
    },
    LayerOrder {
        within: "tui::update",
        modules: &[
            "messages",
            "estimates",
            "line",
            "stage_log",
            "json",
            "shell",
            "copy",
            "pager",
            "requests",
            "task_log",
            "preview",
            "cursor",
            "sentences",
            "past",
            "reveal",
            "timeline",
            "compare",
            "filter_line",
            "sort",
            "detail",
            "pipelines",
            "observed",
            "commands",
            "watch",
            "rows",
            "callbacks",
            "nodes",
            "videos",
            "register",
            "video_actions",
            "queues",
            "machine",
            "workers",
            "events",
            "rerun",
            "edit",
            "palette",
            "tabs",
            "restore",
            "feed",
            "time",
            "replies",
            "dialog",
            "keys",
            "mouse",
        ],
        backward: &[],
    },
    LayerOrder {
        within: "tui::driver",
        modules: &[
            "hang_up",
            "ends",
            "pictures",
            "terminal",
            "job",
            "play",
            "scheduler",
            "result_files",
            "announce",
            "editor",
            "effects",
            "backdrop",
        ],
        backward: &[],
    },
    LayerOrder {
        within: "tui::cli",
        modules: &[
            "failure",
            "connect",
            "terminal",
            "out",
            "table",
            "complete",
            "args",
            "completions",
            "keys",
            "man",
            "select",
            "bulk",
            "waits",
            "follow",
            "watch",
            "tasks",
            "tree",
            "show",
            "log",
            "nodes",
            "videos",
            "files",
            "register",
            "submit",
            "resubmit",
            "cancel",
            "delete",
            "callbacks",
            "explain",
            "queues",
            "workers",
            "check",
            "replay",
            "folder",
            "run",
            "snapshot",
        ],
        backward: &[],
    },
];

/// A handler asks a service; it holds no store.
const HANDLERS: Border = Border {
    from: "daemon/server::http",
    hidden: &["daemon/store"],
    open: &[],
    fields: &["store"],
    crossed: &[],
};

/// The dashboard's model does not know how it is drawn, changed or fed.
const DASHBOARD_MODEL: Border = Border {
    from: "tui::model",
    hidden: &["tui::view", "tui::update", "tui::feed", "tui::driver", "tui::cli"],
    open: &[],
    fields: &[],
    crossed: &[],
};

/// Pages of the dashboard call what pages share, never each other.
const PAGES: Siblings = Siblings {
    within: "tui::update",
    modules: &[
        "rows",
        "callbacks",
        "nodes",
        "videos",
        "register",
        "video_actions",
        "timeline",
        "compare",
        "queues",
        "machine",
        "workers",
        "events",
        "preview",
    ],
    crossed: &[],
};

/// Types that more than one module defines for others, and how many do.
const TYPES_DEFINED_TWICE: [(&str, usize); 0] = [];

fn read_workspace(crates: &[&str]) -> Vec<SourceModule> {
    read_modules(&SourceTree::read(&workspace_root()), crates)
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Fails unless the modules of the crates below a folder keep to each order within them.
fn assert_orders_below(folder: &str) {
    let crates: Vec<&str> = CRATES
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| name.starts_with(folder))
        .collect();
    let modules = read_workspace(&crates);
    let orders = ORDERS.iter().filter(|order| order.within.starts_with(folder));
    assert_none(
        &orders
            .flat_map(|order| find_backward_arrows(&modules, order))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn crates_are_built_with_those_below_them_alone() {
    assert_none(&find_other_dependencies(&SourceTree::read(&workspace_root()), &CRATES));
}

#[test]
fn no_arrow_goes_up_in_the_crates_that_both_programs_share() {
    assert_orders_below("common");
}

#[test]
fn no_arrow_goes_up_in_the_daemon() {
    assert_orders_below("daemon");
}

#[test]
fn no_arrow_goes_up_in_the_dashboard() {
    assert_orders_below("tui");
}

#[test]
fn handlers_do_not_see_the_store() {
    let modules = read_workspace(&["daemon/server"]);
    assert_none(&find_crossings(&modules, &HANDLERS));
}

#[test]
fn the_dashboards_model_does_not_see_its_view_and_its_pages_do_not_see_each_other() {
    let modules = read_workspace(&["tui"]);
    assert_none(
        &[
            find_crossings(&modules, &DASHBOARD_MODEL),
            find_calls_between(&modules, &PAGES),
        ]
        .concat(),
    );
}

#[test]
fn no_type_has_the_name_of_another() {
    assert_none(&find_types_defined_twice(&read_workspace(&[]), &TYPES_DEFINED_TWICE));
}
