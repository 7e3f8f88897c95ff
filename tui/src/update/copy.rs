//! Sends texts to the clipboard of the terminal: the menu of what can be copied of the row at the cursor.

use std::sync::Arc;

use crossterm::event::KeyCode;
use onceover_types::{NodeName, TaskId};

use super::{
    messages::Effect,
    shell::{quote, quote_url},
};
use crate::{
    clipboard, figures,
    key::Key,
    model::{
        Model, Tone,
        copy_menu::{CopyEntry, CopyMenu},
        detail::{StagePart, StageText},
        dialog::Dialog,
    },
};

/// Paths of a result that are listed at most; digits choose them.
const MOST_PATHS: usize = 9;
/// What the daemon shows instead of a secret value.
const MASKED: &str = "\"***\"";

/// Opens the menu; says so where there is nothing to copy.
pub fn open_menu(model: &mut Model) {
    let entries = list_entries(model);
    if entries.is_empty() {
        model.say(Tone::Neutral, "nothing to copy here");
    } else {
        model.dialog = Some(Dialog::Copy(CopyMenu { entries, at: 0 }));
    }
}

/// Takes a key in the menu.
pub fn press_in_menu(model: &mut Model, key: Key, effects: &mut Vec<Effect>) {
    let Some(Dialog::Copy(menu)) = &mut model.dialog else {
        return;
    };
    match key.code {
        KeyCode::Down | KeyCode::Tab => menu.step(1),
        KeyCode::Up | KeyCode::BackTab => menu.step(-1),
        KeyCode::Enter => copy_chosen(model, effects),
        KeyCode::Char(letter) if menu.choose_letter(letter) => copy_chosen(model, effects),
        KeyCode::Esc | KeyCode::Char('q') => model.dialog = None,
        _ => {}
    }
}

fn copy_chosen(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(Dialog::Copy(menu)) = model.dialog.take() else {
        return;
    };
    if let Some(entry) = menu.chosen() {
        send_text(model, entry.text.clone(), effects);
    }
}

/// Sends a text to the clipboard of the terminal, and shows it: whether it has arrived is not known.
pub fn send_text(model: &mut Model, text: String, effects: &mut Vec<Effect>) {
    if text.len() > clipboard::MOST_BYTES {
        let sentence = format!(
            "not sent to the terminal: {}, at most {} fit",
            figures::format_bytes(text.len() as u64),
            figures::format_bytes(clipboard::MOST_BYTES as u64)
        );
        model.say_above(Tone::Bad, sentence, text);
        return;
    }
    model.say_above(Tone::Neutral, model.multiplexer.describe_copy(), text.clone());
    effects.push(Effect::Copy(text));
}

fn entry(letter: char, label: impl Into<String>, text: impl Into<String>) -> CopyEntry {
    CopyEntry {
        letter,
        label: label.into(),
        text: text.into(),
    }
}

/// Lists what can be copied of the row at the cursor, as far as it is known.
fn list_entries(model: &Model) -> Vec<CopyEntry> {
    let Some(row) = &model.tree.cursor else {
        return Vec::new();
    };
    let (daemon, task) = (quote(&model.daemon), row.task.as_str());
    let mut entries = vec![entry('i', "task id", task)];
    let Some(node) = &row.node else {
        entries.push(entry('c', "curl: read it", make_read_command(model, task, None)));
        entries.push(entry(
            'o',
            "onceover: print it",
            format!("onceover --daemon {daemon} tree {}", quote(task)),
        ));
        return entries;
    };
    entries.push(entry('n', "node", node.as_str()));
    // The detail follows the cursor, and may be of the row before.
    let is_of_row = |(of_task, of_node): &(Arc<TaskId>, Arc<NodeName>)| *of_task == row.task && of_node == node;
    let has_detail = model.detail.stage.as_ref().is_some_and(is_of_row);
    let text = model.detail.text.as_ref().filter(|_| has_detail);
    let stage = model.store.stage(&row.task, node);
    let error = text.and_then(|text| text.error.as_ref());
    if let Some(error) = error.or_else(|| stage.as_ref().and_then(|stage| stage.error.as_ref())) {
        entries.push(entry('e', "error", error));
    }
    if has_detail {
        add_values(model, &mut entries);
    }
    entries.push(entry(
        'c',
        "curl: read it",
        make_read_command(model, task, Some(&**node)),
    ));
    if let Some(text) = text {
        add_submits(model, text, task, node, &mut entries);
    }
    entries
}

/// Adds the paths of the result, the value at the cursor of a tree, input and output.
fn add_values(model: &Model, entries: &mut Vec<CopyEntry>) {
    if let Some(tree) = model.detail.shown_json()
        && let Some(value) = tree.value_at_cursor()
    {
        entries.push(entry('p', "path of the cursor", tree.path()));
        // A text without quotes is what one wants to paste.
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        entries.push(entry('v', format!("value of {}", tree.path()), text));
    }
    let Some(text) = &model.detail.text else {
        return;
    };
    let texts = text.output.tree.as_ref().map(|tree| tree.texts());
    let paths = texts.into_iter().flatten().filter(|text| is_path(text));
    for (digit, path) in ('1'..='9').zip(paths.take(MOST_PATHS)) {
        entries.push(entry(digit, "file of the result", path));
    }
    for part in StagePart::ALL {
        let letter = match part {
            StagePart::Input => 'a',
            StagePart::Output => 'j',
        };
        let json = text.part(part);
        entries.push(entry(letter, format!("JSON of the {}", part.as_str()), &*json.raw));
    }
}

fn is_path(text: &str) -> bool {
    text.len() > 1 && text.starts_with('/') && !text.contains('\n')
}

/// Adds the commands that submit the stored request again.
fn add_submits(model: &Model, text: &StageText, task: &str, node: &NodeName, entries: &mut Vec<CopyEntry>) {
    let input = &*text.input.raw;
    let secrets = if input.contains(MASKED) {
        ", without its secrets"
    } else {
        ""
    };
    let daemon = quote(&model.daemon);
    let body = format!(r#"{{"task_name":"{node}","task_id":"{task}","input_data":{input}}}"#);
    let url = quote_url(&model.daemon, "/v1/tasks");
    entries.push(entry(
        's',
        format!("curl: submit it again{secrets}"),
        format!("curl -s {url} -H 'content-type: application/json' -d {}", quote(&body)),
    ));
    entries.push(entry(
        'o',
        format!("onceover: submit it again{secrets}"),
        format!(
            "onceover --daemon {daemon} submit {node} --task {} --input {}",
            quote(task),
            quote(input)
        ),
    ));
}

/// Writes the command that reads a task or a stage. A token is not part of it.
fn make_read_command(model: &Model, task: &str, node: Option<&NodeName>) -> String {
    let path = match node {
        None => format!("/v1/tasks/{task}"),
        Some(node) => format!("/v1/tasks/{task}/status?task_name={node}"),
    };
    format!("curl -s {}", quote_url(&model.daemon, &path))
}
