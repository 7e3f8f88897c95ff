//! Hits of results that another engine or model has made than a request asks for: the answer says so. What is decided is not
//! changed by that: such a result came from other input, so `strict` has run instead.

use onceover_catalog::is_placeholder;
use onceover_nodes::{self as nodes, llm::Providers};
use onceover_wire::{SubmitResponse, Warning, WarningCode};
use serde::Deserialize;

use super::CheckedRequest;

/// What made a result, as its output says.
#[derive(Deserialize)]
struct ResultMaker {
    engine: Option<String>,
    model_name: Option<String>,
}

/// What a request asks for, as far as it is known before a run.
struct AskedMaker {
    /// The parameters that say it.
    engine: Option<(String, String)>,
    model: Option<(String, String)>,
}

impl AskedMaker {
    fn of(request: &CheckedRequest, providers: &Providers) -> Self {
        let (node, input) = (&request.node, &request.input);
        if let Some(provider) = nodes::asked_provider(node, input, providers) {
            let asked = |value: String| ("provider".to_owned(), value);
            return Self {
                engine: Some(asked(provider.name.clone())),
                model: provider.model.clone().map(asked),
            };
        }
        let value = |name: &str| {
            let value = node.parameter(name)?.value(input)?;
            let named = value.as_str().filter(|text| *text != "auto")?;
            (!is_placeholder(value)).then(|| named.to_owned())
        };
        // What only some requests need is left out: which ones is for the readiness to say.
        let mut needed = node.needs.models.iter();
        let needed = needed.find(|need| need.when.is_none() && need.unless.is_none());
        Self {
            engine: value("engine").map(|engine| ("engine".to_owned(), engine)),
            model: needed.and_then(|need| {
                let model = format!("{}{}", need.prefix, value(&need.parameter)?);
                Some((need.parameter.clone(), model))
            }),
        }
    }
}

/// Returns the warning of a hit whose result another engine or model has made, where both are known.
pub(super) fn warn_of_other_engine(
    request: &CheckedRequest,
    response: &SubmitResponse,
    providers: &Providers,
) -> Option<Warning> {
    // The same input asks for the same.
    if response.reuse_info.input_changed.flatten() == Some(false) {
        return None;
    }
    let output = response.result.as_ref()?.output.get();
    let made: ResultMaker = serde_json::from_str(output).ok()?;
    let asked = AskedMaker::of(request, providers);
    let pairs = [
        ("engine", asked.engine, made.engine),
        ("model", asked.model, made.model_name),
    ];
    pairs.into_iter().find_map(|(what, asked, made)| {
        let ((field, asked), made) = (asked?, made?);
        (asked != made).then(|| Warning {
            code: WarningCode::OtherEngine,
            field: format!("input_data.{field}"),
            message: format!(
                "the reused result was made by the {what} '{made}', and this request asks for '{asked}'; with \"reuse\": \
                 \"strict\" the stage runs again"
            ),
        })
    })
}
