//! That nothing a program starts outlives its run, and that nothing it prints can hurt.

use std::time::Instant as Clock;

use std::{fs, io, os::unix::process::ExitStatusExt, time::Duration};

use onceover_run::{
    RunError,
    tool::{DEFAULT_LINE_LIMIT, INHERITED, RUN_VARIABLE, Tool},
};

use crate::{
    ServedEvent, ServedProgram,
    fixture::Fixture,
    spawned::{TAIL, cannot_start},
    sweep::{marked, sweep, sweep_until_gone},
};

fn shell(script: &str) -> Tool {
    Tool::new("sh").arg("-c").arg(script)
}

async fn gone(mark: &str) {
    tokio::time::timeout(Duration::from_secs(10), async {
        while !marked(mark).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("processes of the run are left");
}

/// Runs the script, cancels the run at its first line of output, and gives how long the end took.
async fn cancel_at_first_line(fixture: &Fixture, tool: Tool) -> Duration {
    let cancel = fixture.context.cancel.clone();
    let mut cancelled = None;
    let result = tool
        .run(&fixture.context, |_| {
            cancelled.get_or_insert_with(Clock::now);
            cancel.cancel();
        })
        .await;
    assert!(matches!(result, Err(RunError::Interrupted)), "{result:?}");
    assert_eq!(marked(&fixture.context.mark), [0; 0]);
    cancelled.expect("it printed a line").elapsed()
}

#[tokio::test]
async fn cancel_ends_the_whole_group() {
    let fixture = Fixture::bare();
    let tool = shell("sleep 60 & sh -c 'sleep 60 & wait' & echo ready; wait").grace(Duration::from_secs(30));
    let took = cancel_at_first_line(&fixture, tool).await;
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn cancel_kills_what_ignores_sigterm_after_the_grace_time() {
    let fixture = Fixture::bare();
    let tool = shell("trap '' TERM; echo ready; while :; do sleep 1; done").grace(Duration::from_millis(300));
    let took = cancel_at_first_line(&fixture, tool).await;
    assert!(took >= Duration::from_millis(300), "{took:?}");
}

#[tokio::test]
async fn cancel_reaches_a_process_that_made_its_own_session() {
    let fixture = Fixture::bare();
    cancel_at_first_line(&fixture, shell("setsid sh -c 'echo ready; exec sleep 60' & wait")).await;
}

#[tokio::test]
async fn a_normal_exit_leaves_neither_background_nor_daemonised_processes() {
    let fixture = Fixture::bare();
    // They hold its output open as well.
    let exit = shell("sleep 60 & setsid sh -c '>up; sleep 60' & until [ -e up ]; do :; done; echo end")
        .current_dir(&fixture.context.dir)
        .run(&fixture.context, |_| {})
        .await
        .unwrap();
    assert!(exit.is_success(), "{exit:?}");
    assert_eq!(marked(&fixture.context.mark), [0; 0]);
}

#[tokio::test]
async fn an_untraceable_process_that_holds_the_output_open_does_not_make_a_run_hang() {
    let fixture = Fixture::bare();
    let start = Clock::now();
    let mut lines = Vec::new();
    // It has no environment and a separate session: neither the group nor the mark finds it.
    shell("env -i setsid sleep 8 & until [ $(tr -d '\\0' </proc/$!/cmdline) = sleep8 ]; do :; done; echo done")
        .run(&fixture.context, |line| lines.push(line.to_owned()))
        .await
        .unwrap();
    assert_eq!(lines, ["done"]);
    assert!(start.elapsed() < Duration::from_secs(7), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_untraceable_process_that_goes_on_writing_does_not_make_a_run_hang() {
    let fixture = Fixture::bare();
    let start = Clock::now();
    // Ends by itself when nobody reads any more.
    let exit = shell("env -i setsid yes & until [ \"$(tr -d '\\0' </proc/$!/cmdline)\" = yes ]; do :; done")
        .run(&fixture.context, |_| {})
        .await;
    assert!(exit.unwrap().is_success());
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_dropped_run_leaves_nothing() {
    let fixture = Fixture::bare();
    let ready = tokio_util::sync::CancellationToken::new();
    tokio::select! {
        result = shell("trap '' TERM; sleep 60 & setsid sh -c 'echo ready; sleep 60' & wait; wait")
            .run(&fixture.context, |_| ready.cancel()) => panic!("{result:?}"),
        () = ready.cancelled() => {}
    }
    gone(&fixture.context.mark).await;
}

#[tokio::test]
async fn programs_of_one_run_do_not_end_each_other() {
    let fixture = Fixture::bare();
    let first_ended = fixture.path("first-ended");
    let waiting = format!(
        "until [ -e '{}' ]; do sleep 0.05; done; echo second",
        first_ended.display()
    );
    let mut said = Vec::new();
    let (first, second) = tokio::join!(
        async {
            let exit = shell("true").run(&fixture.context, |_| {}).await;
            std::fs::write(&first_ended, "").unwrap();
            exit
        },
        shell(&waiting).run(&fixture.context, |line| said.push(line.to_owned())),
    );
    assert!(first.unwrap().is_success() && second.unwrap().is_success());
    assert_eq!(said, ["second"]);
}

#[tokio::test]
async fn a_sweep_finds_processes_by_the_start_of_their_mark() {
    let fixture = Fixture::bare();
    let mark = fixture.context.mark.clone();
    let mut swept = 0;
    let exit = shell("echo ready; exec sleep 60")
        .run(&fixture.context, |_| swept = sweep(&mark[..mark.len() - 1]))
        .await
        .unwrap();
    assert_eq!((swept, exit.status.signal()), (1, Some(9)));
    assert!(sweep_until_gone(&mark, Duration::from_secs(5)));
}

#[tokio::test]
async fn a_flood_on_both_outputs_is_read_to_its_end() {
    let fixture = Fixture::bare();
    let mut lines = 0;
    let exit = shell("yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | head -n 200000 & yes err | head -n 200000 >&2; wait; echo oops >&2")
        .run(&fixture.context, |_| lines += 1)
        .await
        .unwrap();
    assert_eq!(lines, 200_000);
    assert_eq!(exit.stderr.len(), TAIL);
    assert_eq!(exit.stderr.last().unwrap(), "oops");
    assert!(std::fs::metadata(fixture.context.log.path()).unwrap().len() < 9_000_000);
}

#[tokio::test]
async fn one_endless_line_and_bytes_that_are_no_text_are_harmless() {
    let fixture = Fixture::bare();
    let mut lines = Vec::new();
    shell("head -c 20000000 /dev/zero | tr '\\0' x; echo; printf '\\377\\376\\n'; printf 'no end'")
        .run(&fixture.context, |line| lines.push(line.to_owned()))
        .await
        .unwrap();
    assert_eq!(lines[0].len(), DEFAULT_LINE_LIMIT);
    assert_eq!(lines[1..], ["\u{fffd}\u{fffd}", "no end"]);
}

#[tokio::test]
async fn a_program_that_does_not_read_its_input_still_ends() {
    let fixture = Fixture::bare();
    let exit = shell("exit 3")
        .stdin(vec![b'x'; 10_000_000])
        .run(&fixture.context, |_| {})
        .await;
    assert_eq!(exit.unwrap().in_words(), "exit code 3");
    // What fits into a pipe is written before the program starts, the rest meanwhile.
    for length in [0, 5, 4096, 4097, 60_000] {
        let mut read = String::new();
        Tool::new("cat")
            .stdin(vec![b'y'; length])
            .run(&fixture.context, |line| read.push_str(line))
            .await
            .unwrap();
        assert_eq!(read, "y".repeat(length));
    }
}

#[tokio::test]
async fn the_environment_is_an_allow_list() {
    let fixture = Fixture::bare();
    let mut names = Vec::new();
    let run = Tool::new("env")
        .inherit(&["CARGO_PKG_*".into()])
        .run(&fixture.context, |line| {
            names.push(line.split_once('=').unwrap().0.to_owned());
        });
    run.await.unwrap();
    assert!(names.contains(&"PATH".into()) && names.contains(&RUN_VARIABLE.into()));
    for name in names {
        let known = INHERITED
            .iter()
            .any(|pattern| name.starts_with(pattern.trim_end_matches('*')));
        assert!(
            known || name.starts_with("ONCEOVER_") || name.starts_with("CARGO_PKG_"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_named_program_is_found_on_the_path_that_it_gets_and_keeps_its_name() {
    let fixture = Fixture::bare();
    let mut said = Vec::new();
    shell("echo $0")
        .run(&fixture.context, |line| said.push(line.to_owned()))
        .await
        .unwrap();
    std::os::unix::fs::symlink("/bin/echo", fixture.path("says")).unwrap();
    let folder = fixture.path("says").parent().unwrap().to_owned();
    let paths = std::env::join_paths([folder.join("none"), folder]).unwrap();
    Tool::new("says")
        .arg("hello")
        .env("PATH", "/none")
        .env("PATH", paths)
        .run(&fixture.context, |line| said.push(line.to_owned()))
        .await
        .unwrap();
    assert_eq!(said, ["sh", "hello"]);
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_named_with_what_to_do() {
    let fixture = Fixture::bare();
    let error = Tool::new("onceover-no-such-program")
        .run(&fixture.context, |_| {})
        .await
        .unwrap_err();
    assert!(error.to_string().contains("onceover-no-such-program"), "{error}");
    let missing = io::Error::from(io::ErrorKind::NotFound);
    assert!(cannot_start("ffprobe".as_ref(), &missing).contains("apt-get install ffmpeg"));
}

#[tokio::test]
async fn a_run_that_was_cancelled_before_starts_nothing() {
    let fixture = Fixture::bare();
    fixture.context.cancel.cancel();
    let touched = fixture.path("touched");
    let result = Tool::new("touch").arg(&touched).run(&fixture.context, |_| {}).await;
    assert!(matches!(result, Err(RunError::Interrupted)));
    assert!(!touched.exists());
}

async fn next_line(program: &mut ServedProgram) -> String {
    loop {
        match program.next_event().await.unwrap() {
            ServedEvent::Line(line) => return line,
            ServedEvent::ErrorLine(_) => {}
            ServedEvent::Ended => panic!("it has ended"),
        }
    }
}

#[tokio::test]
async fn what_a_run_leaves_is_killed_and_its_program_goes_on_with_what_it_keeps() {
    let mark = format!("test-{}/warm/1", onceover_types::RunId::generate());
    let script =
        "sleep 60 & echo $!; ONCEOVER_KEPT=1 setsid sleep 60 & echo $!; while read line; do echo got $line; done";
    let mut program = ServedProgram::start(&shell(script), mark.clone()).unwrap();
    let left: i32 = next_line(&mut program).await.parse().unwrap();
    let kept: i32 = next_line(&mut program).await.parse().unwrap();
    let is_sleep = |pid: i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep"));
    while !(is_sleep(left) && is_sleep(kept)) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    program.kill_left();
    while is_sleep(left) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(is_sleep(kept));
    program.send(b"hello\n");
    assert_eq!(next_line(&mut program).await, "got hello");
    let exit = program.end(Duration::from_secs(30)).await.unwrap();
    assert!(exit.is_success(), "{exit:?}");
    assert_eq!(marked(&mark), [0; 0]);
}

#[tokio::test]
async fn a_program_that_does_not_end_when_its_input_is_closed_is_killed_and_one_that_is_dropped_is() {
    let mark = format!("test-{}/warm/1", onceover_types::RunId::generate());
    let deaf = shell("trap '' TERM; echo ready; while :; do sleep 60; done");
    let mut program = ServedProgram::start(&deaf, mark.clone()).unwrap();
    assert_eq!(next_line(&mut program).await, "ready");
    let exit = program.end(Duration::from_millis(100)).await.unwrap();
    assert_eq!(exit.status.signal(), Some(9));
    assert_eq!(marked(&mark), [0; 0]);
    let mut program = ServedProgram::start(&deaf, mark.clone()).unwrap();
    assert_eq!(next_line(&mut program).await, "ready");
    drop(program);
    gone(&mark).await;
}
