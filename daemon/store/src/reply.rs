//! The replies of scripts: how their values become types, and what is wrong where they do not.

use std::str::FromStr;

use redis::{FromRedisValue, Value};

use super::StoreError;

/// Defines the reply of a script: a struct whose fields have the order in which the script answers them.
macro_rules! reply_struct {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty,)+ }) => {
        $(#[$meta])*
        struct $name {
            $($(#[$field_meta])* $field: $kind,)+
        }

        impl redis::FromRedisValue for $name {
            fn from_redis_value(value: redis::Value) -> Result<Self, redis::ParsingError> {
                let ($($field,)+): ($($kind,)+) = redis::FromRedisValue::from_redis_value(value)?;
                Ok(Self { $($field),+ })
            }
        }
    };
}
pub(super) use reply_struct;

/// The values of a reply whose first one is the name of its kind. A value that is missing counts as nil.
pub(super) struct TaggedReply {
    /// The script, for errors.
    script: &'static str,
    pub(super) kind: String,
    values: std::vec::IntoIter<Value>,
}

impl TaggedReply {
    pub(super) fn new(script: &'static str, values: Vec<Value>) -> Result<Self, StoreError> {
        let mut values = values.into_iter();
        let kind = convert_value(values.next().unwrap_or(Value::Nil))?;
        Ok(Self { script, kind, values })
    }

    /// Converts the next value.
    pub(super) fn next_value<T: FromRedisValue>(&mut self) -> Result<T, StoreError> {
        convert_value(self.values.next().unwrap_or(Value::Nil))
    }

    /// Converts the next value, a text, to a domain type.
    pub(super) fn next_parsed<T: FromStr>(&mut self) -> Result<T, StoreError>
    where
        T::Err: std::fmt::Display,
    {
        parse_text(&self.next_value::<String>()?)
    }

    /// Converts all values that are left.
    pub(super) fn rest<T: FromRedisValue>(self) -> Result<Vec<T>, StoreError> {
        self.values.map(convert_value).collect()
    }

    /// The error of a kind that the script does not have.
    pub(super) fn unknown_kind(&self) -> StoreError {
        unexpected(format!("the {} script answered '{}'", self.script, self.kind))
    }
}

pub(super) fn unexpected(what: impl Into<String>) -> StoreError {
    StoreError::Unexpected(what.into())
}

pub(super) fn parse_text<T: FromStr>(text: &str) -> Result<T, StoreError>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error: T::Err| unexpected(format!("'{text}': {error}")))
}

pub(super) fn convert_value<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    T::from_redis_value(value).map_err(|error| unexpected(error.to_string()))
}

/// Reads where the next page of a list begins: `<score>:<id>`, or nothing after the last page.
pub(super) fn parse_cursor<T: FromStr>(cursor: &str) -> Result<Option<(i64, T)>, StoreError>
where
    T::Err: std::fmt::Display,
{
    match cursor.split_once(':') {
        Some((score, id)) => Ok(Some((parse_text(score)?, parse_text(id)?))),
        None => Ok(None),
    }
}
