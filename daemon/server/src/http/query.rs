//! The query string. A parameter that the endpoint does not have is refused where it has any, because the answer would
//! be about something else than what was asked; an endpoint without parameters ignores a query.

use std::{borrow::Cow, collections::HashSet};

use axum::{extract::FromRequestParts, http::request::Parts};
use onceover_types::{FieldError, Problem, shortened, suggest::did_you_mean};
use serde::de::DeserializeOwned;
use url::form_urlencoded;
use utoipa::{IntoParams, openapi::path::ParameterIn};

use super::ApiError;

/// What any request may have: `_`, which clients add so that no cache answers, and what signs a link.
const OF_ANY_REQUEST: [&str; 3] = ["_", "expires", "signature"];
/// Parameters that a refusal names.
const MOST_REFUSED: usize = 20;

/// The parameters of the query, each known and right.
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + IntoParams> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        read(parts.uri.query().unwrap_or_default())
            .map(Self)
            .map_err(Into::into)
    }
}

fn read<T: DeserializeOwned + IntoParams>(query: &str) -> Result<T, Problem> {
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| !OF_ANY_REQUEST.contains(&&**name))
        .collect();
    let mut errors = if pairs.is_empty() {
        Vec::new()
    } else {
        unknown_or_repeated::<T>(&pairs)
    };
    let whole = parse::<T>(&pairs);
    match whole {
        Ok(params) if errors.is_empty() => return Ok(params),
        Ok(_) => {}
        Err(why) => {
            let refused: HashSet<_> = errors.iter().map(|error| error.field.clone()).collect();
            for pair in pairs.iter().take(MOST_REFUSED) {
                // Alone: one that is missing beside it says nothing about it.
                if let Err(why) = parse::<T>(std::slice::from_ref(pair))
                    && missing(&why).is_none()
                    && !refused.contains(&*pair.0)
                {
                    let value = shortened(&pair.1);
                    errors.push(FieldError::new(
                        shortened(&pair.0),
                        format!("'{value}' cannot be read: {why}"),
                    ));
                }
            }
            if let Some(name) = missing(&why) {
                errors.push(FieldError::new(name, "it is missing"));
            } else if errors.is_empty() {
                errors.push(FieldError::new("query", why));
            }
        }
    }
    Err(Problem::invalid_fields(errors))
}

/// Name and value.
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

fn parse<T: DeserializeOwned>(pairs: &[Pair<'_>]) -> Result<T, String> {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    serde_urlencoded::from_str(&query).map_err(|error| error.to_string())
}

/// The field that a serde error says is missing.
fn missing(why: &str) -> Option<&str> {
    why.strip_prefix("missing field `")?.split('`').next()
}

fn unknown_or_repeated<T: IntoParams>(pairs: &[Pair<'_>]) -> Vec<FieldError> {
    let parameters = T::into_params(|| Some(ParameterIn::Query));
    let known: Vec<_> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut errors = Vec::new();
    for (name, _) in pairs {
        let is_first = seen.insert(name);
        if known.contains(&&**name) {
            if !is_first {
                errors.push(FieldError::new(&**name, "it is given more than once"));
            }
        } else if is_first {
            let hint = match did_you_mean(name, known.iter().copied()) {
                hint if hint.is_empty() => format!("; there are {}", known.join(", ")),
                hint => hint,
            };
            let message = format!("there is no such parameter of the query{hint}");
            errors.push(FieldError::new(shortened(name), message));
        }
        if errors.len() == MOST_REFUSED {
            break;
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize, IntoParams)]
    struct Filter {
        status: Option<String>,
        limit: Option<u32>,
        #[serde(default)]
        force: bool,
    }

    #[derive(Debug, serde::Deserialize, IntoParams)]
    struct Folder {
        #[allow(dead_code, reason = "only read")]
        path: String,
    }

    fn fields(query: &str) -> Vec<(String, String)> {
        let problem = read::<Filter>(query).unwrap_err();
        let each = problem.errors.into_iter().map(|error| (error.field, error.message));
        each.collect()
    }

    #[test]
    fn an_unknown_parameter_is_refused_with_what_was_meant() {
        let named = fields("state=running");
        assert_eq!(named[0].0, "state");
        assert!(named[0].1.ends_with("did you mean status?"), "{named:?}");
        let named = fields("xyzzy=1&xyzzy=2");
        assert_eq!(named.len(), 1);
        assert!(named[0].1.ends_with("there are status, limit, force"), "{named:?}");
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        let names = |query| fields(query).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(
            names("limit=x&force=perhaps&stauts=running"),
            ["stauts", "limit", "force"]
        );
        assert_eq!(names("limit=10&limit=20"), ["limit"]);
        assert_eq!(names("limit=-1"), ["limit"]);
        assert_eq!(names(&"a=1&".repeat(5000)), ["a"]);
        let problem = read::<Folder>("").unwrap_err();
        assert_eq!((problem.errors[0].field.as_str(), problem.errors.len()), ("path", 1));
    }

    #[test]
    fn what_is_right_is_read_and_a_cache_buster_is_ignored() {
        for query in ["status=running&limit=5", "_=1732700000000&status=running&limit=5&"] {
            let filter = read::<Filter>(query).unwrap();
            assert_eq!(
                (filter.status.as_deref(), filter.limit, filter.force),
                (Some("running"), Some(5), false)
            );
        }
        assert_eq!(read::<Filter>("status=a%20b").unwrap().status.as_deref(), Some("a b"));
        assert!(read::<Filter>("").is_ok());
    }
}
