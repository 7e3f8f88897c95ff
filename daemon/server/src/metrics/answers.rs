//! How requests were answered: the metrics of a route are found by its pattern.

use std::time::Duration;

use axum::http::Method;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use super::{Histograms, known::KnownMetrics};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
    method: &'static str,
}

/// Counts and times of answers, by route, method and status.
pub(super) struct AnswerMetrics {
    requests: Family<Request, Counter>,
    times: Histograms<Route>,
    /// The metrics of each route so far.
    known: KnownMetrics<AnswerMetric>,
}

/// The metrics of one method and status of a route.
struct AnswerMetric {
    method: &'static str,
    status: u16,
    count: Counter,
    times: Histogram,
}

impl AnswerMetric {
    fn observe(&self, took: Duration) {
        self.count.inc();
        self.times.observe(took.as_secs_f64());
    }
}

impl Default for AnswerMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            times: Family::new_with_constructor(request_times),
            known: KnownMetrics::default(),
        }
    }
}

impl AnswerMetrics {
    /// Counts an answer; `route` is the pattern that the request matched.
    pub(super) fn observe(&self, route: &str, method: &Method, status: u16, took: Duration) {
        let method = name_of_method(method);
        let is_it = |metric: &AnswerMetric| metric.status == status && metric.method == method;
        let make = || self.make(route, method, status);
        self.known.count(route, is_it, make, |metric| metric.observe(took));
    }

    fn make(&self, route: &str, method: &'static str, status: u16) -> AnswerMetric {
        let request = Request {
            route: route.to_owned(),
            method,
            status,
        };
        let route = Route {
            route: route.to_owned(),
            method,
        };
        AnswerMetric {
            method,
            status,
            count: self.requests.get_or_create_owned(&request),
            times: self.times.get_or_create_owned(&route),
        }
    }

    pub(super) fn register(&self, own: &mut Registry) {
        own.register("http_requests", "Requests by route and status", self.requests.clone());
        own.register(
            "http_request_duration_seconds",
            "Time to the head of the answer",
            self.times.clone(),
        );
    }
}

/// From half a millisecond to five seconds.
fn request_times() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    ])
}

fn name_of_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn answers_are_counted_apart_by_route_method_and_status() {
        let (metrics, mut registry) = (AnswerMetrics::default(), Registry::default());
        metrics.register(&mut registry);
        for (route, method, status) in [
            ("/a", Method::GET, 200),
            ("/a", Method::GET, 200),
            ("/a", Method::GET, 404),
            ("/a", Method::POST, 200),
            ("/b", Method::GET, 200),
            ("/a", Method::GET, 200),
        ] {
            metrics.observe(route, &method, status, Duration::ZERO);
        }
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"http_requests_total{route="/a",method="GET",status="200"} 3"#,
            r#"http_requests_total{route="/a",method="GET",status="404"} 1"#,
            r#"http_requests_total{route="/a",method="POST",status="200"} 1"#,
            r#"http_requests_total{route="/b",method="GET",status="200"} 1"#,
            r#"http_request_duration_seconds_count{route="/a",method="GET"} 4"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
