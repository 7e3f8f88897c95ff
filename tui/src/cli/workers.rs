//! `onceover workers`: prints Celery queues and workers, and processes that keep their models, a line each.

use onceover_wire::{WarmProcess, WorkerQueue, WorkerSeen, WorkersReport, client::Client};

use super::{
    args::WorkersArgs,
    failure::CommandResult,
    out::{print, print_json},
    table::format_table,
};
use crate::figures;

/// Runs the command.
pub async fn run(client: &Client, args: WorkersArgs) -> CommandResult {
    let report = client.workers().await?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&format_report(&report))?;
    }
    Ok(true)
}

/// Formats what is known of Celery, then the processes that the daemon keeps.
fn format_report(report: &WorkersReport) -> String {
    let mut parts = match report.brokers.is_empty() {
        true => vec!["no service is run by Celery workers".to_owned()],
        false => format_celery(report),
    };
    if !report.warm.is_empty() {
        let rows: Vec<_> = report.warm.iter().map(make_process_row).collect();
        parts.push(format_table(&rows));
    }
    parts.join("\n")
}

/// Formats brokers that do not answer, queues, the stages that run, and workers.
fn format_celery(report: &WorkersReport) -> Vec<String> {
    let mut parts = Vec::new();
    for broker in &report.brokers {
        if let Some(error) = &broker.error {
            parts.push(format!("broker {} does not answer: {error}", broker.broker));
        }
    }
    let queues: Vec<_> = report.queues.iter().map(make_queue_row).collect();
    parts.push(format_table(&queues));
    let stages = report.queues.iter().flat_map(|queue| &queue.stages);
    let stages: Vec<_> = stages
        .map(|stage| {
            let hostname = stage.hostname.as_ref();
            [
                format!("{}/{}", stage.task_id, stage.task_name),
                hostname.map_or("no worker has begun it".to_owned(), |hostname| format!("on {hostname}")),
                format!("attempt {}", stage.attempt),
            ]
        })
        .collect();
    if !stages.is_empty() {
        parts.push(format_table(&stages));
    }
    match report.workers.as_slice() {
        [] => parts.push("no workers".to_owned()),
        workers => parts.push(format_table(&workers.iter().map(make_worker_row).collect::<Vec<_>>())),
    }
    parts
}

/// Makes the cells of a process that keeps its model: node, device, how it is, runs, memory, memory of the GPU.
fn make_process_row(process: &WarmProcess) -> [String; 6] {
    let bytes = |count: Option<u64>, what: &str| {
        count.map_or_else(String::new, |count| format!("{}{what}", figures::format_bytes(count)))
    };
    [
        process.task_name.to_string(),
        process.device.clone().unwrap_or_default(),
        format!("{} (process {})", process.state.as_str(), process.pid),
        figures::count_noun(usize::try_from(process.runs).unwrap_or(usize::MAX), "run"),
        bytes(process.memory, ""),
        bytes(process.gpu_memory, " of the GPU"),
    ]
}

/// Makes the cells of a queue: name, listeners, what was sent, what waits, why nothing is sent.
fn make_queue_row(queue: &WorkerQueue) -> [String; 5] {
    [
        queue.name.clone(),
        figures::count_noun(queue.listeners.len(), "listener"),
        format!("{} of {} in flight", queue.in_flight, queue.slots),
        format!("{} waiting", queue.waiting),
        queue.reason.clone().unwrap_or_default(),
    ]
}

/// Makes the cells of a worker: name, how it is, what it runs, its pool, version and queues.
fn make_worker_row(worker: &WorkerSeen) -> [String; 6] {
    let active = worker.active.map_or("?".to_owned(), |active| active.to_string());
    [
        worker.hostname.clone(),
        worker.state.as_str().to_owned(),
        format!("{active} of {} busy", worker.concurrency),
        worker.pool.clone().unwrap_or_default(),
        worker.version.clone().unwrap_or_default(),
        worker.queues.join(","),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn queues_workers_and_what_they_run_are_lines() {
        let report: WorkersReport = serde_json::from_value(json!({
            "brokers": [{"broker": "redis://b", "up": true, "asked_at": null, "mute": 0}],
            "queues": [{"name": "whisper_queue", "broker": "redis://b", "queue": "celery:whisper_queue", "depth": 0,
                "waiting": 2, "in_flight": 1, "slots": 3, "listeners": ["w@gpu"], "stages": [{"task_id": "film",
                    "task_name": "whisper.run", "run_id": "01981f2e-5a3e-7c21-9f2b-4a1d6c9e0b11", "attempt": 1,
                    "message_id": "m", "hostname": "w@gpu", "sent_at": "2026-01-02T12:00:00.000Z"}]}],
            "workers": [{"hostname": "w@gpu", "broker": "redis://b", "state": "online", "queues": ["whisper_queue"],
                "pool": "prefork", "concurrency": 2, "active": 1, "processed": 9, "version": "5.7.0",
                "heard_at": null}],
            "warm": [{"task_name": "whisper.run", "device": "cpu", "state": "idle", "pid": 4711, "runs": 3,
                "memory": 1 << 30, "gpu_memory": null, "started_at": "2026-01-02T12:00:00.000Z",
                "since": "2026-01-02T12:00:00.000Z"}]}))
        .unwrap();
        let text = format_report(&report);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "whisper_queue  1 listener  1 of 3 in flight  2 waiting");
        assert_eq!(lines[1], "film/whisper.run  on w@gpu  attempt 1");
        assert_eq!(lines[2], "w@gpu  online  1 of 2 busy  prefork  5.7.0  whisper_queue");
        assert_eq!(lines[3], "whisper.run  cpu  idle (process 4711)  3 runs  1.1 GB");
        assert_eq!(
            format_report(&WorkersReport::default()),
            "no service is run by Celery workers"
        );
    }
}
