//! TTML (also DFXP and EBU-TT): the paragraphs of its body, with the times of what they are inside of.

use std::collections::HashMap;

use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

use super::{
    record::{Record, Records},
    times::{clock, is_shown},
};
use crate::spoken::millis;

/// Whether a text that begins so is TTML.
pub(super) fn is_ttml(text: &str) -> bool {
    let mut end = text.len().min(8192);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let begins = &text[..end];
    text.starts_with('<')
        && ["<tt ", "<tt>", "<tt\n", "<tt\t", "<tt\r", ":tt "]
            .iter()
            .any(|tag| begins.contains(tag))
}

/// What a number of frames or ticks is in seconds.
struct Rates {
    frames: f64,
    ticks: f64,
}

impl Rates {
    fn read(root: &HashMap<String, String>) -> Self {
        let number = |name: &str| root.get(name)?.trim().parse::<f64>().ok().filter(|rate| *rate > 0.0);
        let frames = number("frameRate");
        let multiplier = root.get("frameRateMultiplier").and_then(|text| {
            let mut parts = text.split([' ', ':']).filter_map(|part| part.parse::<f64>().ok());
            let (over, under) = (parts.next()?, parts.next()?);
            (over > 0.0 && under > 0.0).then_some(over / under)
        });
        let rate = frames.unwrap_or(30.0) * multiplier.unwrap_or(1.0);
        Self {
            frames: rate,
            ticks: number("tickRate").unwrap_or(if frames.is_some() { rate } else { 1.0 }),
        }
    }

    /// Returns the seconds of `00:00:01.5`, `00:00:01:12` (frames), `1.5s`, `100ms`, `36f` or `12000t`.
    fn seconds(&self, text: &str) -> Option<f64> {
        let text = text.trim();
        if text.matches(':').count() == 3 {
            let (whole, frames) = text.rsplit_once(':')?;
            let seconds = clock(whole)? + frames.parse::<f64>().ok()? / self.frames;
            return Some(seconds).filter(is_shown);
        }
        if text.contains(':') {
            return clock(text);
        }
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let number = text[..digits].parse::<f64>().ok()?;
        let seconds = match &text[digits..] {
            "h" => number * 3600.0,
            "m" => number * 60.0,
            "s" | "" => number,
            "ms" => number / 1000.0,
            "f" => number / self.frames,
            "t" => number / self.ticks,
            _ => return None,
        };
        is_shown(&seconds).then_some(seconds)
    }
}

/// An element that is open.
struct Open {
    name: String,
    /// When the times inside it begin.
    offset: f64,
    is_italic: bool,
    /// It is the cue that is being read.
    is_cue: bool,
}

struct Parser {
    found: Records,
    rates: Rates,
    open: Vec<Open>,
    /// Names of speakers by id.
    agents: HashMap<String, String>,
    agent: Option<String>,
    cue: Option<Record>,
    number: usize,
    in_body: bool,
}

pub(super) fn parse(text: &str) -> Records {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let mut parser = Parser {
        found: Records::default(),
        rates: Rates::read(&HashMap::new()),
        open: Vec::new(),
        agents: HashMap::new(),
        agent: None,
        cue: None,
        number: 0,
        in_body: false,
    };
    let mut lines = Lines { text, at: 0, line: 1 };
    loop {
        let event = reader.read_event();
        let line = lines.line_at(reader.buffer_position() as usize);
        match event {
            Ok(Event::Eof) => break,
            Ok(event) => parser.event(&event, line),
            Err(why) => {
                // What follows cannot be told apart.
                parser.end_cue();
                parser
                    .found
                    .skip(parser.number + 1, line, format!("and what follows is no XML: {why}"));
                break;
            }
        }
    }
    parser.end_cue();
    parser.found
}

impl Parser {
    fn event(&mut self, event: &Event<'_>, line: usize) {
        match event {
            Event::Start(element) => self.start(element, line, false),
            Event::Empty(element) => self.start(element, line, true),
            Event::End(element) => self.end(&local(element.name().into_inner())),
            Event::Text(text) => self.text(&text.decode().unwrap_or_default()),
            Event::CData(text) => self.text(&text.decode().unwrap_or_default()),
            Event::GeneralRef(entity) => {
                let name = entity.decode().unwrap_or_default();
                self.text_as_is(&format!("&{name};"));
            }
            _ => {}
        }
    }

    fn start(&mut self, element: &BytesStart<'_>, line: usize, is_empty: bool) {
        let name = local(element.name().into_inner());
        let attributes = attributes(element);
        let mut is_cue = false;
        let parent = self.open.last().map_or(0.0, |open| open.offset);
        let mut offset = parent;
        match name.as_str() {
            "tt" => self.rates = Rates::read(&attributes),
            "agent" => self.agent = attributes.get("id").cloned(),
            "body" => self.in_body = true,
            "br" => self.text_as_is("\n"),
            _ => {}
        }
        let begin = attributes.get("begin");
        if let (true, "body" | "div", Some(begin)) = (self.in_body, name.as_str(), begin) {
            offset += self.rates.seconds(begin).unwrap_or(0.0);
        }
        let begins_cue = self.in_body && self.cue.is_none() && (name == "p" || name == "span") && begin.is_some();
        if begins_cue && !is_empty {
            is_cue = true;
            self.begin_cue(&attributes, parent, line);
        }
        let is_italic = attributes.get("fontStyle").is_some_and(|style| style == "italic") && self.cue.is_some();
        if is_italic && !is_empty {
            self.text_as_is("<i>");
        }
        if !is_empty {
            self.open.push(Open {
                name,
                offset,
                is_italic,
                is_cue,
            });
        }
    }

    fn begin_cue(&mut self, attributes: &HashMap<String, String>, offset: f64, line: usize) {
        self.number += 1;
        let time = |name: &str| attributes.get(name).map(|text| (text, self.rates.seconds(text)));
        let broken = ["begin", "end", "dur"].into_iter().find_map(|name| match time(name) {
            Some((text, None)) => Some(format!("has a time that cannot be read: {name}=\"{text}\"")),
            _ => None,
        });
        let start = time("begin").and_then(|(_, start)| start);
        let (Some(start), None) = (start, &broken) else {
            self.found.skip(self.number, line, broken.unwrap_or_default());
            return;
        };
        let seconds = |name: &str| time(name).and_then(|(_, seconds)| seconds);
        let end = seconds("end").or_else(|| seconds("dur").map(|length| start + length));
        let agent = attributes.get("agent").and_then(|id| self.agents.get(id).or(Some(id)));
        self.cue = Some(Record {
            number: self.number,
            line,
            start: millis(start + offset),
            end: end.map(|end| millis(end + offset)),
            speaker: agent.cloned(),
            ..Record::default()
        });
    }

    fn end(&mut self, name: &str) {
        // Elements whose end is missing end with the one around them.
        let Some(at) = self.open.iter().rposition(|open| open.name == name) else {
            return;
        };
        while self.open.len() > at {
            let Some(open) = self.open.pop() else { return };
            if open.is_italic {
                self.text_as_is("</i>");
            }
            if open.is_cue {
                self.end_cue();
            }
        }
        match name {
            "body" => self.in_body = false,
            "agent" => self.agent = None,
            _ => {}
        }
    }

    fn end_cue(&mut self) {
        self.found.records.extend(self.cue.take());
    }

    /// Blanks and line ends of the file count as one blank.
    fn text(&mut self, text: &str) {
        let mut said = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if said.is_empty() {
            if !text.is_empty() {
                self.blank();
            }
            return;
        }
        if let (Some(id), false) = (&self.agent, self.in_body) {
            self.agents.insert(id.clone(), said);
            return;
        }
        if text.starts_with(char::is_whitespace) {
            self.blank();
        }
        if text.ends_with(char::is_whitespace) {
            said.push(' ');
        }
        self.text_as_is(&said.replace('&', "&amp;").replace('<', "&lt;"));
    }

    fn blank(&mut self) {
        if let Some(cue) = self
            .cue
            .as_mut()
            .filter(|cue| !cue.marked.is_empty() && !cue.marked.ends_with(char::is_whitespace))
        {
            cue.marked.push(' ');
        }
    }

    fn text_as_is(&mut self, text: &str) {
        if let Some(cue) = &mut self.cue {
            cue.marked.push_str(text);
        }
    }
}

/// Returns a name without its namespace.
fn local(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    name.rsplit(':').next().unwrap_or_default().to_owned()
}

fn attributes(element: &BytesStart<'_>) -> HashMap<String, String> {
    element
        .attributes()
        .with_checks(false)
        .flatten()
        .map(|attribute| {
            let value = String::from_utf8_lossy(&attribute.value);
            (local(attribute.key.into_inner()), super::markup::plain(&value))
        })
        .collect()
}

/// Counts lines as the reader continues.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn line_at(&mut self, position: usize) -> usize {
        let position = position.clamp(self.at, self.text.len());
        let passed = &self.text.as_bytes()[self.at..position];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.at = position;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use crate::timed_text::segments;

    fn short(text: &str) -> Vec<(f64, f64, String)> {
        let (segments, _) = segments(text.as_bytes(), None).unwrap();
        segments
            .into_iter()
            .map(|segment| (segment.start, segment.end, segment.text))
            .collect()
    }

    #[test]
    fn paragraphs_are_cues_with_all_kinds_of_times() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
<tt xmlns="http://www.w3.org/ns/ttml" xmlns:ttp="http://www.w3.org/ns/ttml#parameter" ttp:frameRate="25" ttp:tickRate="1000">
 <head><metadata><ttm:agent xml:id="a1"><ttm:name>Ann</ttm:name></ttm:agent></metadata></head>
 <body><div begin="1s">
  <p begin="00:00:00.000" end="00:00:01.500" ttm:agent="a1"><span tts:fontStyle="italic">Hello</span>
     you</p>
  <p begin="50f" dur="500ms">Two<br/>&amp; th&#114;ee &lt;4</p>
  <p begin="00:00:03:05" end="4000t">frames</p>
  <p begin="soon" end="9s">lost</p>
  <p>no time</p>
 </div></body></tt>"#;
        let (found, notes) = segments(text.as_bytes(), None).unwrap();
        assert_eq!(
            short(text),
            [
                (1.0, 2.5, "Hello you".into()),
                (3.0, 3.5, "Two\n& three <4".into()),
                (4.2, 5.0, "frames".into()),
            ]
        );
        assert_eq!(found[0].speaker.as_deref(), Some("Ann"));
        assert_eq!(found[0].markup.as_deref(), Some("<i>Hello</i> you"));
        assert_eq!(notes.skipped(), 1);
    }

    #[test]
    fn a_number_of_frames_that_no_player_reaches_is_no_time() {
        let text =
            r#"<tt xmlns="x"><body><p begin="00:00:01:1e308" end="2s">a</p><p begin="1s" end="2s">b</p></body></tt>"#;
        let (_, notes) = segments(text.as_bytes(), None).unwrap();
        assert_eq!(short(text), [(1.0, 2.0, "b".into())]);
        assert_eq!(notes.skipped(), 1);
    }

    #[test]
    fn what_comes_before_broken_xml_is_used() {
        let text =
            "<tt xmlns=\"x\"><body><div><p begin=\"1s\" end=\"2s\">One</p><p begin=\"3s\" end=\"4s\">Two</p><p <";
        assert_eq!(short(text).len(), 2);
        assert!(segments(b"<tt ><body/></tt>", None).unwrap_err().contains("no cues"));
    }
}
