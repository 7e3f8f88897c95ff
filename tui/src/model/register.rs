//! The form that registers a video: where it is, its id, its title. Where the daemon's refusals belong.

use onceover_types::FieldError;
use onceover_wire::VideoRequest;
use tui_input::Input;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A path on the daemon's machine, or a URL.
    Where,
    Id,
    Title,
    /// The button.
    Send,
}

#[derive(Debug)]
pub struct Line {
    pub entry: Entry,
    /// Empty: left out.
    pub input: Input,
    pub error: Option<String>,
}

#[derive(Debug)]
pub struct Register {
    pub lines: Vec<Line>,
    pub focus: usize,
    /// The request on its way.
    pub request: Option<u64>,
    /// Why the daemon refused, where no field is to blame.
    pub problem: Option<String>,
}

impl Default for Register {
    fn default() -> Self {
        let line = |entry| Line {
            entry,
            input: Input::default(),
            error: None,
        };
        Self {
            lines: [Entry::Where, Entry::Id, Entry::Title, Entry::Send].map(line).into(),
            focus: 0,
            request: None,
            problem: None,
        }
    }
}

impl Register {
    pub fn focused(&self) -> &Line {
        &self.lines[self.focus]
    }

    pub fn focused_mut(&mut self) -> &mut Line {
        &mut self.lines[self.focus]
    }

    pub fn step(&mut self, by: isize) {
        self.focus = self.focus.saturating_add_signed(by).min(self.lines.len() - 1);
    }

    /// What was typed there; None where it was left out.
    fn text(&self, entry: Entry) -> Option<String> {
        let line = self.lines.iter().find(|line| line.entry == entry)?;
        let text = line.input.value().trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn blame(&mut self, entry: Entry, why: &str) {
        if let Some(at) = self.lines.iter().position(|line| line.entry == entry) {
            // A second error of the same field would hide the first.
            self.lines[at].error.get_or_insert_with(|| why.to_owned());
        }
    }

    fn focus_first_error(&mut self) {
        if let Some(at) = self.lines.iter().position(|line| line.error.is_some()) {
            self.focus = at;
        }
    }

    /// The request as typed; None where it cannot be one, and the field says why.
    pub fn take_request(&mut self) -> Option<VideoRequest> {
        self.problem = None;
        for line in &mut self.lines {
            line.error = None;
        }
        let Some(place) = self.text(Entry::Where) else {
            self.blame(Entry::Where, "a path or a URL is needed");
            self.focus_first_error();
            return None;
        };
        let (path, url) = if place.contains("://") {
            (None, Some(place))
        } else {
            (Some(place), None)
        };
        Some(VideoRequest {
            video_id: self.text(Entry::Id),
            path,
            url,
            title: self.text(Entry::Title),
        })
    }

    /// The daemon refused: each error goes to its field, the rest above them.
    pub fn refused(&mut self, why: &str, errors: &[FieldError]) {
        self.request = None;
        let mut homeless = Vec::new();
        for error in errors {
            match error.field.as_str() {
                "path" | "url" => self.blame(Entry::Where, &error.message),
                "video_id" => self.blame(Entry::Id, &error.message),
                "title" => self.blame(Entry::Title, &error.message),
                field => homeless.push(format!("{field}: {}", error.message)),
            }
        }
        self.problem = if errors.is_empty() {
            Some(why.to_owned())
        } else {
            (!homeless.is_empty()).then(|| homeless.join("; "))
        };
        self.focus_first_error();
    }
}
