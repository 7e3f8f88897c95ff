//! Whether the files of a stored result are still there, before it is reused (R8): those of this machine on its disk, objects
//! in the object store. What lies on the machine of a worker is not missing because it is elsewhere.

use std::{sync::Arc, time::Duration};

use onceover_store::{ArtifactFault, GatheredEvidence};
use tokio::time::timeout;

use super::{
    ServiceError,
    artifacts::{ArtifactCheck, ObjectStamp, RecordedFiles},
};
use crate::{
    blocking,
    objects::{ObjectStorage, location::Location},
};

/// How long the object store may take to say what it has of one result.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks the files of a hit as they were recorded, and notes what was found. Returns `None` if what was recorded
/// cannot be read.
pub(super) async fn check_artifacts(
    looked: &mut GatheredEvidence,
    token: &str,
    artifacts: String,
    objects: Option<&Arc<ObjectStorage>>,
) -> Result<Option<RecordedFiles>, ServiceError> {
    let (files, mut check) = run_off_thread(move || {
        let files = RecordedFiles::parse(&artifacts);
        let check = files.as_ref().map_or(ArtifactCheck::Changed, RecordedFiles::check);
        (files, check)
    })
    .await?;
    if let Some(files) = &files {
        check = check_objects(check, files, objects).await;
    }
    note_check(looked, token.to_owned(), check);
    Ok(files)
}

/// Checks the files of a result that was reused before.
pub(super) async fn check_known(
    files: &Arc<RecordedFiles>,
    objects: Option<&Arc<ObjectStorage>>,
) -> Result<ArtifactCheck, ServiceError> {
    let check = check_known_here(files).await?;
    Ok(check_objects(check, files, objects).await)
}

async fn check_known_here(files: &Arc<RecordedFiles>) -> Result<ArtifactCheck, ServiceError> {
    // The last hit has asked for these files too.
    if files.is_quick_to_check()
        && let Some(check) = blocking::try_here(|| files.check())
    {
        return Ok(check);
    }
    let files = Arc::clone(files);
    run_off_thread(move || files.check()).await
}

/// Does what blocks on the files of a result.
async fn run_off_thread<T: Send + 'static>(check: impl FnOnce() -> T + Send + 'static) -> Result<T, ServiceError> {
    blocking::run(check)
        .await
        .map_err(|error| ServiceError::Unavailable(format!("the files of a result could not be looked at: {error}")))
}

/// Notes what was found of the files of the result with this token.
pub(super) fn note_check(looked: &mut GatheredEvidence, token: String, check: ArtifactCheck) {
    match check {
        ArtifactCheck::Whole => looked.verified = Some(token),
        ArtifactCheck::Missing => looked.set_broken(token, ArtifactFault::Missing),
        ArtifactCheck::Changed => looked.set_broken(token, ArtifactFault::Changed),
    }
}

/// Checks the objects of a result whose other files have come to `check`. An object store that does not answer proves
/// nothing, so that the result stands.
async fn check_objects(
    check: ArtifactCheck,
    files: &RecordedFiles,
    objects: Option<&Arc<ObjectStorage>>,
) -> ArtifactCheck {
    let Some(objects) = objects.filter(|_| check == ArtifactCheck::Whole) else {
        return check;
    };
    let look = async {
        for expected in files.objects() {
            let found = find_object(objects, expected).await;
            if found != ArtifactCheck::Whole {
                return found;
            }
        }
        ArtifactCheck::Whole
    };
    timeout(PATIENCE, look).await.unwrap_or_else(|_| {
        tracing::warn!("the object store did not say in time what it has of a result; the result stands");
        ArtifactCheck::Whole
    })
}

async fn find_object(objects: &ObjectStorage, expected: &ObjectStamp) -> ArtifactCheck {
    let location = Location {
        bucket: expected.bucket.clone(),
        key: expected.key.clone(),
    };
    match objects.find(&location).await {
        Ok(None) => ArtifactCheck::Missing,
        Ok(Some(found)) if found.size != expected.size || is_other(&found.etag, &expected.etag) => {
            ArtifactCheck::Changed
        }
        Ok(Some(_)) => ArtifactCheck::Whole,
        Err(error) => {
            tracing::warn!(%error, %location, "an object of a result was not looked at; the result stands");
            ArtifactCheck::Whole
        }
    }
}

/// Whether two entity tags are known and differ.
fn is_other(found: &Option<String>, expected: &Option<String>) -> bool {
    matches!((found, expected), (Some(found), Some(expected)) if found != expected)
}
