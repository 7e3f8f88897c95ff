//! `onceover check`: whether everything that this program needs is all right.

use onceover_types::{TaskId, humane};
use onceover_wire::{
    NodeInfo, SystemInfo,
    client::{Client, ClientError, TOKEN_VARIABLE},
};
use serde::Serialize;

use super::{
    args::CheckArgs,
    failure::{CommandResult, Failure},
    out::{print, print_json},
};
use crate::{figures::count_noun, view::text};

/// A task that nobody has: that cancelling it is refused, and how, shows what the token may.
const NO_TASK: &str = "onceover-check.no-such-task";

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    /// It works, and something should be known.
    Warning,
    Bad,
}

/// One thing that was checked.
#[derive(Debug, Serialize)]
struct CheckedPoint {
    name: &'static str,
    verdict: Verdict,
    text: String,
}

/// Runs the command.
pub async fn run(client: &Client, args: CheckArgs) -> CommandResult {
    let system = client.system().await?;
    let nodes = client.nodes().await?;
    let points = [
        check_daemon(client, &system),
        check_version(&system),
        check_access(client).await?,
        check_redis(&system),
        check_clock(client),
        check_nodes(&nodes.nodes),
    ];
    if args.json {
        print_json(&points)?;
    } else {
        for point in &points {
            let sign = match point.verdict {
                Verdict::Good => "✔",
                Verdict::Warning => "!",
                Verdict::Bad => "✖",
            };
            for (index, line) in point.text.lines().enumerate() {
                let (sign, name) = if index == 0 { (sign, point.name) } else { (" ", "") };
                print(&text::harmless(&format!("{sign} {name:<8} {line}")))?;
            }
        }
    }
    Ok(points.iter().all(|point| point.verdict != Verdict::Bad))
}

fn check_daemon(client: &Client, system: &SystemInfo) -> CheckedPoint {
    CheckedPoint {
        name: "daemon",
        verdict: Verdict::Good,
        text: format!("{} answers, since {}", client.base(), system.started_at),
    }
}

fn check_version(system: &SystemInfo) -> CheckedPoint {
    let own = env!("CARGO_PKG_VERSION");
    let (verdict, text) = match system.version == own {
        true => (Verdict::Good, format!("{own}, the daemon's too")),
        false => (
            Verdict::Warning,
            format!(
                "{own}, the daemon's is {}; install both from one release",
                system.version
            ),
        ),
    };
    CheckedPoint {
        name: "version",
        verdict,
        text,
    }
}

/// Finds out whether the token may change something.
async fn check_access(client: &Client) -> Result<CheckedPoint, Failure> {
    let none = TaskId::parse(NO_TASK).map_err(|error| Failure::new(error.to_string()))?;
    let refused = match client.cancel(&none).await {
        Ok(_) => None,
        Err(error @ ClientError::Unreachable { .. }) => return Err(error.into()),
        Err(error) => error.status(),
    };
    let (verdict, text) = match refused {
        Some(401 | 403) => (
            Verdict::Warning,
            format!("read only: changes are refused; give a token of the scope admin with {TOKEN_VARIABLE}"),
        ),
        _ => (Verdict::Good, "may read and change everything".to_owned()),
    };
    Ok(CheckedPoint {
        name: "access",
        verdict,
        text,
    })
}

fn check_redis(system: &SystemInfo) -> CheckedPoint {
    let redis = &system.redis;
    let (verdict, text) = match (redis.up, redis.latency_ms) {
        (false, _) => (
            Verdict::Bad,
            format!(
                "{} is down: {}",
                redis.url,
                redis.error.as_deref().unwrap_or("no reason is known")
            ),
        ),
        (true, Some(latency)) => (
            Verdict::Good,
            format!("{} answers the daemon in {latency:.1} ms", redis.url),
        ),
        (true, None) => (Verdict::Good, format!("{} answers the daemon", redis.url)),
    };
    CheckedPoint {
        name: "redis",
        verdict,
        text,
    }
}

fn check_clock(client: &Client) -> CheckedPoint {
    let ahead_ms = client.clock().ahead_ms();
    let off = humane::duration(std::time::Duration::from_secs(ahead_ms.unsigned_abs() / 1000));
    let (verdict, text) = match ahead_ms {
        0 => (Verdict::Good, "agrees with the daemon's".to_owned()),
        1.. => (Verdict::Warning, format!("this machine's is {off} behind the daemon's")),
        _ => (
            Verdict::Warning,
            format!("this machine's is {off} ahead of the daemon's"),
        ),
    };
    CheckedPoint {
        name: "clock",
        verdict,
        text,
    }
}

/// Lists the nodes that cannot run on the daemon's machine, and what to do.
fn check_nodes(nodes: &[NodeInfo]) -> CheckedPoint {
    let unready: Vec<_> = nodes.iter().filter(|node| !node.readiness.ready).collect();
    let ready = nodes.len() - unready.len();
    let mut lines = vec![format!("{ready} of {} can run", count_noun(nodes.len(), "node"))];
    for node in &unready {
        for missing in &node.readiness.missing {
            lines.push(format!("{}: {} is missing; {}", node.name, missing.what, missing.how));
        }
    }
    let verdict = if unready.is_empty() {
        Verdict::Good
    } else {
        Verdict::Warning
    };
    CheckedPoint {
        name: "nodes",
        verdict,
        text: lines.join("\n"),
    }
}
