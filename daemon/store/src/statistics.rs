//! What is known of how long the runs of each node take: `statistics.lua` counts them in buckets.

use onceover_types::NodeName;
use onceover_wire::{NodeFigures, NodeStatistics};

use super::{Store, StoreError, record::Fields, reply::convert_value, task_snapshot::ReadReplies};

/// Runs that succeeded, by the bucket of their duration, in the order of the buckets.
struct DurationCounts(Vec<(u32, u64)>);

impl DurationCounts {
    /// Reads the fields that are named after a bucket.
    fn from_fields(fields: &Fields) -> Self {
        let counts = fields
            .iter()
            .filter_map(|(name, count)| Some((name.parse::<u32>().ok()?, count.parse::<u64>().ok()?)));
        let mut counts: Vec<(u32, u64)> = counts.collect();
        counts.sort_unstable();
        Self(counts)
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Returns the milliseconds that this share of the runs took at most: the middle of the bucket of that run, which
    /// is a fifth wide. 0 where there are no runs.
    fn quantile(&self, share: f64) -> u64 {
        let rank = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut before = 0;
        for (bucket, count) in &self.0 {
            before += count;
            if before >= rank {
                return ((f64::from(*bucket) + 0.5) / 4.0).exp2().round() as u64;
            }
        }
        0
    }
}

/// Reads the figures of a node. Returns `None` if there are none.
fn parse_figures(fields: &Fields) -> Option<NodeFigures> {
    if fields.is_empty() {
        return None;
    }
    let number = |field: &str| -> u64 { fields.get(field).and_then(|text| text.parse().ok()).unwrap_or_default() };
    let durations = DurationCounts::from_fields(fields);
    let (failed, hits) = (number("failed"), number("hits"));
    let runs = durations.count() + failed;
    let answers = runs + hits;
    Some(NodeFigures {
        runs,
        failed,
        hits,
        saved_ms: number("saved_ms"),
        p50_ms: durations.quantile(0.5),
        p95_ms: durations.quantile(0.95),
        last_ms: number("last_ms"),
        rate: (answers > 0).then(|| hits as f64 / answers as f64),
    })
}

impl Store {
    /// Reads the figures of the catalog's nodes, those that there are.
    pub async fn node_statistics(&self) -> Result<NodeStatistics, StoreError> {
        let names: &[NodeName] = self.names.list();
        let mut statistics = NodeStatistics::default();
        let mut pipe = redis::pipe();
        for node in names {
            pipe.cmd("HGETALL").arg(format!("onceover:durations:{node}"));
        }
        let mut replies = ReadReplies::from(self.send_plain(pipe).await?);
        for node in names {
            let fields = match replies.next_of_kind()? {
                Some(value) => convert_value(value)?,
                // It holds something else, which no run has written.
                None => Fields::default(),
            };
            if let Some(figures) = parse_figures(&fields) {
                statistics.nodes.insert(node.clone(), figures);
            }
        }
        Ok(statistics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, u64)]) -> Fields {
        let mut fields = Fields::default();
        for (field, value) in pairs {
            fields.push(field, value.to_string());
        }
        fields
    }

    /// The bucket of a duration, as `count_ended_run` of statistics.lua finds it.
    fn bucket(milliseconds: u64) -> u32 {
        ((milliseconds.max(1) as f64).log2() * 4.0).floor() as u32
    }

    #[test]
    fn a_quantile_is_at_most_a_tenth_off() {
        for milliseconds in (20..100_000).step_by(7).chain([86_400_000, 2_000_000_000]) {
            let found = DurationCounts(vec![(bucket(milliseconds), 1)]).quantile(0.5) as f64;
            let off = (found / milliseconds as f64 - 1.0).abs();
            assert!(off <= 0.1, "{milliseconds} ms are shown as {found}");
        }
    }

    #[test]
    fn quantiles_are_of_the_runs_that_succeeded() {
        let (fast, slow) = (bucket(1000).to_string(), bucket(60_000).to_string());
        let figures = parse_figures(&fields(&[
            (fast.as_str(), 90),
            (slow.as_str(), 10),
            ("failed", 20),
            ("hits", 40),
            ("saved_ms", 40_000),
            ("last_ms", 1234),
        ]));
        let figures = figures.unwrap();
        assert_eq!((figures.runs, figures.failed, figures.hits), (120, 20, 40));
        assert!((900..=1100).contains(&figures.p50_ms), "{}", figures.p50_ms);
        assert!((54_000..=66_000).contains(&figures.p95_ms), "{}", figures.p95_ms);
        assert_eq!((figures.saved_ms, figures.last_ms), (40_000, 1234));
        assert_eq!(figures.rate, Some(0.25));
    }

    #[test]
    fn a_node_without_figures_is_left_out_and_one_that_only_failed_has_no_duration() {
        assert_eq!(parse_figures(&Fields::default()), None);
        let figures = parse_figures(&fields(&[("failed", 3)])).unwrap();
        assert_eq!((figures.runs, figures.p50_ms, figures.p95_ms), (3, 0, 0));
    }
}
