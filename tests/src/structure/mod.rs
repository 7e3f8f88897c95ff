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
const CRATES: [(&str, &[&str]); 5] = [
    ("common", &[]),
    ("daemon", &["common"]),
    ("tui", &["common"]),
    ("tests", &["common"]),
    ("tests/fuzz", &[]),
];

const ORDERS: [LayerOrder; 4] = [
    LayerOrder {
        within: "common",
        modules: &[
            "causes",
            "suggest",
            "text_file",
            "toml_text",
            "time",
            "humane",
            "address",
            "command_line",
            "keys",
            "ids",
            "status",
            "problem",
            "wire",
            "event",
            "catalog",
            "pipeline",
            "clock",
            "client",
        ],
        backward: &[("catalog", "pipeline"), ("wire", "catalog")],
    },
    LayerOrder {
        within: "daemon",
        modules: &[
            "console",
            "signals",
            "lack",
            "limits",
            "paths",
            "executor::log",
            "executor::run",
            "executor::warnings",
            "executor::process",
            "environment",
            "init",
            "catalog",
            "python",
            "data_dir",
            "private_redis::memory",
            "config",
            "logging",
            "nodes",
            "store",
            "metrics",
            "hub",
            "tenure",
            "private_redis",
            "access",
            "readiness",
            "catalog::whole",
            "objects",
            "callbacks::guard",
            "executor::download",
            "engine",
            "objects::queue",
            "callbacks",
            "executor",
            "pipeline",
            "gc",
            "api",
            "serve",
            "catalog::command",
            "gc::command",
            "check",
            "import",
        ],
        backward: &[
            ("catalog", "catalog::whole"),
            ("engine", "objects::queue"),
            ("executor::download", "engine"),
            ("executor::process", "environment"),
            ("executor::run", "executor::warnings"),
            ("executor::run", "nodes"),
            ("limits", "api"),
            ("limits", "callbacks"),
            ("limits", "config"),
            ("limits", "engine"),
            ("limits", "executor"),
            ("limits", "executor::download"),
            ("limits", "executor::log"),
            ("limits", "executor::warnings"),
            ("limits", "nodes"),
            ("limits", "paths"),
            ("limits", "store"),
            ("paths", "executor::run"),
            ("store", "metrics"),
        ],
    },
    LayerOrder {
        within: "tui",
        modules: &[
            "key", "glyphs", "theme", "log_file", "model", "actions", "view", "update", "feed", "driver", "cli",
        ],
        backward: &[("actions", "update"), ("model", "view")],
    },
    LayerOrder {
        within: "tui::update",
        modules: &[
            "line",
            "filter_line",
            "rows",
            "callbacks",
            "nodes",
            "videos",
            "register",
            "pipelines",
            "video_actions",
            "time",
            "feed",
            "replies",
            "dialog",
            "keys",
        ],
        backward: &[
            ("callbacks", "keys"),
            ("dialog", "keys"),
            ("nodes", "feed"),
            ("nodes", "keys"),
            ("nodes", "replies"),
            ("pipelines", "feed"),
            ("pipelines", "video_actions"),
            ("register", "keys"),
            ("rows", "keys"),
            ("time", "feed"),
            ("video_actions", "keys"),
            ("videos", "feed"),
            ("videos", "keys"),
            ("videos", "pipelines"),
            ("videos", "replies"),
        ],
    },
];

/// A handler asks the engine; it holds no store.
const HANDLERS: Border = Border {
    from: "daemon::api",
    hidden: &["daemon::store"],
    open: &[],
    fields: &["store"],
    crossed: &[
        ("daemon::api::callbacks", ".store"),
        ("daemon::api::callbacks", "daemon::store::DeliveryFilter"),
        ("daemon::api::events", ".store"),
        ("daemon::api::events", "daemon::store::Store"),
        ("daemon::api::log", ".store"),
        ("daemon::api::metrics", ".store"),
        ("daemon::api::metrics", "daemon::store::StoreError"),
        ("daemon::api::problem", "daemon::store::StoreError"),
        ("daemon::api::system", ".store"),
        ("daemon::api::tasks", ".store"),
        ("daemon::api::tasks", "daemon::store::Page"),
        ("daemon::api::tasks", "daemon::store::TaskFilter"),
        ("daemon::api::videos", ".store"),
    ],
};

/// A node sees its run and the catalog: no Redis, no HTTP but what it brings itself, nothing that starts runs.
const NODES: Border = Border {
    from: "daemon::nodes",
    hidden: &[
        "daemon::access",
        "daemon::api",
        "daemon::callbacks",
        "daemon::engine",
        "daemon::executor",
        "daemon::hub",
        "daemon::metrics",
        "daemon::objects",
        "daemon::pipeline",
        "daemon::readiness",
        "daemon::serve",
        "daemon::store",
    ],
    open: &[
        "daemon::executor::run",
        "daemon::executor::warnings",
        "daemon::executor::log",
        "daemon::executor::process",
    ],
    fields: &[],
    crossed: &[],
};

/// The dashboard's model does not know how it is drawn, changed or fed.
const DASHBOARD_MODEL: Border = Border {
    from: "tui::model",
    hidden: &["tui::view", "tui::update", "tui::feed", "tui::driver", "tui::cli"],
    open: &[],
    fields: &[],
    crossed: &[
        ("tui::model", "tui::view::layout"),
        ("tui::model", "tui::view::layout::callbacks"),
        ("tui::model", "tui::view::layout::nodes"),
        ("tui::model", "tui::view::layout::panes"),
        ("tui::model", "tui::view::layout::videos"),
        ("tui::model::pipeline", "tui::view::figures::percent"),
    ],
};

/// Pages of the dashboard call what pages share, never each other.
const PAGES: Siblings = Siblings {
    within: "tui::update",
    modules: &["rows", "callbacks", "nodes", "videos", "register"],
    crossed: &[("register", "videos")],
};

/// Types that more than one module defines for others, and how many do.
const TYPES_DEFINED_TWICE: [(&str, usize); 54] = [
    ("Answer", 5),
    ("Block", 2),
    ("Change", 2),
    ("Claim", 2),
    ("Clip", 2),
    ("Content", 2),
    ("Cue", 2),
    ("Decoded", 2),
    ("Ends", 2),
    ("Entry", 2),
    ("Event", 2),
    ("Filter", 2),
    ("Form", 2),
    ("Found", 3),
    ("Frame", 2),
    ("Guard", 2),
    ("Hold", 2),
    ("Hub", 2),
    ("Kept", 2),
    ("Key", 2),
    ("Limits", 4),
    ("Line", 3),
    ("Lines", 2),
    ("Look", 2),
    ("Looked", 2),
    ("Missing", 2),
    ("Model", 2),
    ("Nodes", 2),
    ("Note", 2),
    ("Object", 2),
    ("Outcome", 2),
    ("Page", 2),
    ("Patience", 2),
    ("Piece", 3),
    ("Pipelines", 2),
    ("Place", 3),
    ("PrivateRedis", 2),
    ("Question", 4),
    ("Queues", 2),
    ("Reading", 2),
    ("Register", 2),
    ("Reply", 4),
    ("Request", 2),
    ("Runner", 2),
    ("Segment", 2),
    ("Source", 2),
    ("Store", 2),
    ("Subject", 2),
    ("Submit", 2),
    ("Submitted", 2),
    ("Totals", 2),
    ("Tree", 2),
    ("UnderWay", 3),
    ("Videos", 3),
];

fn read_workspace(crates: &[&str]) -> Vec<SourceModule> {
    read_modules(&SourceTree::read(&workspace_root()), crates)
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Fails unless the modules of a crate keep to each order within it.
fn assert_order_of(folder: &str) {
    let modules = read_workspace(&[folder]);
    let orders = ORDERS
        .iter()
        .filter(|order| order.within.split("::").next() == Some(folder));
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
fn no_arrow_goes_up_in_the_crate_that_both_programs_share() {
    assert_order_of("common");
}

#[test]
fn no_arrow_goes_up_in_the_daemon() {
    assert_order_of("daemon");
}

#[test]
fn no_arrow_goes_up_in_the_dashboard() {
    assert_order_of("tui");
}

#[test]
fn handlers_do_not_see_the_store_and_nodes_do_not_see_what_runs_them() {
    let modules = read_workspace(&["daemon"]);
    assert_none(&[find_crossings(&modules, &HANDLERS), find_crossings(&modules, &NODES)].concat());
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
