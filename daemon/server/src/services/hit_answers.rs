//! Hits that are asked for at the same time: they go to Redis together, and requests that one call has answered with the
//! same result share the answer. Each is counted and reported for itself.

use std::sync::{Arc, Mutex, OnceLock};

use onceover_store::{HitRequest, RepeatedHit, StageRecord, Store, StoreError, TaskRecords, TurnLimits, Turns};
use onceover_types::{NodeName, StageState};
use onceover_wire::{SubmitResponse, Warning};

use super::ServiceError;
use crate::shared_body::SharedBody;

/// Two calls at a time: while Redis answers one, the daemon reads the answer of the other. A call with so many hits
/// keeps Redis from others for half a millisecond where they are equal, and for about two where all are different.
const HIT_TURNS: TurnLimits = TurnLimits {
    calls: 2,
    questions: 64,
    bytes: 1 << 20,
};

/// The answer of a submit.
pub enum SubmitAnswer {
    /// It was built for this request.
    Built(Box<SubmitResponse>),
    /// It is the same for other requests.
    Shared(Arc<HitResponse>),
}

impl SubmitAnswer {
    /// Returns what is answered.
    pub fn response(&self) -> &SubmitResponse {
        match self {
            Self::Built(response) => response,
            Self::Shared(hit) => &hit.response,
        }
    }

    /// Returns what is answered, for this request alone.
    pub fn into_response(self) -> SubmitResponse {
        match self {
            Self::Built(response) => *response,
            Self::Shared(hit) => hit.response.clone(),
        }
    }

    /// Adds warnings about the request.
    pub(super) fn with_warnings(self, warnings: &[Warning]) -> Self {
        if warnings.is_empty() {
            return self;
        }
        let mut response = self.into_response();
        response.warnings = warnings.to_vec();
        Self::Built(Box::new(response))
    }
}

/// The answer of hits, with its body once that is asked for.
pub struct HitResponse {
    response: SubmitResponse,
    body: OnceLock<SharedBody>,
}

impl HitResponse {
    /// Returns the answer as JSON.
    pub fn body(&self) -> &SharedBody {
        self.body.get_or_init(|| SharedBody::write(&self.response))
    }
}

/// Hits of one call that have the same answer.
pub(super) struct AnsweredHits {
    node: NodeName,
    /// The result that was asked for.
    token: String,
    pub(super) hit: RepeatedHit,
    answer: Mutex<Option<Arc<HitResponse>>>,
}

impl AnsweredHits {
    fn new(request: &HitRequest, hit: RepeatedHit) -> Self {
        Self {
            node: request.node().clone(),
            token: request.result().token.clone(),
            hit,
            answer: Mutex::new(None),
        }
    }

    /// Whether a hit of the same call has the same answer.
    fn is_of(&self, request: &HitRequest, hit: &RepeatedHit) -> bool {
        Arc::ptr_eq(&self.hit.records, &hit.records)
            && self.hit.input_changed == hit.input_changed
            && self.node == *request.node()
            && self.token == request.result().token
    }

    /// Finds the stage, if it shows the result that was hit and nothing of it is damaged.
    pub(super) fn find_record(&self) -> Option<&StageRecord> {
        find_result(&self.hit.records, &self.node, &self.token)
    }

    /// Returns the answer, which the first that asks builds.
    pub(super) fn answer(
        &self,
        build: impl FnOnce() -> Result<SubmitResponse, ServiceError>,
    ) -> Result<Arc<HitResponse>, ServiceError> {
        let mut answer = self.answer.lock().expect("no thread panics with the answer of a hit");
        if let Some(built) = &*answer {
            return Ok(Arc::clone(built));
        }
        let built = Arc::new(HitResponse {
            response: build()?,
            body: OnceLock::new(),
        });
        *answer = Some(Arc::clone(&built));
        Ok(built)
    }
}

/// Finds the stage of a hit, if it shows the result that was hit and nothing of it is damaged.
pub(super) fn find_result<'a>(records: &'a TaskRecords, node: &NodeName, token: &str) -> Option<&'a StageRecord> {
    let record = records.stage(node)?;
    let is_whole = record.state == StageState::Success && record.damage.is_none();
    (is_whole && record.result_token() == token).then_some(record)
}

type HitAnswer = Result<Option<Arc<AnsweredHits>>, StoreError>;

/// Asks Redis for hits.
pub(super) struct HitCalls(Turns<(), HitRequest, HitAnswer>);

impl HitCalls {
    pub(super) fn new(store: &Store) -> Self {
        let store = Arc::new(store.clone());
        Self(Turns::new(HIT_TURNS, move |(), requests: Vec<HitRequest>| {
            let store = Arc::clone(&store);
            Box::pin(async move {
                match store.hit_each(&requests).await {
                    Ok(answers) => Ok(gather_equal(&requests, answers)),
                    Err(error) => Err(Err(error)),
                }
            })
        }))
    }

    /// Asks for one. Returns `None`, with nothing written, where the request is for `submit`.
    pub(super) async fn ask(&self, request: HitRequest) -> Result<Option<Arc<AnsweredHits>>, ServiceError> {
        let bytes = request.text_size();
        let answer = self.0.ask((), request, bytes).await;
        let answer = answer.ok_or_else(|| ServiceError::Unavailable("the call for a hit was cut off".into()))?;
        Ok(answer?)
    }
}

/// Lets hits of one call share what they have in common.
fn gather_equal(requests: &[HitRequest], answers: Vec<Result<Option<RepeatedHit>, StoreError>>) -> Vec<HitAnswer> {
    let mut different: Vec<Arc<AnsweredHits>> = Vec::new();
    let shared = requests.iter().zip(answers).map(|(request, answer)| {
        let Some(hit) = answer? else {
            return Ok(None);
        };
        if let Some(same) = different.iter().find(|hits| hits.is_of(request, &hit)) {
            return Ok(Some(Arc::clone(same)));
        }
        let hits = Arc::new(AnsweredHits::new(request, hit));
        different.push(Arc::clone(&hits));
        Ok(Some(hits))
    });
    shared.collect()
}

#[cfg(test)]
mod tests {
    use onceover_store::{ReuseQuery, ReuseRule, ReusedResult};
    use onceover_types::{TaskId, TaskStatus};
    use onceover_wire::{ReuseInfo, WarningCode};

    use super::*;

    fn request(node: &str, token: &str) -> HitRequest {
        let (task, node) = (TaskId::parse("t").unwrap(), NodeName::parse(node).unwrap());
        let question = ReuseQuery {
            task: &task,
            node: &node,
            mode: ReuseRule::Auto,
            fingerprint: "fp",
            files: None,
        };
        let result = ReusedResult {
            token: token.to_owned(),
            ..ReusedResult::default()
        };
        HitRequest::new(&question, "{}", &Arc::new(result))
    }

    fn response() -> SubmitResponse {
        SubmitResponse {
            task_id: TaskId::parse("t").unwrap(),
            status: TaskStatus::Completed,
            message: String::new(),
            reuse_info: ReuseInfo::default(),
            result: None,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn hits_share_an_answer_only_where_nothing_of_it_differs() {
        let read = Arc::new(TaskRecords::default());
        let hit = |records: &Arc<TaskRecords>, input_changed| {
            Ok(Some(RepeatedHit {
                input_changed,
                records: Arc::clone(records),
            }))
        };
        let asked = [
            (request("a.one", "r/1/1"), hit(&read, Some(false))),
            (request("a.one", "r/1/1"), hit(&read, Some(false))),
            (request("a.one", "r/1/1"), hit(&read, Some(true))),
            (request("a.one", "r/1/2"), hit(&read, Some(false))),
            (request("a.two", "r/1/1"), hit(&read, Some(false))),
            (
                request("a.one", "r/1/1"),
                hit(&Arc::new(TaskRecords::default()), Some(false)),
            ),
        ];
        let (requests, answers): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let hits: Vec<_> = gather_equal(&requests, answers)
            .into_iter()
            .map(|answer| answer.unwrap().expect("it is a hit"))
            .collect();
        assert!(Arc::ptr_eq(&hits[0], &hits[1]));
        assert!(hits[2..].iter().all(|other| !Arc::ptr_eq(other, &hits[0])));
    }

    #[test]
    fn an_answer_that_is_shared_is_built_once_and_an_error_is_not_kept() {
        let hit = RepeatedHit {
            input_changed: None,
            records: Arc::default(),
        };
        let hits = AnsweredHits::new(&request("a.one", "r/1/1"), hit);
        assert!(hits.answer(|| Err(ServiceError::Draining)).is_err());
        let first = hits.answer(|| Ok(response())).expect("it can be built");
        let again = hits
            .answer(|| unreachable!("it was built before"))
            .expect("it is there");
        assert!(Arc::ptr_eq(&first, &again));
        let written: SubmitResponse = serde_json::from_slice(&again.body().bytes()).unwrap();
        assert_eq!(written.status, TaskStatus::Completed);
    }

    #[test]
    fn a_request_with_warnings_has_an_answer_for_itself() {
        let shared = || {
            SubmitAnswer::Shared(Arc::new(HitResponse {
                response: response(),
                body: OnceLock::new(),
            }))
        };
        assert!(matches!(shared().with_warnings(&[]), SubmitAnswer::Shared(_)));
        let warning = Warning {
            code: WarningCode::UnknownField,
            field: "x".into(),
            message: "nothing reads it".into(),
        };
        let answer = shared().with_warnings(&[warning]);
        assert!(matches!(&answer, SubmitAnswer::Built(response) if response.warnings.len() == 1));
    }
}
