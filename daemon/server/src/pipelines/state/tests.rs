//! What a processing does next, in every order in which its stages may end.

use onceover_catalog::pipeline::parse_pipeline;
use proptest::prelude::*;

use super::*;

const STEPS: &str = "name = 'p'\n\
    [[steps]]\nname = 'a'\nnode = 't.a'\nweight = 1\n\
    [[steps]]\nname = 'b'\nnode = 't.b'\nweight = 7\nneeds = ['a']\n\
    [[steps]]\nname = 'c'\nnode = 't.c'\nneeds = ['a']\noptional = true\n\
    [[steps]]\nname = 'd'\nnode = 't.d'\nweight = 100\nneeds = ['b', 'c']\n";

fn fresh() -> Processing {
    let pipeline = parse_pipeline(STEPS).unwrap();
    let video = VideoId::parse("film").unwrap();
    plan_processing(&video, &pipeline, ProcessingKind::First, &[], false)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

/// What may happen to a step.
#[derive(Debug, Clone)]
enum Told {
    Hit,
    Joined,
    Started,
    Refused,
    Progress(u8),
    Done,
    Fails,
    Cancelled,
    Time,
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        1 => Just(Told::Hit),
        1 => Just(Told::Joined),
        4 => Just(Told::Started),
        1 => Just(Told::Refused),
        4 => (0..=100u8).prop_map(Told::Progress),
        4 => Just(Told::Done),
        2 => Just(Told::Fails),
        1 => Just(Told::Cancelled),
        1 => Just(Told::Time),
    ]
}

fn answer(reuse_hit: bool, status: TaskStatus) -> Submitted {
    Submitted::Answered(Box::new(SubmitResponse {
        task_id: VideoId::parse("film").unwrap().task(),
        status,
        message: String::new(),
        reuse_info: onceover_wire::ReuseInfo {
            reuse_hit,
            run_id: Some(RunId::generate()),
            ..Default::default()
        },
        result: None,
        warnings: Vec::new(),
    }))
}

/// Does to one step what an event reports, as `observe_stages` and `note_submit` would.
fn apply(processing: &mut Processing, position: usize, told: &Told, now: Timestamp) {
    let may_begin = list_ready(processing, now).contains(&position);
    let step = &mut processing.tasks[position];
    let retry = Retry {
        retries: 2,
        backoff: Duration::from_secs(5),
    };
    match told {
        Told::Hit if may_begin => note_submit(step, answer(true, TaskStatus::Completed), now),
        Told::Joined if may_begin => note_submit(step, answer(true, TaskStatus::Pending), now),
        Told::Started if may_begin => note_submit(step, answer(false, TaskStatus::Pending), now),
        Told::Refused if may_begin => note_submit(step, Submitted::Refused("no model".into()), now),
        Told::Progress(percent) if is_under_way(step) => {
            step.status = StepStatus::Processing;
            step.started_at = step.started_at.or(Some(now));
            step.progress = step.progress.max(whole(f64::from(*percent)));
        }
        Told::Done if is_under_way(step) => {
            step.ended_at = Some(now);
            complete(step, WarningCount::default());
        }
        Told::Fails if is_under_way(step) => fail(step, Some("why".into()), retry, now),
        Told::Cancelled if is_under_way(step) => {
            step.status = StepStatus::Cancelled;
            step.ended_at = Some(now);
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn v3_whatever_happens_progress_never_goes_back_and_the_end_is_final(
        story in prop::collection::vec((0..4usize, told()), 0..120)
    ) {
        let mut processing = fresh();
        let mut second = 0;
        for (position, told) in story {
            second += 3;
            let before = processing.clone();
            apply(&mut processing, position, &told, at(second));
            update_progress(&mut processing, at(second));
            prop_assert!(processing.progress >= before.progress);
            prop_assert_eq!(processing.progress == 100, processing.status == ProcessingStatus::Completed);
            for (a, b) in before.tasks.iter().zip(&processing.tasks) {
                prop_assert!(a.progress <= b.progress);
                prop_assert!(!a.status.has_ended() || a.status == b.status);
                // Nothing begins before what it needs has ended, or after a required step failed.
                if a.reuse_hit.is_none() && b.reuse_hit.is_some() {
                    prop_assert!(before.blocked_by(a).is_empty());
                    prop_assert!(!is_halted(&before));
                }
            }
            if !before.status.in_flight() {
                prop_assert_eq!(&before.status, &processing.status);
            }
            let ended = processing.tasks.iter().all(|step| step.status.has_ended());
            prop_assert_eq!(ended, !processing.status.in_flight());
            prop_assert_eq!(processing.ended_at.is_some(), ended);
        }
    }

    #[test]
    fn o2_every_processing_can_come_to_its_end(story in prop::collection::vec((0..4usize, told()), 0..60)) {
        let mut processing = fresh();
        let mut second = 0;
        for (position, told) in story {
            second += 3;
            apply(&mut processing, position, &told, at(second));
            update_progress(&mut processing, at(second));
        }
        // From any state: what may begin begins, what runs ends.
        for _ in 0..20 {
            second += 100;
            for position in 0..4 {
                apply(&mut processing, position, &Told::Started, at(second));
                apply(&mut processing, position, &Told::Done, at(second));
            }
            update_progress(&mut processing, at(second));
        }
        prop_assert!(!processing.status.in_flight(), "{:#?}", processing);
    }
}

#[test]
fn a_run_is_named_the_same_by_whoever_asks_and_otherwise_for_each_try() {
    let processing = fresh();
    let step = processing.tasks[0].clone();
    let named = name_run(&processing, &step);
    assert_eq!(named, name_run(&processing.clone(), &step));
    let again = ProcessingStep {
        failures: 1,
        ..step.clone()
    };
    assert_ne!(named, name_run(&processing, &again));
    assert_ne!(named, name_run(&processing, &processing.tasks[1]));
    assert_ne!(named, name_run(&fresh(), &step));
    // Ids still sort by time.
    assert_eq!(named.as_str()[..13], processing.run_id.as_str()[..13]);
}

#[test]
fn waits_before_retries_double() {
    let retry = Retry {
        retries: 9,
        backoff: Duration::from_secs(5),
    };
    assert_eq!([1, 2, 3].map(|failures| retry.wait(failures).as_secs()), [5, 10, 20]);
    assert_eq!(retry.wait(u32::MAX).as_secs(), 86_400);
}
