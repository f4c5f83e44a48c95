//! The `Link` header (RFC 8288): several lines, or several links in one.

/// The target of the first link whose `rel` has this word.
pub fn target<'a>(lines: impl Iterator<Item = &'a str>, rel: &str) -> Option<String> {
    lines.flat_map(links).find(|link| link.has(rel)).map(|link| link.target.to_owned())
}

struct Link<'a> {
    target: &'a str,
    parameters: &'a str,
}

impl Link<'_> {
    fn has(&self, rel: &str) -> bool {
        parameters(self.parameters).any(|(name, value)| {
            name.eq_ignore_ascii_case("rel")
                && value.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case(rel))
        })
    }
}

fn links(line: &str) -> impl Iterator<Item = Link<'_>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        let end = unquoted(after, ',').unwrap_or(after.len());
        let (parameters, after) = after.split_at(end);
        rest = after;
        Some(Link { target: target.trim(), parameters })
    })
}

fn parameters(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(';')?;
        let end = unquoted(after, ';').unwrap_or(after.len());
        let (parameter, after) = after.split_at(end);
        rest = after;
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        Some((name.trim(), value.trim().trim_matches('"')))
    })
}

/// Where `wanted` stands outside of quotes.
fn unquoted(text: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == wanted && !quoted).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    fn next(lines: &[&str]) -> Option<String> {
        super::target(lines.iter().copied(), "next")
    }

    #[test]
    fn the_next_link_is_found_in_either_form() {
        let own_lines = [
            "<https://a/users?limit=2>; rel=\"self\"",
            "<https://a/users?after=x,y>; rel=\"next\"",
        ];
        assert_eq!(next(&own_lines).as_deref(), Some("https://a/users?after=x,y"));
        let one_list = [
            "<https://a?page=1>; rel=\"first\", <https://a?page=3>; title=\"a, b; rel=next\"; rel=\"next last\"",
        ];
        assert_eq!(next(&one_list).as_deref(), Some("https://a?page=3"));
        assert_eq!(next(&["<https://a?page=3>; rel=next"]).as_deref(), Some("https://a?page=3"));
    }

    #[test]
    fn other_relations_are_no_end_and_no_next() {
        assert_eq!(
            next(&["<https://a>; rel=\"deprecation\", <https://b>; rel=\"alternate\""]),
            None
        );
        assert_eq!(next(&["<https://a>; title=\"rel=next\""]), None);
        assert_eq!(next(&["<broken; rel=\"next\"", "", "rel=\"next\""]), None);
    }
}
