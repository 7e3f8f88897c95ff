//! Callbacks in an internet of the test's own, where a connection to any address is seen: whatever is spelled, answered
//! or redirected, only public addresses are connected to (14).

use std::net::IpAddr;

use futures_util::future::join_all;
use onceover_tests::{
    Daemon,
    daemon::request,
    eventually,
    internet::{Everywhere, NameServer, ServerAnswer, addresses, in_own_internet},
};
use onceover_types::CallbackStatus;
use onceover_wire::{
    CallbackDelivery, ReuseMode,
    client::{CallbackQuery, ClientError},
};
use serde_json::json;

use crate::webhook_addresses::forbidden;

const PUBLIC: &str = "8.8.8.8";

/// Addresses that a name may lead to and that are not to be connected to.
const PRIVATE: [&str; 24] = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "240.0.0.1",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "fd00::1",
    "fc00::1",
    "fec0::1",
    "4000::1",
];

/// Readers of URLs disagree about these; no address inside is called in any case.
const TRICKS: [&str; 16] = [
    "http://8.8.8.8@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT@8.8.8.8:PORT/",
    "http://127.0.0.1:PORT#@8.8.8.8:PORT/",
    "http://8.8.8.8:PORT\\@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT\\@8.8.8.8:PORT/",
    "http://8.8.8.8%2f@127.0.0.1:PORT/",
    "http://8.8.8.8:PORT%00.127.0.0.1/",
    "http://8.8.8.8:PORT/@127.0.0.1/",
    "http://8.8.8.8:PORT?@127.0.0.1/",
    "http:127.0.0.1:PORT/",
    "http:/\\127.0.0.1:PORT/",
    "http:////127.0.0.1:PORT/",
    "http://127.0.0.1\t:PORT/",
    "http://12\n7.0.0.1:PORT/",
    "http://127.0.0.1:PORT:80/",
    "http://[::1]@8.8.8.8:PORT/",
];

struct Bed {
    daemon: Daemon,
    all: Everywhere,
    tasks: std::cell::Cell<usize>,
}

impl Bed {
    /// Submits with a callback; the delivery once it is over, or nothing when the submit was refused.
    async fn told(&self, url: &str) -> Option<CallbackDelivery> {
        self.tasks.set(self.tasks.get() + 1);
        let task = format!("t{}", self.tasks.get());
        let client = &self.daemon.client;
        let asked = request(
            &task,
            "test.cheap",
            json!({"value": 1}),
            Some(url.to_owned()),
            ReuseMode::Auto,
        );
        match client.submit(&asked).await {
            Ok(_) => {}
            Err(ClientError::Refused(problem)) => {
                let fields: Vec<_> = problem.errors.iter().map(|error| &*error.field).collect();
                assert_eq!((problem.status, fields), (422, vec!["callback"]), "{url}");
                return None;
            }
            Err(error) => panic!("{url}: {error}"),
        }
        let query = CallbackQuery {
            task_id: Some(task),
            ..CallbackQuery::default()
        };
        let what = format!("the end of the callback to {url}");
        let over = eventually(&what, || async {
            let page = client.callbacks(&query).await.expect("the daemon answers");
            let mut over = page.items.into_iter();
            over.find(|delivery| delivery.state != CallbackStatus::Pending)
        });
        Some(over.await)
    }

    async fn told_by_name(&self, name: &str, path: &str) -> CallbackDelivery {
        let url = format!("http://{name}:{}{path}", self.all.port());
        self.told(&url).await.expect("a name is judged when it is resolved")
    }
}

#[test]
fn req14_in_an_internet_of_its_own_no_answer_leads_a_callback_inside() {
    in_own_internet("webhook_names::req14_inner_no_answer_leads_a_callback_inside");
}

fn mind(path: &str) -> (u16, Option<String>) {
    let to = |host: &str| format!("http://{host}/");
    match path.trim_matches('/').split_once('-') {
        Some(("again", _)) => (500, None),
        Some(("redirect", rest)) => {
            let (status, host) = rest.split_once('-').expect("a status and a host");
            (status.parse().expect("a status"), Some(to(host)))
        }
        _ => (200, None),
    }
}

#[tokio::test]
#[ignore = "needs a separate internet; the test above makes it"]
async fn req14_inner_no_answer_leads_a_callback_inside() {
    let public = |ip: &str| ip.parse::<IpAddr>().expect("an address");
    let mut zone = vec![
        ("public.test", vec![addresses(&[PUBLIC])]),
        ("rebind.test", vec![addresses(&[PUBLIC]), addresses(&["127.0.0.1"])]),
        (
            "flip.test",
            (0..10)
                .map(|n| addresses(&[["127.0.0.1", PUBLIC, "10.0.0.1", "1.1.1.1"][n % 4]]))
                .collect(),
        ),
        (
            "mixed.test",
            vec![addresses(&["10.0.0.1", "127.0.0.1", PUBLIC, "::1", "fd00::1"])],
        ),
        // The public one cannot be reached, so a client goes on to the next.
        (
            "fallback.test",
            vec![addresses(&["9.9.9.9", "127.0.0.1", "192.168.1.1"])],
        ),
        ("chain.test", vec![vec![ServerAnswer::Alias("middle.test")]]),
        ("middle.test", vec![vec![ServerAnswer::Alias("end.test")]]),
        ("end.test", vec![addresses(&["192.168.1.1", "::1"])]),
        ("good-chain.test", vec![vec![ServerAnswer::Alias("public.test")]]),
        ("alias-of-own.test", vec![vec![ServerAnswer::Alias("own.test")]]),
        ("own.test", vec![addresses(&["127.0.0.1"])]),
    ];
    let mut names: Vec<&'static str> = (0..PRIVATE.len())
        .map(|n| &*Box::leak(format!("private-{n}.test").into_boxed_str()))
        .collect();
    zone.extend(
        names
            .iter()
            .zip(PRIVATE)
            .map(|(name, ip)| (*name, vec![addresses(&[ip])])),
    );
    let server = NameServer::start(zone).await;
    let all = Everywhere::start(mind).await;
    all.holds().await;
    let daemon = Daemon::builder()
        .config("[callbacks]\nschedule = ['0s', '10ms', '10ms', '10ms']\ntimeout = '20s'")
        .start()
        .await;
    let bed = Bed {
        daemon,
        all,
        tasks: std::cell::Cell::new(0),
    };

    // What is public is called.
    for name in ["public.test", "good-chain.test", "mixed.test"] {
        let delivery = bed.told_by_name(name, "/").await;
        assert_eq!(delivery.state, CallbackStatus::Sent, "{name}: {delivery:?}");
        assert_eq!(bed.all.reached().await, [public(PUBLIC)], "{name}");
    }
    // And nothing else; nor the neighbours of an address that does not answer.
    names.extend(["chain.test", "alias-of-own.test"]);
    join_all(names.iter().map(async |name| {
        let delivery = bed.told_by_name(name, "/").await;
        assert_eq!(delivery.state, CallbackStatus::Failed, "{name}: {delivery:?}");
        let advice = format!("callbacks.allow = [\"{name}\"]");
        assert!(
            delivery.detail.as_ref().is_some_and(|detail| detail.contains(&advice)),
            "{delivery:?}"
        );
    }))
    .await;
    let delivery = bed.told_by_name("fallback.test", "/").await;
    assert_eq!(delivery.state, CallbackStatus::Failed, "{delivery:?}");
    assert_eq!(bed.all.reached().await, [] as [IpAddr; 0]);
    // Public at the first try, inside at the next ones.
    let delivery = bed.told_by_name("rebind.test", "/again-").await;
    assert_eq!(delivery.state, CallbackStatus::Failed, "{delivery:?}");
    assert!(server.asked("rebind.test") > 1, "each try resolves the name");
    assert_eq!(bed.all.reached().await, [public(PUBLIC)]);
    // Every try is judged by the answer that it connects to.
    let delivery = bed.told_by_name("flip.test", "/again-").await;
    assert_eq!(delivery.state, CallbackStatus::Failed, "{delivery:?}");
    let reached = bed.all.reached().await;
    let public_ones = [public(PUBLIC), public("1.1.1.1")];
    assert!(
        !reached.is_empty() && reached.iter().all(|ip| public_ones.contains(ip)),
        "{reached:?}"
    );
    // Redirects.
    let port = bed.all.port();
    let redirects = [301, 302, 303, 307, 308]
        .into_iter()
        .flat_map(|status| ["127.0.0.1", "own.test", "2130706433", "[::1]", "8.8.4.4"].map(|host| (status, host)));
    join_all(redirects.map(async |(status, host)| {
        let path = format!("/redirect-{status}-{host}:{port}");
        let delivery = bed.told_by_name("public.test", &path).await;
        assert_eq!(
            (delivery.state, delivery.http_status),
            (CallbackStatus::Failed, Some(status)),
            "{delivery:?}"
        );
    }))
    .await;
    let reached = bed.all.reached().await;
    assert!(
        reached.len() >= 25 && reached.iter().all(|ip| *ip == public(PUBLIC)),
        "{reached:?}"
    );
    // Literals, in every spelling: nothing is reached, here where everything could be.
    let corpus = forbidden();
    assert!(corpus.len() >= 80, "{} spellings", corpus.len());
    join_all(corpus.into_iter().map(async |host| {
        let refused = bed.told(&format!("http://{host}:{port}/")).await;
        assert!(refused.is_none(), "{host}: {refused:?}");
    }))
    .await;
    assert_eq!(bed.all.reached().await, [] as [IpAddr; 0]);
    join_all(TRICKS.map(async |url| drop(bed.told(&url.replace("PORT", &port.to_string())).await))).await;
    let reached = bed.all.reached().await;
    assert!(reached.iter().all(|ip| *ip == public(PUBLIC)), "{reached:?}");
    bed.all.holds().await;
}
