//! Text with a little markup, which nothing in it can break: what users wrote is escaped because everything is.

use cqrs::domain::Language;

/// The longest text of one of Telegram's messages, in UTF-16 code units and without its markup. (Telegram says
/// "characters"; counted so, no text is longer than it allows.)
pub const MESSAGE_LIMIT: usize = 4_096;
/// The longest caption of a photo or a document, counted in the same way.
pub const CAPTION_LIMIT: usize = 1_024;

/// The text of a message: lines, of which those that belong together make an item.
///
/// What is too long for a message is cut between items, and the number of those left out is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    language: Language,
    lines: Vec<Line>,
}

/// One line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    spans: Vec<Span>,
    /// It belongs to the item of the line before it.
    continues: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    style: Style,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Bold,
    Italic,
    Code,
}

impl Line {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// And then `text`.
    #[must_use]
    pub fn plain(self, text: impl Into<String>) -> Self {
        self.span(Style::Plain, text.into())
    }

    /// And then `text` in bold.
    #[must_use]
    pub fn bold(self, text: impl Into<String>) -> Self {
        self.span(Style::Bold, text.into())
    }

    /// And then `text` in italics.
    #[must_use]
    pub fn italic(self, text: impl Into<String>) -> Self {
        self.span(Style::Italic, text.into())
    }

    /// And then `text` in letters of one width, which a tap copies.
    #[must_use]
    pub fn code(self, text: impl Into<String>) -> Self {
        self.span(Style::Code, text.into())
    }

    fn span(mut self, style: Style, text: String) -> Self {
        if !text.is_empty() {
            // One line stays one, whatever it is made of.
            let text = text.replace(['\n', '\r'], " ");
            self.spans.push(Span { style, text });
        }
        self
    }

    fn units(&self) -> usize {
        self.spans.iter().map(|span| units(&span.text)).sum()
    }

    /// The beginning of the line, at most `limit` long, with a sign that there was more.
    fn cut(self, limit: usize) -> Self {
        let mut room = limit.saturating_sub(1);
        let mut cut = Self {
            spans: Vec::new(),
            continues: self.continues,
        };
        for span in self.spans {
            let mut kept = String::new();
            for character in span.text.chars() {
                if character.len_utf16() > room {
                    kept.push('…');
                    return cut.span(span.style, kept);
                }
                room -= character.len_utf16();
                kept.push(character);
            }
            cut = cut.span(span.style, kept);
        }
        cut
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Self::new().plain(text)
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self::new().plain(text)
    }
}

impl Text {
    /// An empty one. The language is that of the words about what did not fit.
    #[must_use]
    pub const fn new(language: Language) -> Self {
        Self {
            language,
            lines: Vec::new(),
        }
    }

    /// With one more line, which begins an item.
    #[must_use]
    pub fn with(mut self, line: impl Into<Line>) -> Self {
        self.push(line);
        self
    }

    /// Adds a line, which begins an item.
    pub fn push(&mut self, line: impl Into<Line>) {
        let mut line = line.into();
        line.continues = false;
        self.lines.push(line);
    }

    /// Adds a line to the last item.
    pub fn push_more(&mut self, line: impl Into<Line>) {
        let mut line = line.into();
        line.continues = true;
        self.lines.push(line);
    }

    /// Adds an empty line, unless there is nothing before it.
    pub fn blank(&mut self) {
        if !self.lines.is_empty() {
            self.push_more(Line::new());
        }
    }

    /// Adds all lines of another text.
    pub fn append(&mut self, other: Self) {
        self.lines.extend(other.lines);
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.iter().all(|line| line.spans.is_empty())
    }

    /// Whether all of it has room in one message.
    #[must_use]
    pub fn fits(&self) -> bool {
        length(&self.lines) <= MESSAGE_LIMIT
    }

    /// For Telegram's `parse_mode` HTML: everything is escaped, and it fits into a message.
    #[must_use]
    pub fn html(&self) -> String {
        html(&self.fitted(MESSAGE_LIMIT))
    }

    /// As [`html`](Self::html), short enough for a photo's or a document's caption.
    #[must_use]
    pub fn caption_html(&self) -> String {
        html(&self.fitted(CAPTION_LIMIT))
    }

    /// Without markup and of any length, for terminals.
    #[must_use]
    pub fn plain(&self) -> String {
        plain(&self.lines)
    }

    /// Its lines, or as many items as `limit` has room for and the number of the others.
    fn fitted(&self, limit: usize) -> Vec<Line> {
        if length(&self.lines) <= limit {
            return self.lines.clone();
        }
        // Where each item begins, and how long all before it is (without the line break after it).
        let mut starts = Vec::new();
        let mut before = 0_usize;
        let mut filled = 0;
        for (at, line) in self.lines.iter().enumerate() {
            if at == 0 || !line.continues {
                starts.push((at, filled));
            }
            let units = line.units();
            before += units + 1;
            if units > 0 {
                filled = before - 1;
            }
        }
        for (kept, &(end, filled)) in starts.iter().enumerate().skip(1).rev() {
            let left_out = self.left_out(starts.len() - kept);
            if filled + 1 + left_out.units() <= limit {
                let mut lines = trimmed(&self.lines[..end]);
                lines.push(left_out);
                return lines;
            }
        }
        // Not even the first item fits.
        let others = starts.len() - 1;
        let tail = (others > 0).then(|| self.left_out(others));
        let first = &self.lines[..starts.get(1).map_or(self.lines.len(), |&(end, _)| end)];
        let mut lines = cut(first, limit - tail.as_ref().map_or(0, |tail| tail.units() + 1));
        lines.extend(tail);
        lines
    }

    fn left_out(&self, items: usize) -> Line {
        Line::from(match self.language {
            Language::En => format!("… and {items} more"),
            // "Altri" and "altre" would have to know what they count.
            Language::It => format!("… e {items} in più"),
        })
    }
}

/// Lines without empty ones at their end.
fn trimmed(lines: &[Line]) -> Vec<Line> {
    let end = lines
        .iter()
        .rposition(|line| !line.spans.is_empty())
        .map_or(0, |last| last + 1);
    lines[..end].to_vec()
}

/// As much of the lines as fits.
fn cut(lines: &[Line], limit: usize) -> Vec<Line> {
    let mut kept = Vec::new();
    let mut room = limit;
    for line in lines {
        let needed = line.units() + usize::from(!kept.is_empty());
        if needed > room {
            let rest = room.saturating_sub(usize::from(!kept.is_empty()));
            if rest > 0 {
                kept.push(line.clone().cut(rest));
            }
            break;
        }
        room -= needed;
        kept.push(line.clone());
    }
    kept
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// In UTF-16 code units, line breaks between the lines included.
fn length(lines: &[Line]) -> usize {
    lines.iter().map(Line::units).sum::<usize>() + lines.len().saturating_sub(1)
}

fn plain(lines: &[Line]) -> String {
    let lines: Vec<String> = lines
        .iter()
        .map(|line| line.spans.iter().map(|span| span.text.as_str()).collect())
        .collect();
    lines.join("\n")
}

fn html(lines: &[Line]) -> String {
    let mut html = String::new();
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            html.push('\n');
        }
        for span in &line.spans {
            let (open, close) = match span.style {
                Style::Plain => ("", ""),
                Style::Bold => ("<b>", "</b>"),
                Style::Italic => ("<i>", "</i>"),
                Style::Code => ("<code>", "</code>"),
            };
            html.push_str(open);
            escape(&span.text, &mut html);
            html.push_str(close);
        }
    }
    html
}

fn escape(text: &str, html: &mut String) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            other => html.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(count: usize, line: &str) -> Text {
        (0..count).fold(Text::new(Language::En), |text, _| text.with(line))
    }

    #[test]
    fn whatever_a_user_wrote_is_no_markup() {
        let mut text =
            Text::new(Language::En).with(Line::new().bold("a<b>").plain(" & ").italic("</i>").code("&lt;"));
        text.push_more("*_`[x](y)\nnext");
        assert_eq!(
            text.html(),
            "<b>a&lt;b&gt;</b> &amp; <i>&lt;/i&gt;</i><code>&amp;lt;</code>\n*_`[x](y) next"
        );
        assert_eq!(text.plain(), "a<b> & </i>&lt;\n*_`[x](y) next");
    }

    #[test]
    fn what_just_fits_is_left_alone_and_one_more_is_cut_between_items() {
        let line = "x".repeat(255);
        let full = rules(16, &line);
        assert_eq!(full.html(), [line.as_str(); 16].join("\n"));
        // 4,095 and 2 more.
        let over = full.with("1");
        assert_eq!(
            over.html(),
            format!("{}\n… and 2 more", [line.as_str(); 15].join("\n"))
        );
    }

    #[test]
    fn the_number_left_out_is_said_in_the_readers_language() {
        let line = "x".repeat(1_000);
        assert!(rules(9, &line).html().ends_with("x\n… and 5 more"));
        let italian = |count| (0..count).fold(Text::new(Language::It), |text, _| text.with(line.as_str()));
        assert!(italian(9).html().ends_with("x\n… e 5 in più"));
        assert!(italian(5).html().ends_with("x\n… e 1 in più"));
    }

    #[test]
    fn lines_of_one_item_stay_together() {
        let line = "x".repeat(1_020);
        let mut text = Text::new(Language::En);
        for _ in 0..3 {
            text.push(line.as_str());
            text.push_more(line.as_str());
            text.blank();
        }
        // There is room for three of the lines, and the third begins an item.
        assert_eq!(text.html(), format!("{line}\n{line}\n… and 2 more"));
    }

    #[test]
    fn one_item_that_is_too_long_is_cut_within() {
        let mut text = Text::new(Language::En).with(Line::new().bold("🦀".repeat(3_000)));
        let html = text.html();
        let inner = html.trim_start_matches("<b>").trim_end_matches("</b>");
        assert!(inner.ends_with("🦀…"));
        assert!((4_094..=4_096).contains(&inner.encode_utf16().count()));
        text.push("second");
        assert!(text.html().ends_with("…</b>\n… and 1 more"));
    }

    #[test]
    fn no_text_is_longer_than_telegram_takes() {
        for width in [0, 1, 7, 100, 4_095, 4_096, 4_097] {
            for count in [1, 2, 41, 500] {
                for filler in ["x", "<", "ä", "🦀"] {
                    let text = rules(count, &filler.repeat(width));
                    assert!(
                        length(&text.fitted(MESSAGE_LIMIT)) <= MESSAGE_LIMIT,
                        "{width} {count}"
                    );
                    assert!(
                        length(&text.fitted(CAPTION_LIMIT)) <= CAPTION_LIMIT,
                        "{width} {count}"
                    );
                }
            }
        }
    }
}
