//! Videos from the keyboard: the page, start, force, reprocess, delete, register; what is asked and what is sent.

use onceover_tui::{
    model::{MissingPart, Model, Page},
    update::{Call, Effect, Refusal, Reply, UiEvent, update},
};
use onceover_types::FieldError;
use onceover_wire::{DeleteReport, DeletionStatus, ProcessingStatus, ReprocessRequest, VideoDeletion, VideoStarted};

use crate::{fixture::*, video_fixture::*};

fn start(video: &str, pipeline: Option<&str>, force: bool) -> Call {
    Call::RunVideo {
        video: video_id(video),
        pipeline: pipeline.map(str::to_owned),
        force,
    }
}

fn only(effects: &[Effect]) -> (u64, Call) {
    let mut changes = changes(effects);
    assert_eq!(changes.len(), 1, "{changes:?}");
    changes.remove(0)
}

fn refuse(model: &mut Model, id: u64, status: u16, text: &str) {
    let reply = Reply::Started(Err(Refusal {
        status: Some(status),
        text: text.into(),
        ..Refusal::default()
    }));
    update(model, UiEvent::Reply { id, reply });
}

fn started(model: &mut Model, id: u64, video: &str) {
    let video_id = video_id(video);
    let reply = Reply::Started(Ok(Box::new(VideoStarted {
        message: "accepted".into(),
        task_id: video_id.task(),
        video_id,
        status: ProcessingStatus::Pending,
        pipeline: "sample".into(),
        run_id: run(9),
    })));
    update(model, UiEvent::Reply { id, reply });
}

#[test]
fn d3_a_start_asks_which_pipeline_and_has_one_chosen() {
    let mut model = of_videos((120, 36));
    // A video that was processed before: with the same again.
    press_videos(&mut model, "r");
    assert_shows(
        &model,
        &["Rerun video-talk", "▸ s start", "r restart", "enter asks first"],
    );
    press_videos(&mut model, "<enter>");
    assert_shows(&model, &["Start a pipeline of 1 video?", "‹ sample ›", "[ Start ]"]);
    press(&mut model, "<esc>");
    // A video that was never processed: with the default, and what is missing is shown.
    press_videos(&mut model, "v<home>");
    press_videos(&mut model, "r<enter>");
    assert_shows(&model, &["‹ subtitles ›", "here: transcribe_audio", "never processed"]);
    let effects = press_videos(&mut model, "<up><enter>");
    assert_eq!(only(&effects).1, start("new", Some("sample"), false));
    assert_shows(&model, &["… requested"]);
    started(&mut model, only(&effects).0, "new");
    assert_shows(&model, &["video-new: sample started"]);
}

#[test]
fn d3_a_start_does_not_wait_for_the_list_of_pipelines() {
    let mut model = of_videos((120, 36));
    press(&mut model, "r<enter>");
    assert_shows(&model, &["the daemon's default"]);
    let effects = press(&mut model, "<enter>");
    assert_eq!(only(&effects).1, start("talk", None, false));
}

#[test]
fn d3_with_one_pipeline_there_is_nothing_to_ask() {
    let mut model = of_videos((120, 36));
    press_videos(&mut model, "v<esc>");
    let list = model.pipelines.list.as_mut().unwrap();
    list.pipelines.truncate(1);
    list.default = "sample".into();
    let effects = press(&mut model, "r<enter>");
    assert!(model.dialog.is_none());
    assert_eq!(only(&effects).1, start("talk", None, false));
}

#[test]
fn v1_a_refusal_is_said_in_words_where_others_are() {
    let mut model = of_videos((120, 36));
    let effects = press_videos(&mut model, "r<enter><enter>");
    refuse(&mut model, only(&effects).0, 409, "talk is being processed already");
    assert_shows(&model, &["! refused", "start refused: talk is being processed already"]);
    tick(&mut model, 20.0);
    assert_shows(&model, &["✖ refused: talk is being processed already"]);
    // On the page of videos, too.
    press_videos(&mut model, "v");
    assert_shows(&model, &["! refused", "✖ refused: talk is being processed already"]);
}

#[test]
fn d3_force_says_exactly_what_it_ends_and_does_nothing_by_default() {
    let mut model = of_videos((120, 36));
    press_videos(&mut model, "rr<enter>");
    assert_shows(
        &model,
        &[
            "Restart 1 video?",
            "ends sample at 36 %; running: transcribe_audio (40 %); not begun:",
            "generate_subtitle_files, extract_keyframes",
            "Every step runs again",
            "[ Cancel ]",
        ],
    );
    assert_eq!(changes(&press_videos(&mut model, "<enter>")), []);
    let effects = press_videos(&mut model, "rr<enter><tab><enter>");
    assert_eq!(only(&effects).1, start("talk", Some("sample"), true));
}

#[test]
fn d3_reprocess_of_a_step_names_it_and_what_depends_on_it() {
    let mut model = of_videos((120, 36));
    // The failed step of `clip`.
    model.tree.expanded.clear();
    model.tree.changed();
    press_videos(&mut model, "<home>jlll");
    press_videos(&mut model, "j");
    assert_eq!(cursor(&model), "video-clip › faster_whisper.transcribe_audio");
    press_videos(&mut model, "rd<enter>");
    assert_shows(
        &model,
        &[
            "Reprocess 1 video?",
            "again: transcribe_audio, generate_subtitle_files",
            "kept: extract_audio, extract_keyframes",
            "[ Cancel ]",
        ],
    );
    assert_eq!(changes(&press_videos(&mut model, "<enter>")), [], "Enter means Cancel");
    let effects = press_videos(&mut model, "rd<enter>y");
    let request = |steps: &[&str], force| ReprocessRequest {
        steps: steps.iter().map(|step| (*step).to_owned()).collect(),
        pipeline: Some("sample".into()),
        force,
    };
    let call = Call::Reprocess {
        video: video_id("clip"),
        request: request(&["transcribe_audio"], false),
    };
    assert_eq!(only(&effects).1, call);
    // On the video itself it is every step, which is a restart.
    press_videos(&mut model, "<home>r");
    assert_shows(&model, &["Rerun video-talk", "runs every step"]);
    assert_hides(&model, "dependents");
    // What is under way is ended, and the question says so.
    press_videos(&mut model, "<esc>llj");
    assert_eq!(cursor(&model), "video-talk › faster_whisper.transcribe_audio");
    press_videos(&mut model, "rd<enter>");
    assert_shows(&model, &["ends sample at 36 %"]);
    let effects = press_videos(&mut model, "y");
    let call = Call::Reprocess {
        video: video_id("talk"),
        request: request(&["transcribe_audio"], true),
    };
    assert_eq!(only(&effects).1, call);
}

#[test]
fn d3_many_marked_videos_are_started_and_the_refused_stay_marked() {
    let mut model = of_videos((120, 36));
    let effects = press_videos(&mut model, "v*r<enter><enter>");
    let calls = changes(&effects);
    assert_eq!(calls.len(), 3);
    for (id, call) in calls {
        match call {
            Call::RunVideo { video, .. } if video == video_id("talk") => refuse(&mut model, id, 409, "in progress"),
            Call::RunVideo { video, .. } => started(&mut model, id, video.as_str()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(model.videos.marks.iter().collect::<Vec<_>>(), [&video_id("talk")]);
    assert_shows(&model, &["start: 1 of 3 refused and still marked"]);
}

#[test]
fn d3_a_video_is_deleted_with_or_without_its_task_and_can_be_taken_back() {
    let mut model = of_videos((120, 36));
    press_videos(&mut model, "v<home>jj");
    press_videos(&mut model, "D");
    assert_shows(
        &model,
        &[
            "Delete 1 video?",
            "the file is removed: /srv/videos/clip.mp4",
            "the record of the video and of its pipeline",
            "‹ keep ›",
            "The stages of its task, their results and files, stay.",
            "[ Cancel ]",
        ],
    );
    press_videos(&mut model, "<down>");
    assert_shows(&model, &["‹ delete too ›", "/data/share/workflows/video-clip"]);
    press_videos(&mut model, "y");
    assert_shows(&model, &["✂ 1 video will be deleted in 5 s", "✂ del in 5 s"]);
    press_videos(&mut model, "u");
    assert_shows(&model, &["taken back: 1 video not deleted"]);
    assert_eq!(tick(&mut model, 6.0), []);

    press_videos(&mut model, "D<down>y");
    let effects = tick(&mut model, 12.0);
    let (id, call) = only(&effects);
    let delete = |video: &str, with_task, force| Call::DeleteVideo {
        video: video_id(video),
        with_task,
        force,
    };
    assert_eq!(call, delete("clip", true, false));
    let report = DeleteReport {
        status: DeletionStatus::Success,
        results: Vec::new(),
        warnings: None,
        timestamp: at(0.0),
    };
    let reply = Reply::VideoDeleted(Ok(Box::new(VideoDeletion {
        video_id: video_id("clip"),
        message: "deleted".into(),
        file_removed: true,
        task: Some(report),
    })));
    update(&mut model, UiEvent::Reply { id, reply });
    assert_shows(&model, &["video deleted, its file too, and its task"]);

    // What is under way is ended, which the question says; the task's data stays by default.
    press_videos(&mut model, "kD");
    assert_shows(&model, &["ends sample at 36 %", "the file stays: /srv/videos/talk.mp4"]);
    press_videos(&mut model, "y");
    assert_eq!(only(&tick(&mut model, 20.0)).1, delete("talk", false, true));
    // In the tree it is not known here where the file came from: both cases are shown.
    let mut model = of_videos((120, 36));
    press_videos(&mut model, "D");
    assert_shows(&model, &["uploaded or fetched is removed too"]);
}

#[test]
fn o4_the_form_registers_and_puts_refusals_at_their_fields() {
    let mut model = of_videos((120, 36));
    press_videos(&mut model, "va");
    assert_eq!(model.page, Page::Register);
    // Nothing is typed: the form says so at once and sends nothing.
    assert_eq!(changes(&press_videos(&mut model, "<c-s>")), []);
    assert_shows(&model, &["a path or a URL is needed"]);
    update(&mut model, UiEvent::Paste("/srv/videos/강의 8.mp4\n".into()));
    let effects = press_videos(&mut model, "<enter>talk<tab>q?<enter><enter>");
    let (id, call) = only(&effects);
    let Call::RegisterVideo { request } = call else {
        panic!("{call:?}");
    };
    assert_eq!(request.path.as_deref(), Some("/srv/videos/강의 8.mp4"));
    assert_eq!(
        (request.url.as_deref(), request.video_id.as_deref()),
        (None, Some("talk"))
    );
    assert_eq!(request.title.as_deref(), Some("q?"), "keys are text there");
    assert_shows(&model, &["… requested"]);
    assert_eq!(changes(&press_videos(&mut model, "<c-s>")), [], "once");
    let reply = Reply::Registered(Err(Refusal {
        status: Some(409),
        lacks_scope: false,
        text: "refused".into(),
        errors: vec![FieldError::new("video_id", "talk is registered already")],
    }));
    update(&mut model, UiEvent::Reply { id, reply });
    tick(&mut model, 20.0);
    assert_shows(&model, &["✖ talk is registered already"]);
    // It is all still there; a URL is one.
    let effects = press_videos(&mut model, "<c-u>talk-2<up><c-u>https://example.org/a.mp4<c-s>");
    let (id, call) = only(&effects);
    assert!(matches!(call, Call::RegisterVideo { request } if request.url.is_some() && request.path.is_none()));
    let video = registered().items.remove(1);
    let reply = Reply::Registered(Ok(Box::new(video)));
    let effects = update(&mut model, UiEvent::Reply { id, reply });
    answer_videos(&mut model, &effects);
    assert_eq!(model.page, Page::Videos);
    assert_eq!(
        model.videos.list.cursor(),
        Some(&video_id("talk")),
        "the cursor is on it"
    );
}

#[test]
fn the_page_of_videos_lives() {
    let mut model = of_videos((120, 36));
    press_videos(&mut model, "v");
    assert_eq!(
        model.videos.list.cursor(),
        Some(&video_id("talk")),
        "that of the tree's row"
    );
    update(&mut model, pipeline_event(101, moved(6, 77, false)));
    assert_shows(&model, &["● run 77 %"]);
    // A video that is not in the list is heard of: the list is read again, once.
    let mut other = moved(1, 0, true);
    other.video_id = video_id("elsewhere");
    update(&mut model, pipeline_event(102, other));
    let asks = |effects: &[Effect]| {
        let videos = |effect: &&Effect| matches!(effect, Effect::Call { call: Call::Videos, .. });
        effects.iter().filter(videos).count()
    };
    assert_eq!(asks(&tick(&mut model, 0.05)), 0);
    assert_eq!(asks(&tick(&mut model, 0.2)), 1);
    assert_eq!(asks(&tick(&mut model, 0.4)), 0);
    // One was forgotten: so is its pipeline, once the daemon says so.
    let forgotten = UiEvent::Change(Box::new(onceover_wire::Event {
        v: 1,
        seq: 103,
        ts: at(0.0),
        task_id: task_id("video-talk"),
        task_name: None,
        kind: onceover_wire::EventKind::Video,
        stage: None,
        pipeline: None,
    }));
    let asked = reads(&update(&mut model, forgotten));
    assert_eq!((asked.len(), asks(&tick(&mut model, 0.6))), (1, 1));
    let reply = Reply::Processing(Err(Refusal {
        status: Some(404),
        ..Refusal::default()
    }));
    update(&mut model, UiEvent::Reply { id: asked[0], reply });
    assert!(model.store.get(&task_id("video-talk")).unwrap().pipeline.is_none());
    // Its task is one key away, whatever the filter.
    press_videos(&mut model, "<esc>p");
    press_videos(&mut model, "v<end><enter>");
    assert_eq!((model.page, cursor(&model).as_str()), (Page::Tasks, "video-clip"));
    press_videos(&mut model, "v<home><enter>");
    assert_eq!(model.page, Page::Videos);
    assert_shows(&model, &["has no task yet"]);
}

#[test]
fn d4_nothing_is_started_while_disconnected() {
    let mut model = of_videos((120, 36));
    press_videos(&mut model, "v");
    update(&mut model, lost(MissingPart::Daemon));
    for keys in ["r", "D"] {
        assert_eq!(changes(&press_videos(&mut model, keys)), []);
        assert!(model.dialog.is_none());
        assert_shows(&model, &["not while disconnected"]);
    }
    press_videos(&mut model, "a/x<c-s>");
    assert_shows(&model, &["not while disconnected"]);
}

#[test]
fn keys_for_videos_are_offered_where_there_is_one() {
    let mut model = of_videos((200, 36));
    assert_shows(&model, &["r rerun", "D delete video"]);
    press(&mut model, "G");
    assert_hides(&model, "D delete video");
    press(&mut model, "D");
    assert!(model.dialog.is_none());
    assert_shows(&model, &["no task of a video"]);
}
