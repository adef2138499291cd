//! HTML as Telegram reads it (its parse mode `HTML`): few tags, and every `<` and `&` of the text escaped.

/// Tags that a message may have.
const TAGS: [&str; 17] = [
    "a",
    "b",
    "blockquote",
    "code",
    "del",
    "em",
    "i",
    "ins",
    "pre",
    "s",
    "span",
    "strike",
    "strong",
    "tg-emoji",
    "tg-spoiler",
    "tg-time",
    "u",
];

/// What a person reads, or what Telegram says of text that it can't read.
pub(super) fn visible(html: &str) -> Result<String, String> {
    read(html, |_, _| "")
}

/// The same for a terminal, with its colours; text that can't be read stays as it is.
#[must_use]
pub fn for_terminal(html: &str) -> String {
    let shown = read(html, |tag, opens| match (tag, opens) {
        ("b" | "strong", true) => "\x1b[1m",
        ("b" | "strong", false) => "\x1b[22m",
        ("i" | "em", true) => "\x1b[3m",
        ("i" | "em", false) => "\x1b[23m",
        ("u" | "ins" | "a", true) => "\x1b[4m",
        ("u" | "ins" | "a", false) => "\x1b[24m",
        ("s" | "strike" | "del", true) => "\x1b[9m",
        ("s" | "strike" | "del", false) => "\x1b[29m",
        ("code" | "pre", true) => "\x1b[36m",
        ("code" | "pre", false) => "\x1b[39m",
        _ => "",
    });
    shown.unwrap_or_else(|_| html.to_owned())
}

/// The text, with what `shown` gives in the place of each tag; it is told whether the tag opens.
fn read(html: &str, shown: impl Fn(&str, bool) -> &'static str) -> Result<String, String> {
    let mut text = String::with_capacity(html.len());
    let mut open: Vec<String> = Vec::new();
    let mut rest = html;
    while let Some(special) = rest.find(['<', '&']) {
        text.push_str(&rest[..special]);
        rest = &rest[special..];
        let offset = html.len() - rest.len();
        if rest.starts_with('&') {
            let (character, length) = entity(rest).unwrap_or(('&', 1));
            text.push(character);
            rest = &rest[length..];
            continue;
        }
        let Some(end) = rest.find('>') else {
            return Err(format!("Unclosed start tag at byte offset {offset}"));
        };
        let (name, opens) = tag(&rest[1..end], offset, &mut open)?;
        text.push_str(shown(&name, opens));
        rest = &rest[end + 1..];
    }
    text.push_str(rest);
    match open.pop() {
        Some(tag) => Err(format!("Can't find end tag corresponding to start tag \"{tag}\"")),
        None => Ok(text),
    }
}

/// The tag's name, and whether it opens.
fn tag(inside: &str, offset: usize, open: &mut Vec<String>) -> Result<(String, bool), String> {
    if let Some(name) = inside.strip_prefix('/') {
        let name = name.trim().to_ascii_lowercase();
        return match open.pop() {
            None => Err(format!("Unexpected end tag at byte offset {offset}")),
            Some(expected) if name == expected || name.is_empty() => Ok((expected, false)),
            Some(expected) => Err(format!(
                "Unmatched end tag at byte offset {offset}, expected \"</{expected}>\", found \"</{name}>\""
            )),
        };
    }
    let name = inside
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    if !TAGS.contains(&name.as_str()) {
        return Err(format!(
            "Unsupported start tag \"{name}\" at byte offset {offset}"
        ));
    }
    open.push(name.clone());
    Ok((name, true))
}

/// The character that an entity at the start of `text` stands for, and the entity's length. Other entities are text.
fn entity(text: &str) -> Option<(char, usize)> {
    let end = text.find(';')?;
    let character = match &text[1..end] {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        number => {
            let number = number.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((character, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_read_as_telegram_reads_it() {
        for (html, text) in [
            ("plain", Ok("plain")),
            ("<b>AAPL</b> &lt; 200 &amp; more", Ok("AAPL < 200 & more")),
            ("<pre><code class=\"language-rust\">x</code></pre>", Ok("x")),
            (
                "&euro; &#8364; &#x20ac; AT&T",
                Ok("&euro; \u{20ac} \u{20ac} AT&T"),
            ),
            ("price < 200", Err("Unclosed start tag at byte offset 6")),
            ("<p>x</p>", Err("Unsupported start tag \"p\" at byte offset 0")),
            ("a <> b", Err("Unsupported start tag \"\" at byte offset 2")),
            (
                "<b><i>x</b></i>",
                Err("Unmatched end tag at byte offset 7, expected \"</i>\", found \"</b>\""),
            ),
            ("x</b>", Err("Unexpected end tag at byte offset 1")),
            ("<b>x", Err("Can't find end tag corresponding to start tag \"b\"")),
        ] {
            let found = visible(html);
            assert_eq!(found.as_deref().map_err(String::as_str), text, "{html}");
        }
    }
}
