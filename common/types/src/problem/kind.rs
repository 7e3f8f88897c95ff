//! The kinds of problems there are: the one table of their names, statuses and pages. A problem document names one of
//! them as its `type`, and `GET /problems/<slug>` explains it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Path that every problem's `type` begins with.
pub const PROBLEMS: &str = "/problems";

/// What is the same for every problem of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProblemPage {
    /// Last part of its `type`.
    pub slug: &'static str,
    /// HTTP status of the answer.
    pub status: u16,
    /// The kind in a few words.
    pub title: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What the caller can do.
    pub remedy: &'static str,
}

macro_rules! problem_kinds {
    ($($variant:ident $slug:literal $status:literal $title:literal $meaning:literal $remedy:literal;)*) => {
        /// A kind of problem. Each has a page, so no problem can be made without one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemKind {
            $(#[doc = $meaning] $variant,)*
        }

        impl ProblemKind {
            /// Every kind, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns what its page says.
            pub const fn page(self) -> &'static ProblemPage {
                match self {
                    $(Self::$variant => &ProblemPage {
                        slug: $slug,
                        status: $status,
                        title: $title,
                        meaning: $meaning,
                        remedy: $remedy,
                    },)*
                }
            }
        }
    };
}

problem_kinds! {
    InvalidRequest "invalid-request" 422 "The request cannot be accepted"
        "The request was understood, but fields of it are missing or wrong. `errors` names each with what is allowed. Nothing was stored."
        "Correct the named fields and send it again.";
    IdempotencyKeyReused "idempotency-key-reused" 422 "The key stands for another request"
        "The header `Idempotency-Key` was sent with another request within the last day, so this one cannot be its repetition. Nothing was stored."
        "Repeat a request with the key that it was first sent with, and give each other request a new key.";
    BadRequest "bad-request" 400 "The request contradicts itself"
        "Something that HTTP requires of a request is missing or given twice, such as its header Host."
        "Read `detail`, and check what stands between the client and the daemon.";
    NotJson "not-json" 400 "Not JSON"
        "The body is not JSON, or continues after its end."
        "Send one JSON document; `detail` has the line and column where reading stopped.";
    MediaType "media-type" 415 "Not this kind of body"
        "The body is of a kind that this endpoint does not read, by its `Content-Type` and its content."
        "Send what the endpoint's description names, application/json or multipart/form-data.";
    BodyTimeout "body-timeout" 408 "The body did not come"
        "No more of the request's body came within its time (access.body_timeout). Nothing was stored, and the connection is closed."
        "Send it again, whole and without pauses; a slow line may need a longer time.";
    BadBody "bad-body" 400 "Body unreadable"
        "The body broke off, or is not the form that its `Content-Type` says."
        "Send it again, whole; a file goes as a multipart/form-data form.";
    BadForm "bad-form" 400 "The form cannot be read"
        "The body is not the multipart/form-data form that its `Content-Type` says, or broke off."
        "Send the form again, whole, with its boundary in the `Content-Type`.";
    TooLarge "too-large" 413 "Too large"
        "The body, the file or the input is larger than may be."
        "Send less; `detail` names the setting where the limit is one.";
    Range "range" 416 "Range not satisfiable"
        "The range of bytes that was asked for lies outside of the file."
        "Ask for a range within the size that `detail` names, or for the whole.";
    Refused "refused" 400 "Not possible now"
        "The request is right, but what it is about is in another state, such as a stage in flight."
        "Read `detail`: it says which state that is, and what would change it.";
    Unauthorized "unauthorized" 401 "A token is needed"
        "The request has no token of this daemon, or a link whose signature does not fit it."
        "Send `Authorization: Bearer <token>`, or ask for a signed link with `GET /v1/links?path=...`.";
    LinkExpired "link-expired" 401 "The link has expired"
        "The signed link was right until the time that `detail` names."
        "Ask for a new one with `GET /v1/links?path=...` and a token.";
    Scope "scope" 403 "The token does not suffice"
        "The token is one of this daemon's, but its scope does not allow this request."
        "Use a token of scope admin for anything but reading.";
    Host "host" 403 "Not this daemon's name"
        "The `Host` of the request is none that this daemon answers to. That keeps web pages from reaching it through a name of theirs (DNS rebinding)."
        "Use localhost, or add the name to access.hosts in the configuration.";
    Origin "origin" 403 "Not a page of this daemon"
        "A browser sent a request that changes something for a page of another site."
        "If that page is yours, add its host to access.hosts in the configuration.";
    NotFound "not-found" 404 "Not found"
        "There is no endpoint at this path."
        "Look the path up in `/docs` or `/openapi.json`.";
    MethodNotAllowed "method-not-allowed" 405 "Method not allowed"
        "There is an endpoint at this path, but not for this method."
        "Use one of the methods in the header `Allow`; `/docs` shows what each does.";
    UnknownTask "unknown-task" 404 "Unknown task"
        "There is no task of this id: it was never submitted, was deleted, or its record has expired (retention.ttl)."
        "Check the id in `GET /v1/tasks`, or submit it again.";
    UnknownStage "unknown-stage" 404 "Unknown stage"
        "The task has no stage of this node."
        "Check the names under `stages` of the task.";
    UnknownNode "unknown-node" 404 "Unknown node"
        "The catalog has no node of this name."
        "Take a name from `GET /v1/tasks/supported-tasks`.";
    UnknownCallback "unknown-callback" 404 "Unknown callback"
        "There is no delivery of this id: it was never made, or is not kept any more (callbacks.keep, retention.ttl)."
        "Take an id from `GET /v1/callbacks`.";
    UnknownVideo "unknown-video" 404 "Unknown video"
        "No video is registered under this id."
        "Register it with `POST /api/v1/videos`, or take an id from `GET /api/v1/videos`.";
    NeverProcessed "never-processed" 404 "Never processed"
        "The video is registered, but no pipeline has run on it."
        "Start one with `POST /api/v1/videos/{video_id}/run_sync`.";
    NoLog "no-log" 404 "No log"
        "The stage has no log: its run has not begun, ran elsewhere, or its files were removed."
        "Wait until the stage is RUNNING, or run it again.";
    NoFile "no-file" 404 "No such file"
        "There is no file at this path, in the share or in the bucket."
        "Check the path in `GET /v1/files`.";
    FilePermission "file-permission" 403 "File not permitted"
        "The user that the daemon runs as may not read or change this file."
        "Change the owner or the mode of the file on the daemon's machine.";
    InputChanged "input-changed" 409 "Result of other input"
        "The stage has a result of other input, and its node refuses to reuse or replace that silently."
        "Submit with the same input, with `\"reuse\": \"never\"` to run it again, or under another task id.";
    NodeNotReady "node-not-ready" 409 "The node cannot run here"
        "The daemon's machine lacks something that the node needs, and there is no result to reuse. Nothing was stored."
        "`missing` names what is lacking and the command to get it; `onceoverd nodes` lists it for all nodes.";
    DamagedRecord "damaged-record" 409 "The record is damaged"
        "What Redis holds of the stage is not what Onceover writes, so nothing can be decided by it. Nothing was stored."
        "Run `onceoverd check --repair`, which repairs the record or sets it aside, or delete the task.";
    TooManyCallbacks "too-many-callbacks" 409 "Too many callbacks"
        "As many distinct callback URLs wait for the run under way as may (callbacks.max_per_run). Nothing was stored."
        "Send the request without a callback, or again once the run has ended.";
    Superseded "superseded" 409 "Superseded"
        "A newer request has replaced this one."
        "Read the newest state; there is nothing to repeat.";
    VideoExists "video-exists" 409 "The id is taken"
        "Another video is registered under this id."
        "Choose another `video_id`, or delete the other video first.";
    NotAVideo "not-a-video" 422 "The file is no video"
        "The file can be read, and ffprobe finds no video track in it. Nothing was stored."
        "Register a file that has a picture; `errors` says what was found.";
    OutsideRoots "outside-roots" 422 "The file lies where nothing is read"
        "Files are read below the data folder and the media roots alone, and this one lies elsewhere. Nothing was stored."
        "Move the file below a media root, or start the daemon with `--media-root` for its folder.";
    UnreadableFile "unreadable-file" 422 "The file cannot be opened"
        "There is no such file on the daemon's machine, or the user that the daemon runs as may not read it. Nothing was stored."
        "Check path, owner and mode on the daemon's machine; `errors` says what the system answered.";
    DamagedMedia "damaged-media" 422 "The file is damaged"
        "The file can be opened, and ffprobe cannot make sense of it: it may be cut short, or still be written. Nothing was stored."
        "Send the request again once the file is complete; `errors` has what ffprobe printed.";
    ProbeTimeout "probe-timeout" 422 "The file was not read in time"
        "ffprobe gave no answer about the file within its time. Nothing was stored."
        "Send the request again; if it does not help, run `ffprobe` on the file on the daemon's machine.";
    AlreadyProcessing "already-processing" 409 "Already being processed"
        "A pipeline is under way for this video, under the task that `task_id` names."
        "Wait for its end, cancel it, or send the request with `force`.";
    Internal "internal" 500 "Internal error"
        "A defect of onceoverd, or a state of its machine that it cannot handle."
        "Look up the request's id (`instance`) in the daemon's log, and report it.";
    RedisFull "redis-full" 503 "Redis is nearly full"
        "Redis takes most of the memory it may, so no new run or callback is accepted. Runs under way continue. Nothing was stored."
        "Delete tasks or wait until some expire; `detail` names the setting that gives it more.";
    RedisUnavailable "redis-unavailable" 503 "Redis is not available"
        "Redis cannot be reached, did not answer in time or refuses writes. Nothing was decided."
        "Send the same request again in a moment; `GET /readyz` says when it can succeed.";
    StorageUnavailable "storage-unavailable" 503 "The object store is not available"
        "The object store cannot be reached or refused the request."
        "Send the same request again in a moment; `detail` says what the store answered.";
    Draining "draining" 503 "The daemon is stopping"
        "The daemon was asked to stop and takes no new work."
        "Send the same request again once a daemon is back.";
    Busy "busy" 503 "Too many requests at a time"
        "As many requests as access.max_requests allows are under way."
        "Send the same request again in a moment.";
    StorageFull "storage-full" 507 "No room"
        "The disk of the data folder is full, so the file was not kept."
        "Free space on the daemon's machine: `onceoverd gc` removes what no task needs.";
    Storage "storage" 507 "The file cannot be stored"
        "The video's file could not be written to the data folder."
        "Read `detail`; free space or correct the permissions on the daemon's machine.";
}

impl ProblemKind {
    /// Finds the kind of this name.
    pub fn find(slug: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.page().slug == slug)
    }
}

/// A problem's `type`: the path of a kind's page, or any text that another server has sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProblemType(Box<str>);

impl ProblemType {
    /// Returns the path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ProblemType {
    fn default() -> Self {
        Self("about:blank".into())
    }
}

impl From<ProblemKind> for ProblemType {
    fn from(kind: ProblemKind) -> Self {
        Self(format!("{PROBLEMS}/{}", kind.page().slug).into())
    }
}

impl fmt::Display for ProblemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_of_problem_has_a_name_a_status_and_words_of_its_own() {
        let mut slugs = HashSet::new();
        for kind in ProblemKind::ALL {
            let page = kind.page();
            assert!(slugs.insert(page.slug), "{} is there twice", page.slug);
            let plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(!page.slug.is_empty() && page.slug.chars().all(plain), "{page:?}");
            assert!((400..600).contains(&page.status), "{page:?}");
            assert!(!page.title.is_empty() && !page.title.ends_with('.'), "{page:?}");
            assert!(page.meaning.ends_with('.') && page.remedy.ends_with('.'), "{page:?}");
            assert_eq!(ProblemKind::find(page.slug), Some(*kind));
            assert_eq!(ProblemType::from(*kind).as_str(), format!("/problems/{}", page.slug));
        }
        assert_eq!(ProblemKind::find("nothing"), None);
    }
}
