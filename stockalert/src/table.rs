use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::screen::{Style, paint, printable};

const GAP: &str = "  ";
/// A wrapped column narrower than this is no longer readable.
const NARROWEST: usize = 16;
/// Of a last column that is below the others.
const INDENT: &str = "    ";

/// Rows under a header. Columns without content are left out. The last column wraps, or goes to lines of its own below the
/// others where it has too little room; where these alone are wider than the terminal, each row becomes a block of
/// `NAME value` lines. Ids can be copied, and nothing is cut but what its column says may be.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    name: &'static str,
    right: bool,
    /// A text too long for the terminal is cut, not wrapped; in the last column only.
    cut: bool,
}

/// The text of one field.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn styled(text: impl AsRef<str>, style: Style) -> Self {
        Self {
            text: printable(text.as_ref()).replace('\n', " "),
            style,
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, Style::Plain)
    }
}

impl Table {
    /// Columns in order; a name that starts with `>` makes a column of numbers, aligned to the right, and one that starts
    /// with `~` a last column whose texts are cut where they are longer than the line.
    pub(crate) fn new<const N: usize>(columns: [&'static str; N]) -> Self {
        let column = |name: &'static str| Column {
            name: name.trim_start_matches(['>', '~']),
            right: name.starts_with('>'),
            cut: name.starts_with('~'),
        };
        Self {
            columns: columns.into_iter().map(column).collect(),
            rows: Vec::new(),
        }
    }

    /// As many cells as there are columns.
    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(cells.into());
    }

    /// Whether each row has a line of its own, with some room for its last column.
    pub(crate) fn fits(&self, width: usize) -> bool {
        let shown = |i: &usize| self.rows.iter().any(|row| !row[*i].text.is_empty());
        let shown: Vec<usize> = (0..self.columns.len()).filter(shown).collect();
        shown.split_last().is_none_or(|(&last, others)| {
            let taken: usize = others.iter().map(|&i| self.width(i) + GAP.len()).sum();
            taken + self.width(last).min(NARROWEST) <= width
        })
    }

    pub(crate) fn render(&self, width: Option<usize>, colour: bool) -> String {
        let shown: Vec<usize> = (0..self.columns.len())
            .filter(|&i| self.rows.iter().any(|row| !row[i].text.is_empty()))
            .collect();
        let Some((&last, others)) = shown.split_last() else {
            return String::new();
        };
        let taken: usize = others.iter().map(|&i| self.width(i) + GAP.len()).sum();
        let last_width = match width {
            Some(width) if taken + self.width(last) > width => {
                let cut = self.columns[last].cut;
                let unbreakable = !cut && self.rows.iter().any(|row| unbreakable(&row[last].text));
                if unbreakable || taken + NARROWEST > width {
                    return if taken > 0 && taken - GAP.len() <= width {
                        self.render_with_last_below(others, last, width, colour)
                    } else {
                        self.render_blocks(&shown, width, colour)
                    };
                }
                width - taken
            }
            _ => self.width(last),
        };
        let mut out = String::new();
        let header = self.header();
        for row in std::iter::once(&header).chain(&self.rows) {
            let mut line = self.line(others, row, colour);
            let parts = if self.columns[last].cut {
                vec![cut(&row[last].text, last_width)]
            } else {
                wrap(&row[last].text, last_width)
            };
            for (n, part) in parts.iter().enumerate() {
                if n > 0 {
                    line = " ".repeat(taken);
                }
                let part = Cell {
                    text: part.clone(),
                    style: row[last].style,
                };
                line.push_str(&self.padded(last, &part, last_width, colour));
                out.push_str(line.trim_end());
                out.push('\n');
            }
        }
        out
    }

    /// The last column's texts are below the rows that they are of.
    fn render_with_last_below(&self, others: &[usize], last: usize, width: usize, colour: bool) -> String {
        let mut out = String::new();
        let header = self.header();
        for row in std::iter::once(&header).chain(&self.rows) {
            out.push_str(self.line(others, row, colour).trim_end());
            out.push('\n');
            let Cell { text, style } = &row[last];
            let room = width.saturating_sub(INDENT.len()).max(1);
            let parts = match (text.is_empty(), self.columns[last].cut || unbreakable(text)) {
                (true, _) => Vec::new(),
                (false, true) if self.columns[last].cut => vec![cut(text, room)],
                (false, true) => vec![text.clone()],
                (false, false) => wrap(text, room),
            };
            for part in parts {
                out.push_str(&format!("{INDENT}{}\n", paint(&part, *style, colour)));
            }
        }
        out
    }

    fn header(&self) -> Vec<Cell> {
        let names = self.columns.iter().map(|column| column.name);
        names.map(|name| Cell::styled(name, Style::Strong)).collect()
    }

    fn line(&self, columns: &[usize], row: &[Cell], colour: bool) -> String {
        let mut line = String::new();
        for &i in columns {
            line.push_str(&self.padded(i, &row[i], self.width(i), colour));
            line.push_str(GAP);
        }
        line
    }

    fn render_blocks(&self, shown: &[usize], width: usize, colour: bool) -> String {
        let names = shown
            .iter()
            .map(|&i| self.columns[i].name.width())
            .max()
            .unwrap_or(0);
        let block = |row: &Vec<Cell>| -> String {
            let fields = shown.iter().filter(|&&i| !row[i].text.is_empty());
            fields
                .map(|&i| {
                    let name = self.columns[i].name;
                    let pad = " ".repeat(names - name.width());
                    let room = width.saturating_sub(names + GAP.len());
                    let Cell { text, style } = &row[i];
                    let parts = if unbreakable(text) || room < NARROWEST {
                        vec![text.clone()]
                    } else {
                        wrap(text, room)
                    };
                    let parts: Vec<_> = parts.iter().map(|part| paint(part, *style, colour)).collect();
                    let value = parts.join(&format!("\n{}", " ".repeat(names + GAP.len())));
                    format!("{}{pad}{GAP}{value}\n", paint(name, Style::Strong, colour))
                })
                .collect()
        };
        self.rows.iter().map(block).collect::<Vec<_>>().join("\n")
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].text.width());
        cells.max().unwrap_or(0).max(self.columns[column].name.width())
    }

    fn padded(&self, column: usize, cell: &Cell, width: usize, colour: bool) -> String {
        let pad = " ".repeat(width.saturating_sub(cell.text.width()));
        let text = paint(&cell.text, cell.style, colour);
        if self.columns[column].right {
            format!("{pad}{text}")
        } else {
            format!("{text}{pad}")
        }
    }
}

/// Ids: a long word that wrapping would cut.
fn unbreakable(text: &str) -> bool {
    text.width() > NARROWEST && !text.contains(' ')
}

/// At most `width` columns of a text; a cut one ends with a mark.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        if short.width() + c.width().unwrap_or(0) >= width {
            break;
        }
        short.push(c);
    }
    short + "\u{2026}"
}

/// Lines of at most `width` columns, broken at spaces; a longer word is broken anywhere.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        if used > 0 && used + 1 + word.width() > width {
            lines.push(String::new());
            used = 0;
        }
        let line = lines.len() - 1;
        if used > 0 {
            lines[line].push(' ');
            used += 1;
        }
        for c in word.chars() {
            let c_width = c.width().unwrap_or(0);
            if used > 0 && used + c_width > width {
                lines.push(String::new());
                used = 0;
            }
            let line = lines.len() - 1;
            lines[line].push(c);
            used += c_width;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Table {
        let mut table = Table::new(["ID", "TICKER", ">LOW", ">HIGH", "EXPIRES", "NOTE"]);
        table.row([
            "0198c1de".into(),
            "AAPL".into(),
            "170".into(),
            "200.5".into(),
            "".into(),
            "".into(),
        ]);
        table.row([
            "0198c1df".into(),
            Cell::styled("BRK-B", Style::Red),
            "".into(),
            "1200.25".into(),
            "".into(),
            "sell half if the quarterly report disappoints 株価".into(),
        ]);
        table
    }

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        insta::assert_snapshot!(rules().render(None, false), @r"
        ID        TICKER  LOW     HIGH  NOTE
        0198c1de  AAPL    170    200.5
        0198c1df  BRK-B        1200.25  sell half if the quarterly report disappoints 株価
        ");
    }

    #[test]
    fn the_last_column_wraps_within_the_terminal() {
        let text = rules().render(Some(54), false);
        assert!(text.lines().all(|line| line.width() <= 54), "{text}");
        insta::assert_snapshot!(text, @r"
        ID        TICKER  LOW     HIGH  NOTE
        0198c1de  AAPL    170    200.5
        0198c1df  BRK-B        1200.25  sell half if the
                                        quarterly report
                                        disappoints 株価
        ");
    }

    #[test]
    fn a_column_that_may_be_cut_is_cut_to_the_terminal() {
        let mut table = Table::new(["ID", "~ERROR"]);
        table.row(["7".into(), "the value is not 株価 of this topic".into()]);
        let text = table.render(Some(24), false);
        assert!(text.lines().all(|line| line.width() <= 24), "{text}");
        insta::assert_snapshot!(text, @r"
        ID  ERROR
        7   the value is not 株…
        ");
        assert!(table.render(None, false).ends_with("of this topic\n"));
    }

    #[test]
    fn a_last_column_without_room_goes_below_the_others() {
        let text = rules().render(Some(40), false);
        assert!(text.lines().all(|line| line.width() <= 40), "{text}");
        insta::assert_snapshot!(text, @r"
        ID        TICKER  LOW     HIGH
            NOTE
        0198c1de  AAPL    170    200.5
        0198c1df  BRK-B        1200.25
            sell half if the quarterly report
            disappoints 株価
        ");
        let mut ids = Table::new(["TIME", "RULE"]);
        ids.row(["12:00:00".into(), "0198c1de-7d1c-7c3a-9d57-000000000001".into()]);
        insta::assert_snapshot!(ids.render(Some(30), false), @r"
        TIME
            RULE
        12:00:00
            0198c1de-7d1c-7c3a-9d57-000000000001
        ");
    }

    #[test]
    fn rows_become_blocks_where_the_terminal_is_too_narrow() {
        insta::assert_snapshot!(rules().render(Some(28), false), @r"
        ID      0198c1de
        TICKER  AAPL
        LOW     170
        HIGH    200.5

        ID      0198c1df
        TICKER  BRK-B
        HIGH    1200.25
        NOTE    sell half if the
                quarterly report
                disappoints 株価
        ");
    }

    #[test]
    fn colours_do_not_disturb_the_alignment() {
        let plain = rules().render(None, false);
        let coloured = rules().render(None, true);
        assert!(coloured.contains("\u{1b}[31mBRK-B\u{1b}[0m"));
        let stripped = ["1", "31", "0"].iter().fold(coloured, |text, code| {
            text.replace(&format!("\u{1b}[{code}m"), "")
        });
        let trimmed = |text: &str| text.lines().map(|l| l.trim_end().to_owned()).collect::<Vec<_>>();
        assert_eq!(trimmed(&stripped), trimmed(&plain));
    }
}
