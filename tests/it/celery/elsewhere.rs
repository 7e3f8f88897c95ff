//! Files of results that the daemon's machine does not see.

use std::fs;

use onceover_tests::{
    S3Server,
    celery_workers::{CeleryBroker, WorkerStart},
    s3::BUCKET,
};
use onceover_types::StageState;
use onceover_wire::StageView;
use serde_json::{Value, json};

use super::{WRITE, builder, builder_with};

const NAME_OBJECT: &str = "probe.object";

fn codes(stage: &StageView) -> Vec<String> {
    stage
        .result_warnings()
        .into_iter()
        .map(|warning| warning.code)
        .collect()
}

#[tokio::test]
async fn r8_files_that_stay_with_a_worker_are_not_missing_and_the_result_and_its_hits_say_so() {
    let broker = CeleryBroker::start().await;
    let _worker = WorkerStart::named("w1").start(&broker).await;
    let daemon = builder_with(&broker, "sees_files = false").start().await;
    daemon.submit("film", WRITE, json!({"text": "once"})).await;
    let stage = daemon.until("film", WRITE, StageState::Success).await;
    assert_eq!(codes(&stage), ["unverified"]);
    let output: Value = serde_json::from_str(stage.output.get()).unwrap();
    // On another machine it would not be here at all.
    fs::remove_file(output["path"].as_str().unwrap()).unwrap();
    let again = daemon.submit("film", WRITE, json!({"text": "once"})).await;
    assert!(again.reuse_info.reuse_hit, "{:?}", again.reuse_info);
    assert_eq!(again.reuse_info.warnings, 1);
}

#[tokio::test]
async fn r8_objects_that_a_worker_has_left_in_the_store_are_verified_there() {
    let broker = CeleryBroker::start().await;
    let _worker = WorkerStart::named("w1").start(&broker).await;
    let s3 = S3Server::start().await;
    s3.put("film/a.wav", b"sound");
    let mut daemon = builder(&broker).config(&s3.config());
    for (name, value) in s3.keys() {
        daemon = daemon.env(name, value);
    }
    let daemon = daemon.start().await;
    let input = json!({"bucket": BUCKET, "key": "film/a.wav"});
    daemon.submit("film", NAME_OBJECT, input.clone()).await;
    let stage = daemon.until("film", NAME_OBJECT, StageState::Success).await;
    assert!(codes(&stage).is_empty(), "{:?}", codes(&stage));
    let again = daemon.submit("film", NAME_OBJECT, input.clone()).await;
    assert!(again.reuse_info.reuse_hit);
    // Other bytes of another size.
    s3.put("film/a.wav", b"another sound");
    let again = daemon.submit("film", NAME_OBJECT, input).await;
    assert_eq!(again.reuse_info.reason.as_deref(), Some("artifact_changed"));
    daemon.until("film", NAME_OBJECT, StageState::Success).await;
    let missing = json!({"bucket": BUCKET, "key": "film/none.wav"});
    daemon.submit("other", NAME_OBJECT, missing).await;
    let stage = daemon.until("other", NAME_OBJECT, StageState::Success).await;
    assert_eq!(codes(&stage), ["unverified"]);
}
