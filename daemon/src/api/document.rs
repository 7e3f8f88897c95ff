//! The API's description of itself: what all operations have in common is put on here, so that no route can leave it
//! out.

use onceover_common::{Problem, catalog::Catalog};
use serde_json::json;
use utoipa::{
    OpenApi,
    openapi::{
        ContentBuilder, HttpMethod, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder,
        example::ExampleBuilder,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::doors::{OPEN, scope_of};

const SCHEME: &str = "bearer";

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
        (name = "callbacks", description = "What was told to clients' URLs, and sending it again"),
        (name = "system", description = "Queues, state of the daemon, health")
    )
)]
struct Head;

/// What is said before the routes are known.
pub fn head() -> Document {
    Head::openapi()
}

/// Puts on what every route has: the token and scope it needs, and how it is refused; and the examples that nodes have.
pub fn complete(mut document: Document, catalog: &Catalog) -> Document {
    name_rests(&mut document);
    add_examples(&mut document, catalog);
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
        let open = OPEN.contains(&path.as_str());
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
            }
        }
    }
    document
}

/// A parameter that takes the rest of a path is `{*name}` to the router, and `{name}` to a reader.
fn name_rests(document: &mut Document) {
    let paths = std::mem::take(&mut document.paths.paths);
    for (path, item) in paths {
        document.paths.paths.insert(path.replace("{*", "{"), item);
    }
}

/// An example a node, for submits.
fn add_examples(document: &mut Document, catalog: &Catalog) {
    let submit = document
        .paths
        .paths
        .get_mut("/v1/tasks")
        .and_then(|item| item.post.as_mut());
    let body = submit.and_then(|submit| submit.request_body.as_mut());
    let content = match body {
        Some(RefOr::T(body)) => body.content.get_mut("application/json"),
        _ => None,
    };
    let Some(RefOr::T(content)) = content else { return };
    for node in catalog.iter() {
        if let Some(example) = &node.example {
            let request = json!({"task_name": node.name, "task_id": "lecture-07", "input_data": example.input});
            let example = ExampleBuilder::new().summary(&node.title).value(Some(request)).build();
            content.examples.insert(node.name.to_string(), RefOr::T(example));
        }
    }
}

fn guard(operation: &mut Operation, method: &HttpMethod, open: bool) {
    let mut refusals = vec![(
        "403",
        "The `Host` or `Origin` is none of this daemon's, or the token lacks the scope",
    )];
    if open {
        operation.security = Some(Vec::new());
    } else {
        let method = match method {
            HttpMethod::Get => axum::http::Method::GET,
            _ => axum::http::Method::POST,
        };
        let scope = scope_of(&method).as_str();
        operation.security = Some(vec![SecurityRequirement::new(SCHEME, [scope])]);
        refusals.push(("401", "No token, or none of this daemon's"));
        refusals.push((
            "503",
            "Redis is away, the daemon is stopping, or too much is asked at a time",
        ));
    }
    for (status, description) in refusals {
        let responses = &mut operation.responses.responses;
        responses
            .entry(status.into())
            .or_insert_with(|| RefOr::T(problem(description)));
    }
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", content)
        .build()
}
