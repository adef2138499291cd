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
        tag(&rest[1..end], offset, &mut open)?;
        rest = &rest[end + 1..];
    }
    text.push_str(rest);
    match open.pop() {
        Some(tag) => Err(format!("Can't find end tag corresponding to start tag \"{tag}\"")),
        None => Ok(text),
    }
}

fn tag(inside: &str, offset: usize, open: &mut Vec<String>) -> Result<(), String> {
    if let Some(name) = inside.strip_prefix('/') {
        let name = name.trim().to_ascii_lowercase();
        return match open.pop() {
            None => Err(format!("Unexpected end tag at byte offset {offset}")),
            Some(expected) if name == expected || name.is_empty() => Ok(()),
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
    open.push(name);
    Ok(())
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
