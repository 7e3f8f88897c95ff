//! No callback opens a connection to an address that is not allowed, however it is spelled (14).

use std::{fs, net::IpAddr};

use onceover_tests::{
    Daemon,
    daemon::task_id,
    hooks::{Hook, HookReply, Trap},
    until_equal,
};
use onceover_types::CallbackStatus;
use onceover_wire::ReuseMode;
use serde_json::json;

const ECHO: &str = "test.echo";

/// The guard's own corpus.
pub fn forbidden() -> Vec<&'static str> {
    include_str!("../../daemon/server/src/ssrf_guard/forbidden.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// Names of this machine's hosts file that lead to it, other than localhost: what the resolver is asked about.
fn own_names() -> Vec<String> {
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let mut names = Vec::new();
    for line in hosts.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(IpAddr::V4(ip))) = words.next().map(str::parse) else {
            continue;
        };
        if ip.is_loopback() || ip.is_private() || ip.is_link_local() {
            names.extend(words.filter(|name| !name.contains("localhost")).map(str::to_owned));
        }
    }
    names
}

async fn failed(daemon: &Daemon, task: &str) {
    until_equal("the task's callback", Some(CallbackStatus::Failed), || async {
        daemon.client.task(&task_id(task)).await.ok()?.callback_status
    })
    .await;
}

#[tokio::test]
async fn req14_no_spelling_of_a_forbidden_address_is_called() {
    let daemon = Daemon::builder().config("[callbacks]\nschedule = ['0s']").start().await;
    let trap = Trap::set().await;
    daemon.done("t1", ECHO, json!({})).await;
    let corpus = forbidden();
    assert!(corpus.len() >= 80, "{} spellings", corpus.len());
    for host in corpus {
        // A stage that runs, and one that answers at once: neither gets as far as that.
        for task in ["t1", "t2"] {
            let url = format!("http://{host}:{}/hook", trap.port());
            let body = json!({"task_name": ECHO, "task_id": task, "input_data": {}, "callback": url});
            let answer = daemon.post("/v1/tasks", body).await;
            assert_eq!(
                (answer.status, answer.fields()),
                (422, vec!["callback".to_owned()]),
                "{url}"
            );
        }
    }
    // Names are accepted, and refused when they are resolved.
    for (index, name) in own_names().iter().enumerate() {
        let task = format!("name-{index}");
        let url = format!("http://{name}:{}/hook", trap.port());
        let answer = daemon
            .try_submit(&task, ECHO, json!({}), Some(url), ReuseMode::Auto)
            .await;
        answer.expect("a name is judged when it is resolved");
        failed(&daemon, &task).await;
        let records = daemon.get(&format!("/v1/callbacks?task_id={task}")).await.json();
        let detail = records["items"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("callbacks.allow = [\"{name}\"]")), "{detail}");
    }
    assert_eq!(trap.caught(), 0);
    // The trap itself works.
    let url = format!("127.0.0.1:{}", trap.port());
    tokio::net::TcpStream::connect(url).await.unwrap();
    until_equal("the trap", 1, || async { trap.caught() }).await;
}

#[tokio::test]
async fn req14_no_redirect_leads_to_a_forbidden_address() {
    let daemon = Daemon::builder()
        .config("[callbacks]\nallow = ['127.0.0.2']\nschedule = ['0s']")
        .start()
        .await;
    let trap = Trap::set().await;
    let port = trap.port();
    let hook = Hook::start_at("127.0.0.2:0", move |_, request| {
        let status = request.path.trim_start_matches('/').split('/').next();
        let status = status.and_then(|status| status.parse().ok()).unwrap_or(200);
        let host = if request.path.ends_with("name") {
            "localhost"
        } else {
            "127.0.0.1"
        };
        HookReply::Status(status, vec![("location", format!("http://{host}:{port}/"))])
    })
    .await;
    for status in [301, 302, 303, 307, 308] {
        for to in ["number", "name"] {
            let task = format!("t-{status}-{to}");
            let url = hook.url(&format!("/{status}/{to}"));
            let answer = daemon
                .try_submit(&task, ECHO, json!({}), Some(url), ReuseMode::Auto)
                .await;
            answer.expect("an allowed address");
            failed(&daemon, &task).await;
            let record = &daemon.get(&format!("/v1/callbacks?task_id={task}")).await.json()["items"][0];
            assert_eq!(
                (&record["http_status"], &record["state"]),
                (&json!(status), &json!("failed"))
            );
            assert!(
                record["detail"]
                    .as_str()
                    .unwrap()
                    .contains("redirects are not followed"),
                "{record}"
            );
        }
    }
    assert_eq!(hook.received().len(), 10);
    assert_eq!(trap.caught(), 0);
}
