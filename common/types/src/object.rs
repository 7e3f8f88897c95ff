//! JSON objects, as parameters and outputs of nodes are.

use serde_json::{Map, Value};

/// A JSON object. The order of its fields is kept.
pub type Object = Map<String, Value>;
