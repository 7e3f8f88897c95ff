//! Any number of tasks: the daemon reads them out in short, and the dashboard shows, filters and sorts all of them.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use onceover_tests::{
    Daemon, RedisServer,
    http_proxy::HttpProxy,
    screen::{Dashboard, row_with},
};
use onceover_types::StageState;
use onceover_wire::{
    TaskItem, TaskRow,
    client::{Client, TaskQuery},
};
use redis::AsyncCommands;
use serde_json::json;
use termlens::Key;

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";

/// Reads all rows in pages of so many.
async fn read_rows(daemon: &Daemon, limit: u32) -> Vec<TaskRow> {
    let mut rows = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = daemon.client.rows(limit, cursor.as_deref()).await.expect("a page");
        assert!(page.rows.len() <= limit as usize);
        rows.extend(page.rows);
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => return rows,
        }
    }
}

/// Checks that the last row of the task says what the list says, as far as a row goes.
#[track_caller]
fn assert_row_is(rows: &[TaskRow], item: TaskItem) {
    let row = rows.iter().rfind(|row| row.task_id == item.task_id).expect("its row");
    let expected = TaskItem {
        task_name: None,
        disk_bytes: 0,
        ..item
    };
    assert_eq!(row.clone().into_item(), expected);
}

/// Submits so many tasks that wait, the first of which runs.
async fn submit_waiting(daemon: &Daemon, count: usize) {
    for first in (0..count).step_by(100) {
        let tasks: Vec<_> = (first..count.min(first + 100))
            .map(|n| json!({"task_name": WAIT, "task_id": format!("wait-{n:04}"), "input_data": {"until": "go"}}))
            .collect();
        let answer = daemon.post("/v1/tasks/batch", json!({ "tasks": tasks })).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn tui05_rows_are_every_task_with_what_runs_and_waits_first() {
    let daemon = Daemon::start().await;
    for task in ["wait-0000", "wait-0001", "wait-0002"] {
        daemon.submit(task, WAIT, json!({"until": "go"})).await;
        if task == "wait-0000" {
            daemon.until(task, WAIT, StageState::Running).await;
        }
    }
    for n in 0..4 {
        daemon.done(&format!("done-{n}"), ECHO, json!({"value": n})).await;
    }
    let listed = daemon.client.tasks(&TaskQuery::default()).await.expect("a list").items;
    for limit in [1, 3, 500] {
        let rows = read_rows(&daemon, limit).await;
        let first: Vec<_> = rows.iter().take(3).map(|row| row.task_id.as_str()).collect();
        assert_eq!(first, ["wait-0000", "wait-0002", "wait-0001"], "pages of {limit}");
        let names = |ids: Vec<String>| ids.into_iter().collect::<BTreeSet<_>>();
        let ids = rows.iter().map(|row| row.task_id.to_string()).collect();
        let known = listed.iter().map(|item| item.task_id.to_string()).collect();
        assert_eq!(names(ids), names(known), "pages of {limit}");
    }
    // What runs moves on between the list and the rows.
    let stays = |item: &TaskItem| item.task_id.as_str() != "wait-0000";
    let rows = read_rows(&daemon, 500).await;
    for item in listed.into_iter().filter(stays) {
        assert_row_is(&rows, item);
    }
    daemon.release("go");
}

#[tokio::test]
async fn tui05_what_other_workers_do_is_in_the_rows_as_in_the_list() {
    let server = RedisServer::start(&[]).await;
    let daemon = Daemon::builder().redis(&server.url(0)).start().await;
    daemon.done("own", ECHO, json!({})).await;
    let mut redis = daemon.redis().await;
    for (task, status) in [("runs", "IN_PROGRESS"), ("ended", "SUCCESS"), ("own", "IN_PROGRESS")] {
        let stage =
            json!({"status": status, "input_params": {}, "output": {"value": 7}, "error": null, "duration": 2.0});
        let body = json!({"workflow_id": task, "input_params": {"task_name": "test.file", "input_data": {},
            "callback_url": null}, "stages": {"test.file": stage}});
        let key = format!("{task}:node:test.file");
        let _: () = redis
            .set_ex(key, body.to_string(), 86_400)
            .await
            .expect("Redis answers");
    }
    let output = daemon.command().arg("import").output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let listed = daemon.client.tasks(&TaskQuery::default()).await.expect("a list").items;
    assert_eq!(listed.len(), 3);
    let rows = read_rows(&daemon, 500).await;
    for item in listed {
        assert_row_is(&rows, item);
    }
}

#[tokio::test]
async fn a_row_names_the_damage_that_the_list_names() {
    let daemon = Daemon::start().await;
    daemon.done("own", ECHO, json!({})).await;
    let mut redis = daemon.redis().await;
    let _: () = redis
        .hset("onceover:task:own", "callback_status", "perhaps")
        .await
        .expect("Redis answers");
    let listed = daemon.client.tasks(&TaskQuery::default()).await.expect("a list").items;
    let rows = read_rows(&daemon, 500).await;
    assert_eq!(listed[0].damaged.as_deref(), Some("callback_status"));
    assert_eq!(rows[0].damaged, listed[0].damaged);
}

#[tokio::test]
async fn rows_that_redis_refuses_to_read_are_an_error_and_no_damage() {
    let server = RedisServer::start(&[]).await;
    let daemon = Daemon::builder().redis(&server.url(0)).start().await;
    daemon.done("own", ECHO, json!({})).await;
    let mut redis = daemon.redis().await;
    for (rule, is_read) in [("-hmget", false), ("+hmget", true)] {
        let mut acl = redis::cmd("ACL");
        acl.arg("SETUSER").arg("default").arg(rule);
        let _: () = acl.query_async(&mut redis).await.expect("Redis answers");
        let answer = daemon.get("/v1/rows").await;
        assert_eq!(answer.status == 200, is_read, "{rule}: {answer:?}");
    }
}

#[tokio::test]
async fn a_page_of_rows_comes_compressed_and_says_the_same() {
    let daemon = Daemon::start().await;
    let proxy = HttpProxy::start(&daemon.url()).await;
    submit_waiting(&daemon, 60).await;
    daemon.until("wait-0000", WAIT, StageState::Running).await;
    let page = Client::new(&proxy.url()).rows(500, None).await.expect("a page");
    let encodings: Vec<_> = proxy
        .passed("/v1/rows")
        .into_iter()
        .map(|answer| answer.encoding)
        .collect();
    assert_eq!(encodings, [Some("gzip".to_owned())]);
    let direct = daemon.get("/v1/rows").await.json();
    let ids = page.rows.iter().map(|row| row.task_id.as_str());
    let plain = direct["rows"].as_array().expect("rows");
    assert!(ids.eq(plain.iter().map(|row| row["task_id"].as_str().expect("an id"))));
    daemon.release("go");
}

#[tokio::test]
async fn rows_of_nothing_are_one_empty_page() {
    let daemon = Daemon::start().await;
    let page = daemon.get("/v1/rows").await.json();
    assert_eq!(page["rows"], json!([]));
    assert_eq!(page["next_cursor"], json!(null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui05_every_task_of_more_than_a_page_is_on_the_screen() {
    const TASKS: usize = 1_300;
    let daemon = Daemon::start().await;
    submit_waiting(&daemon, TASKS).await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows(&format!("Tasks {TASKS}"));
    // Those that were submitted first are at the end.
    dashboard.press('G');
    dashboard.until(|screen| screen.contains(&format!("{TASKS}/{TASKS}")) && screen.contains("wait-00"));
    daemon.release("go");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui18_a_filter_and_a_sorted_column_of_the_running_program() {
    let daemon = Daemon::start().await;
    for name in ["beta", "alpha", "gamma"] {
        daemon.done(name, ECHO, json!({"value": name})).await;
    }
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows("Tasks 3");
    dashboard.press('C');
    let line_of = |screen: &termlens::Screen, text: &str| screen.text().lines().position(|line| line.contains(text));
    let are_in_order = |screen: &termlens::Screen, names: [&str; 3]| {
        let lines = names.map(|name| line_of(screen, &format!("▸ {name}")));
        lines.iter().all(Option::is_some) && lines.is_sorted()
    };
    // Sorted by id, and the same again reverses.
    dashboard.press('S');
    dashboard.shows("Sort by");
    dashboard.press('i');
    dashboard.until(|screen| screen.contains("TASK / STAGE↓") && are_in_order(screen, ["alpha", "beta", "gamma"]));
    dashboard.press('S');
    dashboard.press('i');
    dashboard.until(|screen| screen.contains("TASK / STAGE↑") && are_in_order(screen, ["gamma", "beta", "alpha"]));
    dashboard.press('/');
    dashboard.type_text("node:*echo* and not (id:beta or duration>1h)");
    dashboard.until(|screen| screen.contains("Tasks 2 of 3"));
    // What is wrong has a caret under it, and the former result stays.
    dashboard.type_text(" (");
    let wrong = dashboard.until(|screen| screen.contains("something is missing here"));
    assert!(wrong.contains("Tasks 2 of 3"), "{}", wrong.text());
    let text = wrong.text();
    let lines: Vec<_> = text.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.contains("duration>1h) ("))
        .expect("the filter");
    let column = |line: &str, text: &str| line.find(text).map(|at| line[..at].chars().count());
    let after = lines[at].trim_end().chars().count();
    assert_eq!(column(lines[at + 1], "^"), Some(after), "{text}");
    dashboard.send(Key::Esc);
    dashboard.until(|screen| row_with(screen, "beta").is_some());
}

/// Milliseconds of processor time that a process has used.
fn used_ms(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let ticks: Vec<u64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse().expect("ticks"))
        .collect();
    (ticks[0] + ticks[1]) * 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui06_nothing_is_drawn_while_nothing_changes() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({})).await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.until(|screen| row_with(screen, ECHO).is_some_and(|row| row.contains("✔ done")));
    let pid = dashboard.pid();
    // What the start has brought is on the screen.
    let mut drawn = dashboard.screen().repaints();
    let begun = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = dashboard.screen().repaints();
        if now == drawn {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it draws though nothing changes"
        );
        drawn = now;
    }
    let used = used_ms(pid);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(dashboard.screen().repaints(), drawn, "frames while nothing changes");
    // The build for tests needs many times more than the program that is used; `make bench-tui` measures that one.
    let used = used_ms(pid) - used;
    assert!(used <= 300, "{used} ms of processor time in 10 s");
}
