//! Paths of this machine as workers call them, and the other way round.

use indexmap::IndexMap;
use serde_json::Value;

/// Which folders of this machine are which of the workers'. Without any, both call files by the same names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathMap {
    /// From here to the workers, the longest folder of ours first.
    outward: Vec<(String, String)>,
    /// From the workers to here, the longest folder of theirs first.
    inward: Vec<(String, String)>,
}

impl PathMap {
    /// Makes the map of folders of this machine by what the workers call them.
    pub fn new(folders: &IndexMap<String, String>) -> Self {
        let trimmed = |path: &str| path.trim_end_matches('/').to_owned();
        let pairs = folders.iter();
        let mut outward: Vec<_> = pairs.map(|(ours, theirs)| (trimmed(ours), trimmed(theirs))).collect();
        let mut inward: Vec<_> = outward.iter().cloned().map(|(ours, theirs)| (theirs, ours)).collect();
        for pairs in [&mut outward, &mut inward] {
            pairs.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        }
        Self { outward, inward }
    }

    /// Returns a text as the workers read it: where it is a path below one of the folders, theirs.
    pub fn to_workers(&self, text: &str) -> String {
        replace_folder(&self.outward, text).unwrap_or_else(|| text.to_owned())
    }

    /// Returns the folders of this machine that workers have too.
    pub fn local_folders(&self) -> impl Iterator<Item = &str> {
        self.outward.iter().map(|(ours, _)| ours.as_str())
    }

    /// Replaces each path in the value by that of the workers.
    pub fn value_to_workers(&self, value: &mut Value) {
        replace_all(&self.outward, value);
    }

    /// Replaces each path of the workers in the value by that of this machine.
    pub fn value_from_workers(&self, value: &mut Value) {
        replace_all(&self.inward, value);
    }
}

/// The text with the first folder that it lies in replaced; none where it lies in none.
fn replace_folder(pairs: &[(String, String)], text: &str) -> Option<String> {
    if !text.starts_with('/') {
        return None;
    }
    pairs.iter().find_map(|(from, to)| {
        let rest = text.strip_prefix(from.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
    })
}

fn replace_all(pairs: &[(String, String)], value: &mut Value) {
    if pairs.is_empty() {
        return;
    }
    match value {
        Value::String(text) => {
            if let Some(replaced) = replace_folder(pairs, text) {
                *text = replaced;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace_all(pairs, item)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace_all(pairs, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> PathMap {
        let pairs = pairs.iter();
        PathMap::new(
            &pairs
                .map(|(ours, theirs)| ((*ours).to_owned(), (*theirs).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn the_longest_folder_counts_and_only_whole_names_do() {
        let map = map(&[("/srv", "/mnt"), ("/srv/onceover/share/workflows/", "/share/workflows")]);
        for (ours, theirs) in [
            (
                "/srv/onceover/share/workflows/t1/runs/r1",
                "/share/workflows/t1/runs/r1",
            ),
            ("/srv/onceover/share/workflows", "/share/workflows"),
            ("/srv/films/a.mp4", "/mnt/films/a.mp4"),
        ] {
            assert_eq!(map.to_workers(ours), theirs);
            let mut value = json!(theirs);
            map.value_from_workers(&mut value);
            assert_eq!(value, json!(ours));
        }
        for other in ["/srvs/a", "srv/a", "words about /srv", "s3://bucket/srv", ""] {
            assert_eq!(map.to_workers(other), other);
        }
    }

    #[test]
    fn every_path_in_a_value_is_replaced_both_ways_and_nothing_without_folders() {
        let ours = json!({"video": "/data/a.mp4", "list": [{"file": "/data/b"}, 5], "text": "see /data"});
        let theirs = json!({"video": "/share/a.mp4", "list": [{"file": "/share/b"}, 5], "text": "see /data"});
        let map = map(&[("/data", "/share")]);
        let mut value = ours.clone();
        map.value_to_workers(&mut value);
        assert_eq!(value, theirs);
        map.value_from_workers(&mut value);
        assert_eq!(value, ours);
        PathMap::default().value_to_workers(&mut value);
        assert_eq!(value, ours);
    }
}
