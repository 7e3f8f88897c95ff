//! JSON bodies. All that is wrong with one is named at once, and so is every field that nothing reads. Which fields a
//! body has is known from its schema, so that the description and what is read cannot differ.

use std::sync::LazyLock;

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use onceover_types::{FieldError, Problem, ProblemKind, humane, suggest::did_you_mean};
use onceover_wire::{
    DeleteRequest, ExplainRequest, ReprocessRequest, ResubmitRequest, ReuseMode, SubmitRequest, VideoRequest, Warning,
    WarningCode, Warnings,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema, schema::AdditionalProperties},
};

use super::{ApiError, AppState, awaited::late_body};
use crate::http::{middleware::prefer, routes::batch::BatchTasks};
use crate::{
    config::UnknownFields,
    services::{SubmitDraft, unread::UnreadFields},
};
use onceover_limits::Limit;

/// A JSON body, and what nothing of it reads.
pub struct Body<T> {
    pub value: T,
    pub warnings: Vec<Warning>,
    /// What becomes of fields inside it that nothing reads.
    pub unknown: UnknownFields,
}

/// A JSON body that may be left out.
pub struct OptionalBody<T>(pub Body<T>);

/// The fields of a body.
pub struct BodyShape {
    fields: Vec<String>,
    required: Vec<String>,
    /// Whether a field that there is not is refused, whatever is preferred.
    closed: bool,
}

impl BodyShape {
    fn of<T: ToSchema>() -> Self {
        let RefOr::T(Schema::Object(object)) = <T as PartialSchema>::schema() else {
            unreachable!("a body is an object: {}", T::name());
        };
        Self {
            fields: object.properties.keys().cloned().collect(),
            required: object.required,
            closed: matches!(
                object.additional_properties.as_deref(),
                Some(AdditionalProperties::FreeForm(false))
            ),
        }
    }
}

/// A type that a body is read as.
pub trait RequestBody: DeserializeOwned {
    fn shape() -> &'static BodyShape;
}

macro_rules! request_bodies {
    ($($body:ty),+) => {
        $(impl RequestBody for $body {
            fn shape() -> &'static BodyShape {
                static SHAPE: LazyLock<BodyShape> = LazyLock::new(BodyShape::of::<$body>);
                &SHAPE
            }
        })+
    };
}

request_bodies!(
    SubmitRequest,
    BatchTasks,
    DeleteRequest,
    ExplainRequest,
    ReprocessRequest,
    ResubmitRequest,
    VideoRequest
);

/// Reads a body, and names everything that is wrong with it.
fn read<T: RequestBody>(value: Value, unknown: UnknownFields) -> Result<Body<T>, Problem> {
    let mut fields = object(value)?;
    let shape = T::shape();
    let mode = if shape.closed { UnknownFields::Refuse } else { unknown };
    let mut unread = UnreadFields::new(mode, Warnings::default());
    for name in split_unknown(&mut fields, shape) {
        let known = shape.fields.iter().map(String::as_str);
        unread.add(&name, || {
            format!("there is no such field{}", did_you_mean(&name, known))
        });
    }
    let (mut errors, warnings) = unread.finish();
    let whole: Result<T, _> = serde_path_to_error::deserialize(Value::Object(fields.clone()));
    match whole {
        Ok(value) if errors.is_empty() => {
            return Ok(Body {
                value,
                warnings: warnings.list(),
                unknown,
            });
        }
        Ok(_) => {}
        Err(_) => errors.extend(faults::<T>(&fields)),
    }
    Err(Problem::invalid_fields(errors))
}

/// What is wrong with each field by itself, and which are missing.
fn faults<T: RequestBody>(fields: &Map<String, Value>) -> Vec<FieldError> {
    let shape = T::shape();
    let mut errors = Vec::new();
    for (name, value) in fields {
        let alone = Map::from_iter([(name.clone(), value.clone())]);
        let read: Result<T, _> = serde_path_to_error::deserialize(Value::Object(alone));
        if let Err(error) = read
            && error.path().iter().next().is_some()
        {
            errors.push(FieldError::new(error.path().to_string(), error.inner().to_string()));
        }
    }
    let missing = shape.required.iter().filter(|name| !fields.contains_key(*name));
    errors.extend(missing.map(|name| FieldError::new(name, MISSING)));
    errors
}

const MISSING: &str = "it is missing";

fn object(value: Value) -> Result<Map<String, Value>, Problem> {
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(Problem::invalid_field("body", "it must be a JSON object")),
    }
}

/// Takes the fields out that the body does not have; the names of these.
fn split_unknown(fields: &mut Map<String, Value>, shape: &BodyShape) -> Vec<String> {
    let is_unknown = |name: &&String| !shape.fields.contains(name);
    let unknown: Vec<_> = fields.keys().filter(is_unknown).cloned().collect();
    if !unknown.is_empty() {
        fields.retain(|name, _| shape.fields.contains(name));
    }
    unknown
}

/// A submit without faults and warnings: each field is one that a submit has, once, and right.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainSubmit {
    task_name: String,
    task_id: Option<String>,
    callback: Option<String>,
    input_data: Map<String, Value>,
    reuse: Option<ReuseMode>,
}

/// Reads a submit in one step. Returns `None` for one that is to be read field by field.
fn plain_submit(body: &[u8]) -> Option<SubmitDraft> {
    // A list of its values would be read as well.
    if !body.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let submit: PlainSubmit = serde_json::from_slice(body).ok()?;
    Some(SubmitDraft {
        task_name: Some(submit.task_name),
        task_id: submit.task_id,
        callback: submit.callback,
        input_data: Some(submit.input_data),
        reuse: submit.reuse,
        ..SubmitDraft::default()
    })
}

/// Reads a submit as far as it can be read, so that what it says of its node can be judged in the same answer.
pub fn submit_draft(value: Value) -> Result<SubmitDraft, Problem> {
    let mut fields = object(value)?;
    let mut draft = SubmitDraft::default();
    rename_callback(&mut fields, &mut draft);
    let shape = SubmitRequest::shape();
    draft.unknown = split_unknown(&mut fields, shape);
    for name in &shape.required {
        if !fields.contains_key(name) {
            draft.errors.push(FieldError::new(name, MISSING));
        }
    }
    let errors = &mut draft.errors;
    draft.task_name = field(&mut fields, "task_name", errors);
    draft.task_id = field(&mut fields, "task_id", errors).flatten();
    draft.input_data = field(&mut fields, "input_data", errors);
    draft.callback = field(&mut fields, "callback", errors).flatten();
    draft.reuse = field(&mut fields, "reuse", errors).flatten();
    Ok(draft)
}

fn field<T: DeserializeOwned>(fields: &mut Map<String, Value>, name: &str, errors: &mut Vec<FieldError>) -> Option<T> {
    match serde_json::from_value(fields.remove(name)?) {
        Ok(value) => Some(value),
        Err(error) => {
            errors.push(FieldError::new(name, error.to_string()));
            None
        }
    }
}

/// `callback_url`, as the older gateway shows the field in its answers, is taken as `callback`.
fn rename_callback(fields: &mut Map<String, Value>, draft: &mut SubmitDraft) {
    const OLD: &str = "callback_url";
    const NEW: &str = "callback";
    let Some(old) = fields.remove(OLD) else { return };
    match fields.get(NEW).filter(|new| !new.is_null()) {
        Some(new) if !old.is_null() && *new != old => {
            let message = "it is another name of callback, which says something else; give callback alone";
            draft.errors.push(FieldError::new(OLD, message));
        }
        Some(_) => {}
        None => {
            fields.insert(NEW.into(), old);
        }
    }
    draft.warnings.add(WarningCode::DeprecatedField, OLD, || {
        "it is taken as callback, which is the name of the field".into()
    });
}

/// What a request says its body is, without parameters; empty where it does not.
pub fn declared_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

/// Whether a body of this type can only be meant as JSON.
pub fn is_json_type(kind: &str) -> bool {
    kind.is_empty() || kind == "application/json" || kind.ends_with("+json")
}

/// A body as it came, and what the request says of it.
struct Received {
    kind: String,
    bytes: bytes::Bytes,
    unknown: UnknownFields,
}

impl Received {
    /// Reads the body by what it is, whatever it is sent as: curl calls JSON a form, and some clients do not say what they
    /// send.
    fn json(&self) -> Result<Value, Problem> {
        serde_json::from_slice(&self.bytes).map_err(|error| {
            if is_json_type(&self.kind) {
                return Problem::new(ProblemKind::NotJson, format!("the body is not JSON: {error}"));
            }
            let kind: String = self.kind.chars().take(100).collect();
            let detail = format!("the body is sent as {kind} and is not JSON ({error}); send application/json");
            Problem::new(ProblemKind::MediaType, detail)
        })
    }
}

async fn receive(request: Request, state: &AppState) -> Result<Received, ApiError> {
    let kind = declared_type(request.headers());
    let unknown = prefer::unknown_fields(request.extensions(), state.0.services.unknown_fields);
    let bytes = bytes::Bytes::from_request(request, state).await.map_err(|rejection| {
        if let Some(late) = late_body(&rejection) {
            return ApiError(late);
        }
        let kind = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Limit::RequestBody.reached();
                let most = humane::bytes(crate::http::BODY_LIMIT as u64);
                return ApiError(Problem::new(
                    ProblemKind::TooLarge,
                    format!("the body is larger than {most}"),
                ));
            }
            _ => ProblemKind::BadBody,
        };
        ApiError(Problem::new(kind, rejection.body_text()))
    })?;
    Ok(Received { kind, bytes, unknown })
}

impl<T: RequestBody> FromRequest<AppState> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let received = receive(request, state).await?;
        Ok(read(received.json()?, received.unknown)?)
    }
}

impl<T: RequestBody + Default> FromRequest<AppState> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let received = receive(request, state).await?;
        let (bytes, unknown) = (&received.bytes, received.unknown);
        if bytes.trim_ascii().is_empty() || bytes.trim_ascii() == b"null" {
            return Ok(Self(Body {
                value: T::default(),
                warnings: Vec::new(),
                unknown,
            }));
        }
        Ok(Self(read(received.json()?, unknown)?))
    }
}

/// A submit, read but not checked.
pub struct SubmitBody {
    pub draft: SubmitDraft,
    /// What becomes of fields of it that nothing reads.
    pub unknown: UnknownFields,
}

impl FromRequest<AppState> for SubmitBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let key = idempotency_key(request.headers());
        let received = receive(request, state).await?;
        let mut draft = match plain_submit(&received.bytes) {
            Some(draft) => draft,
            None => submit_draft(received.json()?)?,
        };
        // A request that names its task is one task however often it is sent.
        if draft.task_id.is_none() {
            match key {
                Ok(key) => draft.idempotency_key = key,
                Err(why) => draft.errors.push(FieldError::new(IDEMPOTENCY_KEY, why)),
            }
        }
        Ok(Self {
            draft,
            unknown: received.unknown,
        })
    }
}

/// Header that makes repeats of a submit without `task_id` one task.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// Characters of an idempotency key.
const LONGEST_KEY: usize = 255;

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, String> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("it is given more than once".into());
    }
    let is_right =
        |key: &&str| (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    let key = value.to_str().ok().filter(is_right);
    let key = key.ok_or_else(|| format!("it must be 1 to {LONGEST_KEY} visible ASCII characters, without blanks"))?;
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o4_a_plain_submit_is_read_as_field_by_field_and_any_other_is_left_to_that() {
        for (body, is_plain) in [
            (r#"{"task_name": "a.b", "input_data": {}}"#, true),
            (
                r#" {"input_data": {"b": [1, {"c": 2.50}], "a": "\u00e9", "b": null}, "task_name": "", "task_id": null}"#,
                true,
            ),
            (
                r#"{"task_name": "a.b", "task_id": "t1", "callback": "http://x", "input_data": {"a": 1}, "reuse": "strict"}"#,
                true,
            ),
            (
                r#"{"task_name": "a.b", "input_data": {}, "callback_url": "http://x"}"#,
                false,
            ),
            (r#"{"task_name": "a.b", "input_data": {}, "task_name": "c.d"}"#, false),
            (r#"{"task_name": "a.b", "input_data": {}, "unknown": 1}"#, false),
            (r#"{"task_name": "a.b", "input_data": {}, "reuse": "odd"}"#, false),
            (r#"{"task_name": "a.b", "input_data": []}"#, false),
            (r#"{"task_name": "a.b"}"#, false),
            (r#"["a.b", null, null, {}, null]"#, false),
            (r#"{"task_name": "a.b", "input_data": {}} more"#, false),
        ] {
            let plain = plain_submit(body.as_bytes());
            assert_eq!(plain.is_some(), is_plain, "{body}");
            if let Some(plain) = plain {
                let whole = submit_draft(serde_json::from_str(body).unwrap()).unwrap();
                assert_eq!(format!("{plain:?}"), format!("{whole:?}"));
            }
        }
    }
}
