//! Where segments lie, whatever the times: within their runs, in their order, on the right columns.

use proptest::prelude::*;

use super::*;

/// A run from drawn times: attempts of a length each, with a pause before each.
fn run(state: StageState, queued: i64, attempts: &[(i64, i64)]) -> RunParts {
    let mut at = queued;
    let mut spans = Vec::new();
    for (pause, takes) in attempts {
        let from = at + pause;
        at = from + takes;
        spans.push(AttemptSpan {
            from,
            to: Some(at),
            has_failed: false,
        });
    }
    RunParts {
        state,
        is_reused: false,
        queued,
        ended: (!state.in_flight()).then_some(at),
        attempts: spans,
    }
}

fn bar(name: &str, needs: &[String]) -> StageBar {
    let parse = |name: &str| NodeName::parse(name).unwrap();
    StageBar {
        node: Arc::new(parse(name)),
        segments: Vec::new(),
        runs: Vec::new(),
        needs: needs.iter().map(|need| parse(need)).collect(),
    }
}

fn segment(from: i64, to: i64) -> TimeSegment {
    TimeSegment {
        kind: SegmentKind::Running,
        from,
        to,
        is_open: false,
    }
}

proptest! {
    #[test]
    fn each_segment_is_within_its_run_and_follows_the_one_before(
        state in 0usize..5,
        queued in 0i64..1_000,
        attempts in proptest::collection::vec((-50i64..500, -50i64..5_000), 0..5),
        later in 0i64..10_000,
    ) {
        let mut bar = bar("a.b", &[]);
        let parts = run(StageState::ALL[state], queued, &attempts);
        let now = parts.ended.unwrap_or(queued) + later;
        parts.add_to(&mut bar, now);
        let span = bar.runs[0].clone();
        let mut at = span.queued;
        for segment in &bar.segments {
            prop_assert!(segment.from >= at && segment.to >= segment.from && segment.to <= span.ended, "{bar:?}");
            at = segment.to;
        }
        let open = bar.segments.iter().filter(|segment| segment.is_open).count();
        prop_assert!(open <= usize::from(parts.state.in_flight()));
    }

    #[test]
    fn the_critical_path_is_a_path_and_its_sum_is_not_longer_than_the_whole(
        stages in proptest::collection::vec((0i64..1_000, 0i64..1_000, 1i64..1_000, proptest::collection::vec(0usize..8, 0..3)), 1..8),
    ) {
        let name = |index: usize| format!("node.n{index}");
        let bars: Vec<_> = stages
            .iter()
            .enumerate()
            .map(|(index, (queued, waits, takes, needs))| {
                let needs: Vec<_> = needs.iter().map(|need| name(need % stages.len())).collect();
                let mut bar = bar(&name(index), &needs);
                run(StageState::Success, *queued, &[(*waits, *takes)]).add_to(&mut bar, 0);
                bar
            })
            .collect();
        let path = find_critical_path(&bars);
        let (from, to) = find_span(&bars).unwrap();
        prop_assert!(sum_path(&bars, &path) <= to - from);
        prop_assert_eq!(bars[*path.last().unwrap()].runs[0].ended, to, "it ends with the last stage");
        for pair in path.windows(2) {
            let before = &bars[pair[0]].node;
            prop_assert!(bars[pair[1]].needs.contains(before), "{} needs {before}", bars[pair[1]].node);
        }
    }

    #[test]
    fn a_segment_is_drawn_where_it_is_to_one_column(
        from in 0i64..100_000,
        takes in 0i64..100_000,
        columns in 1u16..300,
    ) {
        let window = TimeWindow::fit((0, 200_000), columns);
        let (first, end) = window.cells(&segment(from, from + takes)).unwrap();
        let exact = |time: i64| time as f64 / 200_000.0 * f64::from(columns);
        prop_assert!((f64::from(first) - exact(from)).abs() <= 1.001);
        prop_assert!((f64::from(end) - exact(from + takes)).abs() <= 1.001);
        prop_assert!(first < end && end <= columns);
    }

    #[test]
    fn labels_of_the_axis_do_not_touch(span in 1i64..100_000_000_000, columns in 1u16..300) {
        let ticks = TimeWindow::fit((1_000, 1_000 + span), columns).list_ticks(1_000);
        prop_assert_eq!(ticks.first().copied(), Some((0, 0)));
        for pair in ticks.windows(2) {
            prop_assert!(pair[1].0 - pair[0].0 >= 8, "{ticks:?}");
        }
    }
}

#[test]
fn a_retry_has_its_failed_attempt_and_the_pause_before_the_next_one() {
    let mut bar = bar("a.b", &[]);
    run(StageState::Success, 0, &[(10, 100), (50, 200)]).add_to(&mut bar, 0);
    let kinds: Vec<_> = bar.segments.iter().map(|it| (it.kind, it.from, it.to)).collect();
    assert_eq!(
        kinds,
        [
            (SegmentKind::Waiting, 0, 10),
            (SegmentKind::Failed, 10, 110),
            (SegmentKind::Waiting, 110, 160),
            (SegmentKind::Running, 160, 360),
        ]
    );
}

#[test]
fn a_run_of_yesterday_is_not_fitted_onto_the_screen_and_one_shortly_before_is() {
    let mut bar = bar("a.b", &[]);
    run(StageState::Failed, 0, &[(0, 1_000)]).add_to(&mut bar, 0);
    run(StageState::Failed, 80_000_000, &[(0, 1_000)]).add_to(&mut bar, 0);
    run(StageState::Success, 80_030_000, &[(0, 1_000)]).add_to(&mut bar, 0);
    assert_eq!(find_span(&[bar]), Some((80_000_000, 80_031_000)));
}

#[test]
fn times_of_the_axis_read_well() {
    let words = [0, 250, 1_000, 90_000, 3_600_000, 5_400_000, 90_000_000, -30_000].map(format_tick);
    assert_eq!(
        words,
        [
            "0 s", "0.25 s", "1 s", "1 m 30 s", "1 h", "1 h 30 m", "1 d 1 h", "-30 s"
        ]
    );
}

#[test]
fn zoom_keeps_the_middle_and_fitting_shows_everything_again() {
    let span = (0, 100_000);
    let mut page = TimelinePage::default();
    page.zoom_by(1, span);
    let window = page.choose_window(span, 100);
    assert_eq!((window.from, window.per_cell), (25_000.0, 500.0));
    page.pan(0.25, span, 100);
    assert_eq!(page.choose_window(span, 100).from, 37_500.0);
    page.fit();
    assert_eq!(page.choose_window(span, 100), TimeWindow::fit(span, 100));
}
