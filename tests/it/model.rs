//! R1 to R8 and S2 against a simple model: whatever is asked in whatever order, the daemon decides, and shows, as the
//! model does.

use onceover_tests::{
    Daemon,
    daemon::{node_name, task_id},
};
use onceover_types::{StageState, TaskStatus};
use onceover_wire::ReuseMode;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

const TOLD: &str = "test.told";

#[derive(Debug, Clone)]
enum Step {
    Submit {
        mode: ReuseMode,
        input: u8,
    },
    /// Ends the run in flight, when there is one.
    End(End),
    Cancel,
    Delete {
        force: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum End {
    Success(u8),
    Empty,
    /// With a warning that says whether running again could give a better result.
    Warned(bool),
    Failure,
}

fn step() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![3 => Just(ReuseMode::Auto), 2 => Just(ReuseMode::Never), 2 => Just(ReuseMode::Strict)];
    let end = prop_oneof![4 => (0..10u8).prop_map(End::Success), 1 => Just(End::Empty),
        3 => any::<bool>().prop_map(End::Warned), 2 => Just(End::Failure)];
    prop_oneof![
        6 => (mode, 0..2u8).prop_map(|(mode, input)| Step::Submit { mode, input }),
        5 => end.prop_map(Step::End),
        2 => Just(Step::Cancel),
        1 => any::<bool>().prop_map(|force| Step::Delete { force }),
    ]
}

/// What the rules say of one stage.
#[derive(Debug, Clone, Default)]
struct Model {
    /// How it last ended, where that stands.
    ended: Option<Ended>,
    flight: Option<Flight>,
    last_attempt: Option<StageState>,
    hits: u64,
}

#[derive(Debug, Clone)]
struct Ended {
    state: StageState,
    output: Value,
    input: u8,
}

/// An output that says what makes it doubtful.
fn warned(retryable: bool) -> Value {
    json!({"value": 1, "warnings": [{"code": "gap", "text": "a hole", "retryable": retryable}]})
}

fn is_retryable(output: &Value) -> bool {
    output["warnings"][0]["retryable"] == json!(true)
}

impl Ended {
    fn is_retryable(&self) -> bool {
        is_retryable(&self.output)
    }
}

#[derive(Debug, Clone)]
struct Flight {
    run: String,
    input: u8,
    /// A standing success is to be replaced.
    forced: bool,
}

/// What a submit must answer.
#[derive(Debug, PartialEq)]
enum Decision {
    Hit { changed: bool },
    Join { run: String },
    Run { reason: &'static str },
}

impl Model {
    fn decide(&self, mode: ReuseMode, input: u8) -> Decision {
        if let Some(flight) = &self.flight {
            return Decision::Join {
                run: flight.run.clone(),
            };
        }
        let Some(ended) = &self.ended else {
            return Decision::Run { reason: "absent" };
        };
        let reason = match ended.state {
            StageState::Failed => "failed",
            StageState::Cancelled => "cancelled",
            _ if ended.output == json!({}) => "empty_output",
            _ if mode == ReuseMode::Never => "forced",
            _ if mode == ReuseMode::Strict && ended.input != input => "input_changed",
            _ if mode == ReuseMode::Strict && ended.is_retryable() => "retryable_warnings",
            _ => {
                return Decision::Hit {
                    changed: ended.input != input,
                };
            }
        };
        Decision::Run { reason }
    }

    /// The run in flight ends.
    fn end(&mut self, state: StageState, output: Value) {
        let flight = self.flight.take().expect("a run is in flight");
        if state != StageState::Success && flight.forced {
            self.last_attempt = Some(state);
            return;
        }
        if state == StageState::Success {
            self.last_attempt = None;
        }
        self.ended = Some(Ended {
            state,
            output,
            input: flight.input,
        });
    }

    fn output(&self) -> Value {
        match (&self.ended, &self.flight) {
            (_, Some(flight)) if !flight.forced => json!({}),
            (Some(ended), _) => ended.output.clone(),
            (None, _) => json!({}),
        }
    }
}

async fn play(daemon: &Daemon, task: &str, steps: &[Step]) -> Result<(), TestCaseError> {
    let id = task_id(task);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Submit { mode, input } => {
                let expected = model.decide(*mode, *input);
                let body = json!({"input": input});
                let answer = daemon.try_submit(task, TOLD, body, None, *mode).await;
                let answer = answer.map_err(|error| TestCaseError::fail(error.to_string()))?;
                let info = &answer.reuse_info;
                let run = info.run_id.as_ref().map(ToString::to_string);
                let decided = match (&info.reason, &info.state) {
                    (Some(reason), None) if !info.reuse_hit => Decision::Run {
                        reason: match &expected {
                            Decision::Run { reason: expected } if expected == reason => expected,
                            _ => return Err(TestCaseError::fail(format!("{reason}, expected {expected:?}"))),
                        },
                    },
                    (None, Some(state)) if info.reuse_hit && state == "pending" => Decision::Join {
                        run: run.clone().unwrap_or_default(),
                    },
                    (None, None) if info.reuse_hit => Decision::Hit {
                        changed: info.input_changed.flatten().unwrap_or_default(),
                    },
                    _ => return Err(TestCaseError::fail(format!("{answer:?}"))),
                };
                prop_assert_eq!(&decided, &expected);
                match decided {
                    Decision::Hit { .. } => {
                        model.hits += 1;
                        prop_assert_eq!(answer.status, TaskStatus::Completed);
                        let result = answer.result.expect("a hit has a result");
                        let output: Value = serde_json::from_str(result.output.get()).unwrap();
                        prop_assert_eq!(output, model.output());
                    }
                    Decision::Join { .. } => prop_assert_eq!(answer.status, TaskStatus::Pending),
                    Decision::Run { reason } => {
                        prop_assert_eq!(answer.status, TaskStatus::Pending);
                        let forced = matches!(reason, "forced" | "input_changed" | "retryable_warnings");
                        model.flight = Some(Flight {
                            run: run.expect("a run has an id"),
                            input: *input,
                            forced,
                        });
                    }
                }
            }
            Step::End(end) => {
                let Some(flight) = &model.flight else { continue };
                let (state, output, told) = match end {
                    End::Success(value) => (StageState::Success, json!({"value": value}), None),
                    End::Empty => (StageState::Success, json!({}), None),
                    End::Warned(retryable) => (StageState::Success, warned(*retryable), None),
                    End::Failure => (StageState::Failed, json!({}), Some(json!({"error": "it failed"}))),
                };
                daemon.tell(&flight.run, &told.unwrap_or_else(|| json!({"output": output})));
                daemon.until_ended(task, TOLD).await;
                model.end(state, output);
            }
            Step::Cancel => {
                let answer = daemon.call("DELETE", &format!("/v1/tasks/{task}"), None).await;
                let expected = match (&model.flight, &model.ended) {
                    (Some(_), _) => 200,
                    (None, Some(_)) => 400,
                    (None, None) => 404,
                };
                prop_assert_eq!(answer.status, expected);
                if model.flight.is_some() {
                    model.end(StageState::Cancelled, json!({}));
                }
            }
            Step::Delete { force } => {
                let answer = daemon
                    .post(&format!("/v1/tasks/{task}/delete"), json!({"force": force}))
                    .await;
                let expected = match (&model.flight, &model.ended) {
                    (Some(_), _) if !force => 400,
                    (None, None) => 404,
                    _ => 200,
                };
                prop_assert_eq!(answer.status, expected, "{}", answer.text);
                if expected == 200 {
                    model = Model::default();
                }
            }
        }
        let shown = daemon.client.task(&id).await;
        if model.flight.is_none() && model.ended.is_none() {
            prop_assert_eq!(shown.err().and_then(|error| error.status()), Some(404));
            continue;
        }
        let mut view = shown.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let stage = view.stages.swap_remove(&node_name(TOLD)).expect("the stage is there");
        let output: Value = serde_json::from_str(stage.output.get()).unwrap();
        let warnings = output.get("warnings").and_then(Value::as_array).map_or(0, Vec::len);
        prop_assert_eq!(stage.warnings, warnings as u64);
        prop_assert_eq!(stage.warnings_retryable, is_retryable(&output));
        prop_assert_eq!(output, model.output());
        prop_assert_eq!(stage.last_attempt.map(|last| last.status), model.last_attempt);
        prop_assert_eq!(stage.reuse_hits, model.hits);
        match (&model.flight, &model.ended) {
            (Some(flight), _) => {
                prop_assert!(stage.status.in_flight(), "{}", stage.status);
                prop_assert_eq!(stage.run_id.map(|run| run.to_string()), Some(flight.run.clone()));
                prop_assert_eq!(stage.input_params.get(), json!({"input": flight.input}).to_string());
            }
            (None, Some(ended)) => {
                prop_assert_eq!(stage.status, ended.state);
                prop_assert_eq!(stage.input_params.get(), json!({"input": ended.input}).to_string());
                prop_assert_eq!(stage.error.is_some(), ended.state == StageState::Failed);
            }
            (None, None) => unreachable!("answered above"),
        }
    }
    Ok(())
}

#[test]
fn r1_to_r8_every_sequence_is_decided_and_shown_as_the_rules_say() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // Runs whose processes are still ending must not hold up the next one.
    let daemon = runtime.block_on(Daemon::builder().config("[slots]\ncpu = 16").start());
    let case = std::sync::atomic::AtomicU32::new(0);
    let config = Config {
        cases: 40,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let played = TestRunner::new(config).run(&proptest::collection::vec(step(), 1..=12), |steps| {
        let task = format!("case-{}", case.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        runtime.block_on(async {
            let played = play(&daemon, &task, &steps).await;
            let _ = daemon.client.delete(&task_id(&task), true).await;
            played
        })
    });
    if let Err(error) = played {
        panic!("{error}");
    }
}
