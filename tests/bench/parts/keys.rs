//! A status read with many keys of others in Redis and with few, one at a time.

use redis::aio::MultiplexedConnection;

use crate::{
    http::Connection,
    setup::{ALONE, Bench, STATUS, read_status},
    table::{Goal, percentile, spread},
};

const FEW: usize = 1_000;
const MANY: usize = 1_000_000;

pub fn measure(bench: &mut Bench) {
    let daemons = [bench.daemon(), bench.daemon()];
    for (daemon, keys) in daemons.iter().zip([FEW, MANY]) {
        let redis = bench.redis(daemon);
        bench.prepare(daemon, &redis);
        bench.runtime.block_on(fill(redis, keys));
    }
    let request = read_status(STATUS);
    let mut medians = [Vec::new(), Vec::new()];
    for round in 0..=bench.options.rounds() * 2 {
        for (at, daemon) in daemons.iter().enumerate() {
            let took = Connection::open(daemon.port()).repeat(&request, ALONE);
            if round > 0 {
                medians[at].push(percentile(&took, 50));
            }
        }
    }
    let ratio = spread(medians[1].iter().zip(&medians[0]).map(|(many, few)| many / few));
    let [few, many] = medians;
    let table = &mut bench.table;
    table.say("status of three stages, 1,000 other keys, p50", "ms", spread(few));
    table.say("status of three stages, 1,000,000 other keys, p50", "ms", spread(many));
    let name = "status with 1,000,000 keys / 1,000, p50";
    table.goal(name, Goal::AtMost(1.2), "x", ratio);
}

/// Writes keys as other workers leave them.
async fn fill(mut redis: MultiplexedConnection, keys: usize) {
    // No notification is sent for them, as for keys from before the daemon started: only their number is measured.
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "notify-keyspace-events", ""])
        .query_async(&mut redis)
        .await
        .expect("Redis takes settings");
    for start in (0..keys).step_by(1000) {
        let mut pipe = redis::pipe();
        for key in start..start + 1000 {
            let json = format!(
                r#"{{"workflow_id":"other-{key}","stages":{{"ffmpeg.extract_audio":{{"status":"SUCCESS"}}}}}}"#
            );
            pipe.set_ex(format!("other-{key}:node:ffmpeg.extract_audio"), json, 86_400)
                .ignore();
        }
        let () = pipe.query_async(&mut redis).await.expect("Redis takes keys");
    }
}
