//! The API's description of itself: what all operations have in common is put on here, so that no route can leave it
//! out.

mod examples;
mod submits;

use onceover_catalog::Catalog;
use onceover_types::Problem;
use serde_json::Value;
use utoipa::{
    OpenApi,
    openapi::{
        ContentBuilder, HeaderBuilder, HttpMethod, ObjectBuilder, OpenApi as Document, Ref, RefOr, Required, Response,
        ResponseBuilder, Type,
        path::{Operation, ParameterBuilder, ParameterIn},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use crate::http::{middleware::scope_of, routes::pages::is_open};

const SCHEME: &str = "bearer";
/// Media type of every refusal.
const PROBLEM: &str = "application/problem+json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Onceover",
        description = "Runs media work one stage at a time and never does the same stage twice.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(Problem)),
    tags(
        (name = "tasks", description = "Submit stages, read tasks, cancel, delete, run again"),
        (name = "files", description = "Files of the share or the object store"),
        (name = "nodes", description = "What can be asked for, and whether it can run here"),
        (name = "events", description = "Every change, as it happens"),
        (name = "videos", description = "Register videos, run their pipelines, ask how far they are"),
        (name = "callbacks", description = "What was sent to clients' URLs, and sending it again"),
        (name = "system", description = "Queues, state of the daemon, health")
    )
)]
struct Head;

/// Returns the document as it is before the routes are known.
pub fn head() -> Document {
    Head::openapi()
}

/// Adds what every route has (the token and scope it needs, how it is refused), what nodes take, and examples. As JSON, since
/// a node's schema has words that the typed document lacks.
pub fn complete(mut document: Document, catalog: &Catalog) -> Value {
    name_rests(&mut document);
    add_access(&mut document);
    let mut document = serde_json::to_value(document).expect("a description can be written as JSON");
    submits::describe_by_node(&mut document, catalog);
    examples::add(&mut document);
    document
}

/// Adds the token and scope that each route needs, and how it is refused.
fn add_access(document: &mut Document) {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "A token of the daemon. Not needed where none is configured. Scope `read` for GET, `admin` for the rest.",
        ))
        .build();
    let components = document.components.get_or_insert_default();
    components
        .security_schemes
        .insert(SCHEME.into(), RefOr::T(SecurityScheme::Http(scheme)));
    for (path, item) in &mut document.paths.paths {
        let open = is_open(path);
        let operations = [
            (HttpMethod::Get, &mut item.get),
            (HttpMethod::Post, &mut item.post),
            (HttpMethod::Put, &mut item.put),
            (HttpMethod::Patch, &mut item.patch),
            (HttpMethod::Delete, &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                guard(operation, &method, open);
                add_media_type(operation);
                describe_refusals(operation, path, open);
                if matches!(method, HttpMethod::Get) {
                    add_revalidation(operation);
                }
            }
        }
    }
}

/// A parameter that takes the rest of a path is `{*name}` to the router, and `{name}` to a reader.
fn name_rests(document: &mut Document) {
    let paths = std::mem::take(&mut document.paths.paths);
    for (path, item) in paths {
        document.paths.paths.insert(path.replace("{*", "{"), item);
    }
}

/// Adds the refusals that every operation has, and completes those that its annotation names by their status alone.
fn describe_refusals(operation: &mut Operation, path: &str, open: bool) {
    let mut common = vec!["403"];
    if !open {
        common.extend(["401", "503"]);
    }
    let responses = &mut operation.responses.responses;
    for status in common {
        responses
            .entry(status.into())
            .or_insert_with(|| RefOr::T(Response::default()));
    }
    for (status, response) in responses {
        let (RefOr::T(response), Some(description)) = (response, refusal(status, path)) else {
            continue;
        };
        if response.description.is_empty() {
            response.description = description.to_owned();
        }
        if response.content.is_empty() {
            let problem = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("Problem")))
                .build();
            response.content.insert(PROBLEM.into(), RefOr::T(problem));
        }
    }
}

/// What a refusal means on this path, unless its annotation says so itself. None where the status is no refusal.
fn refusal(status: &str, path: &str) -> Option<&'static str> {
    Some(match status {
        "400" => "The body cannot be read: it is not what `Content-Type` says, or breaks off",
        "401" => "No token, none of this daemon's, or a link that does not fit its signature or has expired",
        "403" => "The `Host` or `Origin` is none of this daemon's, or the token lacks the scope",
        "404" => unknown(path),
        "408" => "No more of the body came within its time (`access.body_timeout`)",
        "409" => "It contradicts what is stored or under way; `detail` tells what",
        "413" => "The body is larger than is taken",
        "415" => "A body of this type is not taken, unless it is JSON all the same",
        "416" => "The range lies outside of what there is; `detail` tells its length",
        "422" => "A parameter or field cannot be accepted; `errors` names each with the reason",
        "503" => "Redis is not available, the daemon is stopping, or too many requests are under way; ask again later",
        "507" => "There is no room for the file; nothing of it is kept",
        _ => return None,
    })
}

/// What is unknown where a path answers 404.
fn unknown(path: &str) -> &'static str {
    const KINDS: [(&str, &str); 6] = [
        ("/v1/nodes/", "The catalog has no such node"),
        ("/v1/files/", "There is no such file"),
        ("/v1/callbacks/", "There is no such callback, or its record has expired"),
        ("/api/v1/videos/", "There is no such video"),
        ("/{task_name}/", "There is no such task, or it has no such stage"),
        ("/v1/tasks/", "There is no such task"),
    ];
    let kind = KINDS.iter().find(|(part, _)| path.contains(part));
    kind.map_or("There is nothing here", |(_, description)| description)
}

fn guard(operation: &mut Operation, method: &HttpMethod, open: bool) {
    if open {
        operation.security = Some(Vec::new());
        return;
    }
    let method = match method {
        HttpMethod::Get => axum::http::Method::GET,
        _ => axum::http::Method::POST,
    };
    let scope = scope_of(&method).as_str();
    operation.security = Some(vec![SecurityRequirement::new(SCHEME, [scope])]);
}

/// What every operation has that takes a body: one that does not come is refused; of JSON one that is called something else
/// and is none, too.
fn add_media_type(operation: &mut Operation) {
    if operation.request_body.is_some() {
        let responses = &mut operation.responses.responses;
        responses
            .entry("408".into())
            .or_insert_with(|| RefOr::T(Response::default()));
    }
    let takes_json = match &operation.request_body {
        Some(RefOr::T(body)) => body.content.contains_key("application/json"),
        _ => false,
    };
    if takes_json {
        let responses = &mut operation.responses.responses;
        responses
            .entry("415".into())
            .or_insert_with(|| RefOr::T(Response::default()));
    }
}

/// What every whole JSON answer to a read has: a tag, by which the client can ask whether it is still the same.
fn add_revalidation(operation: &mut Operation) {
    let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") else {
        return;
    };
    if !answer.content.contains_key("application/json") {
        return;
    }
    let text = || ObjectBuilder::new().schema_type(Type::String).build();
    let tag = HeaderBuilder::new()
        .schema(Some(text()))
        .description(Some("Weak tag over the whole answer"))
        .build();
    answer.headers.insert("ETag".into(), RefOr::T(tag));
    let known = ParameterBuilder::new()
        .name("If-None-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("`ETag` of an earlier answer: 304 if it would be the same"))
        .schema(Some(text()))
        .build();
    operation.parameters.get_or_insert_default().push(RefOr::T(known));
    let same = ResponseBuilder::new()
        .description("The answer is the one whose `ETag` the request has named in `If-None-Match`")
        .build();
    let responses = &mut operation.responses.responses;
    responses.entry("304".into()).or_insert_with(|| RefOr::T(same));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn described() -> Value {
        let (_, document) = crate::http::routes::all().split_for_parts();
        complete(document, &onceover_catalog::shipped::shipped())
    }

    /// Every operation with its path and method.
    fn operations(document: &Value) -> Vec<(String, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        let of_path = paths.iter().flat_map(|(path, item)| {
            let operations = item.as_object().unwrap().iter();
            operations.map(move |(method, operation)| (format!("{method} {path}"), operation))
        });
        of_path.collect()
    }

    #[test]
    fn every_response_of_every_operation_is_described() {
        let document = described();
        let operations = operations(&document);
        assert!(operations.len() >= 40, "{}", operations.len());
        for (place, operation) in operations {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let description = response["description"].as_str().unwrap_or_default();
                assert!(!description.is_empty(), "{place}: {status} has no description");
                let problem = &response["content"][PROBLEM]["schema"]["$ref"];
                let is_refusal = status.as_str() >= "400" && response["content"]["application/json"].is_null();
                assert_eq!(is_refusal, !problem.is_null(), "{place}: {status}");
            }
        }
    }

    #[test]
    fn operation_ids_are_a_verb_and_a_noun_and_each_is_used_once() {
        let document = described();
        let mut by_id = BTreeMap::<String, Vec<String>>::new();
        for (place, operation) in operations(&document) {
            let id = operation["operationId"].as_str().unwrap_or_default();
            assert!(
                id.split('_').filter(|word| !word.is_empty()).count() >= 2,
                "{place}: '{id}'"
            );
            by_id.entry(id.to_owned()).or_default().push(place);
        }
        by_id.retain(|_, places| places.len() > 1);
        assert!(by_id.is_empty(), "{by_id:?}");
    }

    #[test]
    fn every_path_parameter_is_declared_and_every_reference_leads_somewhere() {
        let document = described();
        for (place, operation) in operations(&document) {
            let declared: Vec<_> = operation["parameters"].as_array().into_iter().flatten().collect();
            for name in place.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
                let is_it = |parameter: &&&Value| parameter["name"] == name && parameter["in"] == "path";
                let found = declared
                    .iter()
                    .find(is_it)
                    .unwrap_or_else(|| panic!("{place}: {name} is not declared"));
                assert_eq!(found["required"], true, "{place}: {name}");
            }
        }
        let text = document.to_string();
        for reference in text
            .split("\"$ref\":\"#")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
        }
    }
}
