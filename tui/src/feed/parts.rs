//! Reads all tasks, part by part: what is in flight or has failed, then the rest, the newest first.

use onceover_wire::{
    TaskItem, TaskRow,
    client::{Client, ClientError},
};
use tokio::sync::mpsc;

use crate::{
    model::store::RowsEnd,
    update::{MoreRows, Snapshot},
};

/// Tasks of the first part, which is to be on the screen soon, and of the later ones.
const FIRST_PART: u32 = 100;
const LATER_PARTS: u32 = 500;
/// Tasks that are kept at most, the newest of them and what is in flight or has failed.
const MOST_TASKS: usize = 400_000;
/// Parts that are read at most: some may have few tasks, as the index can have old entries.
const MOST_PARTS: usize = 1_000;

/// A part of all tasks, as it was read.
pub(super) enum ReadPart {
    First(Box<Snapshot>),
    Later(Box<MoreRows>),
    Failed(ClientError),
}

/// Reads everything, part by part.
pub(super) async fn read_all_into(client: Client, parts: mpsc::Sender<ReadPart>) {
    let (first, mut reader) = match read_first(&client).await {
        Ok(read) => read,
        Err(error) => {
            let _ = parts.send(ReadPart::Failed(error)).await;
            return;
        }
    };
    let mut end = first.end;
    let mut is_sent = parts.send(ReadPart::First(Box::new(first))).await.is_ok();
    while is_sent && end == RowsEnd::More {
        let part = match reader.read_part(&client, LATER_PARTS).await {
            Ok(rows) => {
                end = rows.end;
                ReadPart::Later(Box::new(rows))
            }
            Err(error) => {
                end = RowsEnd::LimitReached;
                ReadPart::Failed(error)
            }
        };
        is_sent = parts.send(part).await.is_ok();
    }
}

/// Reads the daemon's figures first, then the first part of its tasks: all parts are then at least as new as the sequence
/// number in the figures.
async fn read_first(client: &Client) -> Result<(Snapshot, RowReader), ClientError> {
    let system = client.system().await?;
    let mut reader = RowReader::default();
    let MoreRows { items, end } = reader.read_part(client, FIRST_PART).await?;
    Ok((Snapshot { system, items, end }, reader))
}

/// Reads everything at once, for a frame that is printed.
pub async fn read_snapshot(client: &Client) -> Result<Snapshot, ClientError> {
    let (mut snapshot, mut reader) = read_first(client).await?;
    while snapshot.end == RowsEnd::More {
        let rows = reader.read_part(client, LATER_PARTS).await?;
        snapshot.items.extend(rows.items);
        snapshot.end = rows.end;
    }
    Ok(snapshot)
}

/// How far the tasks are read.
#[derive(Default)]
struct RowReader {
    cursor: Option<String>,
    tasks: usize,
    parts: usize,
}

impl RowReader {
    /// Reads the next part.
    async fn read_part(&mut self, client: &Client, limit: u32) -> Result<MoreRows, ClientError> {
        let page = client.rows(limit, self.cursor.as_deref()).await?;
        let items: Vec<TaskItem> = page.rows.into_iter().map(TaskRow::into_item).collect();
        self.tasks += items.len();
        self.parts += 1;
        self.cursor = page.next_cursor;
        let end = match self.cursor {
            None => RowsEnd::Complete,
            Some(_) if self.tasks >= MOST_TASKS || self.parts >= MOST_PARTS => RowsEnd::LimitReached,
            Some(_) => RowsEnd::More,
        };
        Ok(MoreRows { items, end })
    }
}
