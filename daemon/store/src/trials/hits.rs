//! What `hit` answers of a result that was reused before is what `submit` would, and it leaves to `submit` whatever is
//! not as it was then.

use onceover_types::{NodeName, TaskId};

use super::{
    super::{Decision, DiskUsage, Hit, ReuseQuery, ReuseRule},
    Bed,
    life::{self, Wish, claim, submit, success},
};

const OUTPUT: &str = r#"{"ok":1}"#;

/// What becomes of a stage after its first hit.
struct Change {
    what: &'static str,
    mode: ReuseRule,
    /// Commands, with `<task>` for the task and `<stage>` for the key of its stage.
    commands: &'static [&'static [&'static str]],
    is_hit: bool,
}

const fn same(what: &'static str, mode: ReuseRule, commands: &'static [&'static [&'static str]]) -> Change {
    Change {
        what,
        mode,
        commands,
        is_hit: true,
    }
}

const fn other(what: &'static str, mode: ReuseRule, commands: &'static [&'static [&'static str]]) -> Change {
    Change {
        what,
        mode,
        commands,
        is_hit: false,
    }
}

const CHANGES: [Change; 19] = [
    same("nothing", ReuseRule::Auto, &[]),
    same(
        "a callback was sent",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "callback_status", "sent"]],
    ),
    same(
        "the result was uploaded",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "uploaded", "1"]],
    ),
    other("a run is forced", ReuseRule::Never, &[]),
    other("nothing is reused", ReuseRule::Off, &[]),
    other("the files of the input are not known", ReuseRule::Strict, &[]),
    other("other input is refused", ReuseRule::Refuse, &[]),
    other(
        "another worker wrote the stage",
        ReuseRule::Auto,
        &[&["SET", "<task>:node:a.one", "{}"]],
    ),
    other(
        "another worker wrote the older key",
        ReuseRule::Auto,
        &[&["SET", "<task>:a:one", "{}"]],
    ),
    other(
        "another worker has it in flight",
        ReuseRule::Auto,
        &[&["HSET", "onceover:foreign:<task>", "a.one", "RUNNING|9|ab|||0"]],
    ),
    other(
        "it is not reusable",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "res_reusable", "0"]],
    ),
    other(
        "a run has begun",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "state", "PENDING"]],
    ),
    other(
        "a run has begun and left the result",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "gen", "9"]],
    ),
    other(
        "another result stands",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "res_ended", "5"]],
    ),
    other("it has expired", ReuseRule::Auto, &[&["DEL", "<stage>"]]),
    other(
        "it is no hash",
        ReuseRule::Auto,
        &[&["DEL", "<stage>"], &["SET", "<stage>", "damaged"]],
    ),
    other(
        "its duration is damaged",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "res_duration_ms", "?"]],
    ),
    other(
        "its count is damaged",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "hits", "?"]],
    ),
    other(
        "its callback status is damaged",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "callback_status", "\""]],
    ),
];

fn wish<'a>(task: &'a TaskId, node: &'a NodeName, mode: ReuseRule) -> Wish<'a> {
    Wish {
        task,
        node,
        queue: "io",
        mode,
        input: "{}",
        url: None,
    }
}

/// Lets a stage succeed, and hits its result once.
async fn reuse_once(bed: &Bed, task: &TaskId, node: &NodeName) -> Hit {
    submit(bed, wish(task, node, ReuseRule::Auto)).await;
    let fence = claim(bed).await;
    bed.store
        .finish(&fence, &success(OUTPUT, false), &DiskUsage::default(), None)
        .await
        .unwrap();
    match submit(bed, wish(task, node, ReuseRule::Auto)).await {
        Decision::Hit(hit) => hit,
        _ => panic!("the result stands"),
    }
}

#[tokio::test]
async fn r8_a_known_result_is_hit_as_submit_would_and_whatever_has_changed_is_left_to_it() {
    let bed = Bed::start(false).await;
    let node: NodeName = life::NODES[0].parse().unwrap();
    for (number, change) in CHANGES.iter().enumerate() {
        let task: TaskId = format!("t{number}").parse().unwrap();
        let known = reuse_once(&bed, &task, &node).await;
        let stage = format!("onceover:stage:{task}:{node}");
        for command in change.commands {
            let words: Vec<_> = command
                .iter()
                .map(|word| word.replace("<task>", task.as_str()).replace("<stage>", &stage))
                .collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let _: redis::Value = bed.ask(&words).await;
        }
        let question = ReuseQuery {
            task: &task,
            node: &node,
            mode: change.mode,
            fingerprint: "fp",
            files: None,
        };
        let before = bed.store.everything().await;
        let hit = bed.store.hit(&question, "{}", &known.result).await.unwrap();
        let what = change.what;
        assert_eq!(hit.is_some(), change.is_hit, "{what}");
        let Some(hit) = hit else {
            assert_eq!(bed.store.everything().await, before, "{what}: it was left to submit");
            continue;
        };
        assert_eq!(hit.input_changed, known.input_changed, "{what}");
        let counted = hit.records.stage(&node).unwrap().summary().reuse_hits;
        let Decision::Hit(again) = submit(&bed, wish(&task, &node, change.mode)).await else {
            panic!("{what}: submit does not hit what was hit");
        };
        assert_eq!((counted, again), (2, known), "{what}");
    }
}
